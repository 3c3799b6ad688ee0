"""Gold paths from the simulator's oracle: rewritten to what is worth learning, replayed, and stored.

Guarantee: the steps of an accepted row are those of a replay from a fresh reset that ended at 100, and its path
does not depend on what was collected before it or by how many workers. A path that cannot be accepted is a row
with its reason; one during which a simulator died, twice, is owed. Valid actions are never listed.

The rewrites, in the order in which they are applied:
    cut       nothing after the simulator's first "done"
    answers   the numbers that answer an ambiguity question (the environment answers them) and stray numbers
    free      looks around, inventories and rejected actions, which cost no move
    noops     actions whose reply says that nothing happened, though a move went by: `open door` where it is open
    names     objects by the name that the simulator itself answers with: `move egg blue jay egg in inventory to red
              box` is `move blue jay to red box`, a name that can be seen and copied; not where several in sight share
              it: `move block to inclined plane b` stays, for its answer does not say which plane it is
    brief     what tells nothing new: looks at one thing after ten in a row (a block on a plane is at the bottom after 20
              to 140, and which of two is faster shows after five), and readings after the one that decides which side
              of the limit a melting point is on: of a solid above it, of a liquid below it
    teleport  under "easy", a walk becomes one `teleport to ROOM`; a walk that ends where it began disappears
Each set of `LATTICE` is replayed in turn, and the first one that still reaches 100 is kept; if none does, the cut
path is. Fewer moves can spoil a path: substances cool and plants grow meanwhile (use-thermometer, life stages).
"""

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError, SimulatorError
from sgd_hf.core.progress import progress
from sgd_hf.core.records import Episode, GoldPath, Step, from_row, to_row
from sgd_hf.core.store import Store, read_rows
from sgd_hf.core.table import Table
from sgd_hf.core.texts import TEMPERATURE, rejected, room
from sgd_hf.scienceworld import tasks as catalogue
from sgd_hf.scienceworld.environment import ScienceWorld, play, provenance
from sgd_hf.scienceworld.workers import Pool

STAGE = "collect"
REWRITES = "4"  # raise it when a rewrite changes: rows of two kinds are never mixed in a folder
LATTICE = (
    ("answers", "free", "noops", "names", "brief", "teleport"),
    ("answers", "free", "noops", "names", "teleport"),
    ("answers", "free", "noops", "teleport"),
    ("answers", "free", "noops", "names"),
    ("answers", "free", "noops"),
    ("answers", "free"),
)
LOOKS = 10
"""in a row at one thing, for a path that is brief"""
EPISODE_TIMEOUT_S = 600.0

_FREE = ("look around", "inventory")
_NOTHING = re.compile(r"is already (open|closed|(de)?activated)|You can't move something into itself|It's not clear how to get there")
_NAMED = (  # an action, the reply that names its objects, the action by those names
    (re.compile(r"pick up "), re.compile(r"You move the (.+) to the inventory\."), r"pick up \1"),
    (re.compile(r"drop "), re.compile(r"You move the (.+) to the .+\."), r"drop \1"),
    (re.compile(r"move .+ to "), re.compile(r"You move the (.+?) to the (.+)\."), r"move \1 to \2"),
    (re.compile(r"focus on "), re.compile(r"You focus on the (.+)\."), r"focus on \1"),
)
_LOOK = re.compile(r"look at ")
_MEASURE = re.compile(r"examine |use thermometer\b.* on (solid|liquid)?")
_LIMIT = re.compile(r"If the melting point of .+? is above (-?[\d.]+) degrees")
_GO = re.compile(r"go to ")
_OPEN_DOOR = re.compile(r"open door to ")


