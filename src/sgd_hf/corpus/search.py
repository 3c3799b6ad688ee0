"""Search paths: how to look for a thing that a task names where nothing tells its place.

A gold path goes straight to where the oracle knows a thing to be, so that its rows teach no one to look for it.
Here the real simulator of a train episode is searched, and the episode is told anew with hindsight: its description
names another thing, one that comes into sight at the end. The path is that of the gold path up to where it began to open
things; then what the gold paths open in that room, in an order of the episode's own; then room after room, in `ORDER`.

Guarantee: every text is the simulator's own, but for the name in the description. The thing was nowhere in sight before
the last step, or its room is the one where the search begins. The `focus_on` that would follow is not played, for the
simulator's own task is another. Paths are of train alone, and a pure function of the annotations, the seed and the number.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError, SimulatorError
from sgd_hf.core.progress import progress
from sgd_hf.core.records import Annotation, Episode, Segment, Step, from_row, to_row
from sgd_hf.core.store import Store, read_manifest, read_rows
from sgd_hf.core.subgoals import VERBS, Subgoal, names, parse, plain
from sgd_hf.core.texts import ROOMS, rejected, room, things
from sgd_hf.corpus.annotate import read_annotations
from sgd_hf.scienceworld import tasks as catalogue
from sgd_hf.scienceworld.environment import ScienceWorld, play, provenance
from sgd_hf.scienceworld.workers import Pool

STAGE = "search"
ORDER = ("workshop", "foundry", "bathroom", "living room", "bedroom", "art studio", "greenhouse", "outside", "hallway")
"""The rooms after the one where the search begins. Always the same, so that where to go next can be learnt."""
EPISODE_TIMEOUT_S = 120.0

_NO_NAME = re.compile(r".*\d.*|which is .*|titled .*|on|off|open|closed|activated|deactivated|nothing|substance")
_BEFORE = re.compile(r"^(?:containing )?(?:(?:an?|the) )?")
_PHRASE = re.compile(r"[^;:,()]+")


@dataclass(frozen=True)
class Search:
    """A path of an episode, cut, at whose end ``target`` is in sight, the thing that the description names."""

    episode: Episode
    description: str
    look: str
    inventory: str
    steps: tuple[Step, ...]
    segments: tuple[Segment, ...]
    target: str

    @property
    def subgoal(self) -> str:
        """What the planner should write when it has found the thing."""
        return str(Subgoal("focus_on", (self.target,)))

    @property
    def action(self) -> str:
        """What the flat baseline should write then."""
        return f"focus on {self.target}"


@dataclass(frozen=True)
class _Start:
    """Where a search begins: the segments of a gold path before it, the thing that is focused on, what was opened, and where."""

    annotation: Annotation
    segments: tuple[Segment, ...]
    thing: str
    opened: tuple[str, ...]
    room: str


def search(annotations: str | Path, out: str | Path, tasks: Sequence[str] = (), targets: int = 5, workers: int = 2, seed: int = 0) -> int:
    """Write the stage folder ``out``: ``targets`` paths at most of each train episode that has a search; returns how many.

    ``annotations``: what `annotate` wrote. ``tasks``: names or paper ids, all when empty. The same call resumes.
    """
    if targets < 1 or workers < 1:
        raise InputError("The numbers of targets and of workers must be at least 1.")
    chosen = sorted({catalogue.find(task).name for task in tasks or catalogue.TASKS})
    origin = read_manifest(annotations, "annotate", complete=True)["config"]
    config = {"annotations": origin, "tasks": chosen, "targets": targets, "seed": seed, **provenance()}
    train = (a for a in read_annotations(annotations) if a.gold.episode.split == "train" and a.gold.episode.task in chosen)
    starts = [start for annotation in train if (start := _start(annotation))]
    if not starts:
        raise InputError(f"No path of {annotations} opens things to find one that its task names; try the annotations of train, task boil.")
    opens: dict[str, set[str]] = defaultdict(set)
    for start in starts:
        opens[start.room].update(start.opened)
    with Store(out, STAGE, config) as store:
        owed = [(start, sorted(opens[start.room]), targets, seed) for start in starts if start.annotation.key not in store.keys]
        with Pool(workers, EPISODE_TIMEOUT_S) as pool, progress("search", len(starts), len(store.keys)) as advance:
            for (start, *_), outcome in pool.settled(searched, owed):
                if isinstance(outcome, SimulatorError):
                    outcome = {"searches": [], "reason": f"simulator: {outcome}"}
                store.append(start.annotation.key, outcome)
                advance(start.annotation.gold.episode.task)
        found = sum(len(row["searches"]) for row in store.rows())
        store.finish({"episodes": len(starts), "searches": found})
    return found


def read_searches(folder: str | Path) -> Iterator[Search]:
    """The paths of a complete stage folder, in the order of its file."""
    for found in read_rows(folder, STAGE, lambda row: [from_row(Search, item) for item in row["searches"]]):
        yield from found


def searched(env: ScienceWorld, item: tuple[_Start, list[str], int, int]) -> dict[str, Any]:
    """One row without its key: the searches of an episode, cut from one walk through its world."""
    start, opens, targets, seed = item
    gold = start.annotation.gold
    draw = random.Random(f"{seed}/{gold.key}")
    draw.shuffle(opens)
    begun = start.segments[-1].end
    walk = [f"teleport to {name}" for name in ORDER if name != start.room]
    first, played = play(env, gold.episode, [*gold.actions[:begun], *opens, *walk])
    steps = [step for step in played if not rejected(step.observation)]
    opened = [step.action.removeprefix("open ") for step in steps[begun:] if step.action in opens]
    rooms = [step.action.removeprefix("teleport to ") for step in steps[begun:] if step.action in walk]
    most = VERBS["open"].most
    subgoals = [Subgoal("open", tuple(opened[i : i + most])) for i in range(0, len(opened), most)]
    segments = list(start.segments)
    for subgoal in (*subgoals, *(Subgoal("navigate_to", (name,)) for name in rooms)):
        end = segments[-1].end
        segments.append(Segment(str(subgoal), end, end + len(subgoal.args)))
    states = [first["look"], *(step.look for step in steps)]
    places: dict[int, list[str]] = {}
    seen = plain(f"{start.thing}\n{first['look']}")
    for number in range(len(start.segments), len(segments) + 1):
        end = segments[number - 1].end
        new = {name for name in _names(states[end]) if not names(seen, name)}
        if new:
            places[number] = sorted(new)
        seen = plain("\n".join([start.thing, *states[: end + 1]]))
    searches = []
    for number in sorted(draw.sample(list(places), min(targets, len(places)))):
        target = draw.choice(places[number])
        told = re.sub(rf"\b{re.escape(start.thing)}\b", target, gold.description)
        cut = tuple(segments[:number])
        walked = tuple(steps[: cut[-1].end])
        searches.append(to_row(Search(gold.episode, told, first["look"], first["inventory"], walked, cut, target)))
    return {"searches": searches, "reason": ""}


def _start(annotation: Annotation) -> _Start | None:
    """Where the search of a path begins, if it opens things right before its first focus, on what its task names."""
    gold, segments = annotation.gold, annotation.segments
    verbs = [parse(segment.subgoal).verb for segment in segments]
    if "focus_on" not in verbs:
        return None
    end = verbs.index("focus_on")
    begin = end
    while begin and verbs[begin - 1] == "open":
        begin -= 1
    [thing] = parse(segments[end].subgoal).args
    if not 0 < begin < end or not names(plain(gold.description), thing):
        return None
    steps = gold.steps[segments[begin].start : segments[end].start]
    return _Start(annotation, segments[:begin], thing, tuple(step.action for step in steps), room(steps[0].look))


def _names(look: str) -> set[str]:
    """The things in sight that can be named by a word or more; no doors, rooms and states."""
    found = {_BEFORE.sub("", phrase.strip()) for phrase in _PHRASE.findall("; ".join(things(look)).lower())}
    return {name for name in found if name and name not in ROOMS and not _NO_NAME.fullmatch(name)}
