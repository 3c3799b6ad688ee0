"""The 30 tasks of ScienceWorld 1.2.3, their variations, and the simulator's own train / dev / test split.

Guarantee: an `Episode` made here exists in the simulator and carries the split that the simulator gives it,
so that whatever reads one need not ask a JVM. With N variations and g = N // 4, train is 0 … 2g-1, dev is
2g … 3g-1 and test is 3g … N-1; a test compares every range with the live simulator.
"""

import difflib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from sgd_hf.core.errors import InputError
from sgd_hf.core.records import SPLITS, Episode

SIMPLIFICATIONS = ("teleportAction", "selfWateringFlowerPots", "openContainers", "openDoors", "noElectricalAction")


@dataclass(frozen=True)
class Task:
    """``id`` is the paper's; ``length`` the class of its mean oracle path: short < 20 actions, medium 20 to 50, long > 50."""

    name: str
    id: str
    length: str
    variations: int


_TABLE = """
1-1  long   30   boil
1-2  long   30   melt
1-3  long   30   freeze
1-4  long   30   change-the-state-of-matter-of
2-1  medium 540  use-thermometer
2-2  medium 436  measure-melting-point-known-substance
2-3  long   300  measure-melting-point-unknown-substance
3-1  short  20   power-component
3-2  medium 20   power-component-renewable-vs-nonrenewable-energy
3-3  medium 900  test-conductivity
3-4  medium 600  test-conductivity-of-unknown-substances
4-1  short  300  find-living-thing
4-2  short  300  find-non-living-thing
4-3  short  300  find-plant
4-4  short  300  find-animal
5-1  long   126  grow-plant
5-2  long   126  grow-fruit
6-1  medium 32   chemistry-mix
6-2  short  36   chemistry-mix-paint-secondary-color
6-3  medium 36   chemistry-mix-paint-tertiary-color
7-1  short  125  lifespan-longest-lived
7-2  short  125  lifespan-shortest-lived
7-3  short  125  lifespan-longest-lived-then-shortest-lived
8-1  medium 14   identify-life-stages-1
8-2  short  10   identify-life-stages-2
9-1  long   168  inclined-plane-determine-angle
9-2  long   1386 inclined-plane-friction-named-surfaces
9-3  long   162  inclined-plane-friction-unnamed-surfaces
10-1 long   120  mendelian-genetics-known-plant
10-2 long   480  mendelian-genetics-unknown-plant
"""

TASKS = {
    name: Task(name, paper_id, length, int(count))
    for paper_id, length, count, name in (line.split() for line in _TABLE.strip().splitlines())
}
_BY_ID = {task.id: task for task in TASKS.values()}


def find(task: str) -> Task:
    """The task of this name or paper id ("find-non-living-thing" or "4-2"); `InputError` names the nearest otherwise."""
    found = TASKS.get(task) or _BY_ID.get(task)
    if found is None:
        near = difflib.get_close_matches(task, [*TASKS, *_BY_ID], n=1, cutoff=0.0)
        raise InputError(f"Unknown task {task!r}; the nearest of the 30 tasks is {near[0]!r}.")
    return found


def variations(task: str, split: str) -> range:
    """The variations of a task that belong to ``split``."""
    if split not in SPLITS:
        raise InputError(f"Unknown split {split!r}; the simulator has {', '.join(SPLITS)}.")
    return _range(find(task).variations, split)


def scattered(places: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Some (task, variation), each once, in the order of their digests. The simulator numbers alike ones side by side (the
    first 12 train variations of chemistry-mix-paint-secondary-color all ask for green), so that the first of a task
    teach less than any others; and a smaller choice from the front is part of a larger one."""
    return sorted(set(places), key=lambda place: hashlib.sha256(f"{place[0]}/{place[1]}".encode()).hexdigest())


def split_of(task: str, variation: int) -> str:
    """The split that a variation belongs to."""
    found = find(task)
    if not 0 <= variation < found.variations:
        raise InputError(f"Task {found.name} has no variation {variation}; give one of 0 to {found.variations - 1}.")
    return next(split for split in SPLITS if variation in _range(found.variations, split))


def episode(task: str, variation: int, simplification: str = "easy") -> Episode:
    """An episode that the simulator can load.

    ``simplification`` is "easy", "" or names of `SIMPLIFICATIONS` joined by commas: the simulator cannot combine
    "easy" with another one, and does not tell (every later step is an error).
    """
    found = find(task)
    names = [] if simplification in ("", "easy") else simplification.split(",")
    unknown = [name for name in names if name not in SIMPLIFICATIONS]
    if unknown:
        raise InputError(
            f"Simplification {unknown[0]!r} cannot be used in {simplification!r}; "
            f"give 'easy' alone, '' or a list of {', '.join(SIMPLIFICATIONS)}."
        )
    if "noElectricalAction" in names and found.id.startswith("3-"):
        raise InputError(f"Task {found.name} cannot be solved without electrical actions; leave out noElectricalAction.")
    return Episode(found.name, variation, split_of(found.name, variation), simplification)


def _range(count: int, split: str) -> range:
    quarter = count // 4
    return {"train": range(2 * quarter), "dev": range(2 * quarter, 3 * quarter), "test": range(3 * quarter, count)}[split]