def collect(
    out: str | Path,
    split: str,
    tasks: Sequence[str] = (),
    per_task: int | None = None,
    workers: int = 2,
    simplification: str = "easy",
    teleport: bool = True,
    scatter: bool = False,
) -> dict[str, Any]:
    """Write the stage folder ``out`` and return its summary; the same call resumes.

    ``per_task`` variations of ``split`` (all when None) of each of ``tasks`` (names or paper ids, all 30 when empty):
    the first ones, or with ``scatter`` the first of them `scattered`, for neighbours are alike.
    """
    if workers < 1 or (per_task is not None and per_task < 1):
        raise InputError("The numbers of workers and of variations per task must be at least 1.")
    if scatter and per_task is None:
        raise InputError("--scatter says which of a task's variations to take; say how many by --per-task.")
    names = list(dict.fromkeys(catalogue.find(task).name for task in tasks or catalogue.TASKS))
    order = catalogue.scattered if scatter else list
    chosen = [sorted(order((name, v) for v in catalogue.variations(name, split))[:per_task]) for name in names]
    episodes = [catalogue.episode(*place, simplification) for places in chosen for place in places]
    teleport = teleport and (simplification == "easy" or "teleportAction" in simplification)
    config = {"split": split, "tasks": names, "per_task": per_task, "simplification": simplification, "teleport": teleport}
    config |= {"rewrites": REWRITES, **provenance(), **({"scatter": True} if scatter else {})}
    with Store(out, STAGE, config) as store:
        owed = [(episode, teleport) for episode in episodes if episode.key not in store.keys]
        with Pool(workers, EPISODE_TIMEOUT_S) as pool, progress("collect", len(episodes), len(store.keys)) as advance:
            for (episode, _), outcome in pool.settled(gold_row, owed):
                if isinstance(outcome, SimulatorError):
                    outcome = {"gold": None, "reason": f"simulator: {outcome}"}
                store.append(episode.key, outcome)
                advance(episode.task)
        found = summary(store.rows())
        store.finish(found)
    return found


def read_gold(folder: str | Path) -> Iterator[GoldPath]:
    """The accepted gold paths of a complete stage folder, in the order of its file."""
    for gold in read_rows(folder, STAGE, lambda row: row["gold"] and from_row(GoldPath, row["gold"])):
        if gold is not None:
            yield gold


def gold_row(env: ScienceWorld, item: tuple[Episode, bool]) -> dict[str, Any]:
    """One row without its key, for (episode, whether to try the teleport rewrite)."""
    episode, teleport = item
    oracle = env.gold_actions(episode)
    start, steps = play(env, episode, oracle)
    reached = steps[-1].score
    if reached != 100:
        return {"gold": None, "reason": f"the oracle itself reaches {reached}"}
    cut = ("cut",) if len(steps) < len(oracle) else ()
    replayed, final, changed = start, steps, ()
    tried = [[step.action for step in steps]]
    for names in LATTICE:
        actions, rewrites = rewrite(start["look"], steps, [name for name in names if teleport or name != "teleport"], start["description"])
        if actions in tried:
            continue
        tried.append(actions)
        info, played = play(env, episode, actions)
        if played and played[-1].score == 100:
            replayed, final, changed = info, played, rewrites
            break
    gold = GoldPath(
        episode=episode,
        description=replayed["description"],
        look=replayed["look"],
        inventory=replayed["inventory"],
        steps=tuple(final),
        oracle_actions=len(oracle),
        oracle_score=reached,
        rewrites=(*cut, *changed),
        **provenance(),
    )
    return {"gold": to_row(gold), "reason": ""}


def rewrite(look: str, steps: Sequence[Step], names: Sequence[str], task: str = "") -> tuple[list[str], tuple[str, ...]]:
    """The actions left of the replayed ``steps`` of ``task``, begun in the room of ``look``, and which of ``names`` changed them."""
    rooms = [room(look), *(room(step.look) for step in steps)]
    useless = [_useless(step, before) for before, step in zip((None, *steps), steps, strict=False)]
    changed = [name for name in ("answers", "free", "noops") if name in names and name in useless]
    kept = [i for i, name in enumerate(useless) if name not in changed]
    actions = [steps[i].action for i in kept]
    if "names" in names:
        named = [_by_name(steps[i], steps[i - 1].look if i else look) for i in kept]
        changed += ["names"] * (named != actions)
        actions = named
    if "brief" in names:
        told = _telling([steps[i] for i in kept], task)
        changed += ["brief"] * (not all(told))
        kept, actions = list(compress(kept, told)), list(compress(actions, told))
    if "teleport" in names:
        walked = _collapse_walks(actions, [(rooms[i], rooms[i + 1]) for i in kept])
        changed += ["teleport"] * (walked != actions)
        actions = walked
    return actions, tuple(changed)


def summary(rows: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Counts and mean lengths, in all and per task, how many paths each rewrite survived in, and reasons of rejection."""
    per_task: dict[str, list[GoldPath]] = defaultdict(list)
    reasons: dict[str, str] = {}
    for row in rows:
        if row["gold"] is None:
            reasons[row["key"]] = row["reason"]
        else:
            gold = from_row(GoldPath, row["gold"])
            per_task[gold.episode.task].append(gold)
    everything = [gold for golds in per_task.values() for gold in golds]
    return {
        "episodes": len(everything) + len(reasons),
        **_figures(everything),
        "rejected": len(reasons),
        "reasons": dict(sorted(reasons.items())),
        "tasks": {name: _figures(per_task[name]) for name in catalogue.TASKS if name in per_task},
    }


def _figures(golds: Sequence[GoldPath]) -> dict[str, Any]:
    def mean(values: Iterator[int]) -> float:
        return round(statistics.fmean(values), 2) if golds else 0.0

    survived = Counter(name for gold in golds for name in gold.rewrites)
    return {
        "accepted": len(golds),
        "mean_oracle_actions": mean(gold.oracle_actions for gold in golds),
        "mean_actions": mean(len(gold.steps) for gold in golds),
        "mean_moves": mean(gold.steps[-1].moves for gold in golds),
        "rewrites": {name: survived[name] for name in ("cut", *LATTICE[0]) if survived[name]},
    }


def _useless(step: Step, before: Step | None) -> str:
    """The rewrite that drops this step, "" for none."""
    if step.action.strip().isdigit():
        return "answers"
    if step.action not in _FREE and not rejected(step.observation) and not _NOTHING.search(step.observation):
        return ""
    return "free" if step.moves == (before.moves if before else 0) else "noops"


def _telling(steps: Sequence[Step], task: str) -> list[bool]:
    """Which of the steps tell something new, as far as looks and readings go."""
    limit = _LIMIT.search(task)
    told, looks, decided, before = [], 0, False, ""
    for step in steps:
        looks = looks + 1 if step.action == before else 1
        before = step.action
        measured = _MEASURE.match(step.action)
        decided = decided and bool(measured)
        told.append(not decided and not (looks > LOOKS and _LOOK.match(step.action)))
        degrees = TEMPERATURE.search(step.observation)
        if limit and degrees and measured and measured[1]:
            beyond = int(degrees[1].split()[0]) - float(limit[1])
            decided = beyond > 0 if measured[1] == "solid" else beyond < 0
    return told


def _by_name(step: Step, look: str) -> str:
    """The action by the names of its reply; ``look`` is what was in sight before it."""
    for action, reply, named in _NAMED:
        found = reply.search(step.observation)
        if action.match(step.action) and found and not any(_shared(name, step.action, look) for name in found.groups()):
            return found.expand(named)
    return step.action


def _shared(name: str, action: str, look: str) -> bool:
    """Whether several things in sight have this name, of which the action says more."""
    said = re.escape(name)
    more = re.search(rf"\b{said} (?!(?:in|on|containing|to)\b)\w", action, re.IGNORECASE)
    return bool(more) and len(re.findall(rf"\b{said}\b", look, re.IGNORECASE)) > 1


def _collapse_walks(actions: Sequence[str], moves: Sequence[tuple[str, str]]) -> list[str]:
    """``moves[i]`` is the room before and after ``actions[i]``. Doors opened on the way go with the walk; closed ones stay."""
    left: list[str] = []
    i = 0
    while i < len(actions):
        last = None
        j = i
        while j < len(actions) and (_GO.match(actions[j]) or _OPEN_DOOR.match(actions[j])):
            last = j if _GO.match(actions[j]) else last
            j += 1
        if last is None:
            left.append(actions[i])
            i += 1
            continue
        if moves[i][0] != moves[last][1]:
            left.append(f"teleport to {moves[last][1]}")
        i = last + 1
    return left


def print_summary(summary: dict[str, Any]) -> None:
    """The summary as a table on the terminal, and why paths were rejected."""
    from rich.console import Console

    console = Console()
    title = f"gold paths: {summary['accepted']} accepted, {summary['rejected']} rejected"
    table = Table(title, "task", "paths", "oracle", "actions", "moves")
    for name, figures in [*summary["tasks"].items(), ("all", summary)]:
        means = (f"{figures[key]:.1f}" for key in ("mean_oracle_actions", "mean_actions", "mean_moves"))
        table.add(name, str(figures["accepted"]), *means)
    console.print(table)
    for key, reason in summary["reasons"].items():
        console.print(f"rejected {key}: {reason}", markup=False)
