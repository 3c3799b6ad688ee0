"""Named evaluation protocols: frozen episode lists with their limits.

Guarantee: a protocol's digest covers everything that decides a score beside the agent (episodes, simplification,
limits), so two results are comparable exactly if their digests are equal. Test variations are for reporting;
tune on `dev-mini`, or faster on `dev-30`.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sgd_hf.core.errors import InputError
from sgd_hf.core.records import Episode, Step
from sgd_hf.scienceworld.tasks import TASKS, episode, variations


@dataclass(frozen=True)
class Protocol:
    """``limit``: simulator moves after which an episode is cut off; ``patience``: actions without a change of the
    score after which it is given up. A failed episode counts 0."""

    name: str
    episodes: tuple[Episode, ...]
    limit: int = 100
    patience: int = 50

    @property
    def digest(self) -> str:
        """12 hex digits; the name is not part of it."""
        content = dataclasses.asdict(self) | {"name": ""}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def simplification(self) -> str:
        return self.episodes[0].simplification


QUICKSTART_TASKS = ("find-non-living-thing", "find-plant", "lifespan-shortest-lived", "test-conductivity-of-unknown-substances")


_NOT_ETO = ("2-3", "9-1", "9-2", "9-3", "10-1", "10-2")
"""tasks that ETO-type evaluations leave out; `unseen-211` has their episodes, not their limits, jar or way of counting"""


def ending(steps: Sequence[Step], truncated: bool, patience: int) -> str:
    """Why an episode is over after these steps, as a rollout's ``stop`` has it; empty while it goes on."""
    if steps[-1].done:
        return "move_limit" if truncated else "success" if steps[-1].score == 100 else "failure"
    recent = steps[-patience - 1 :]
    return "no_progress" if len(recent) > patience and len({step.score for step in recent}) == 1 else ""


def first(split: str, most: int | None, tasks: Iterable[str] = TASKS) -> tuple[Episode, ...]:
    """The first ``most`` variations of a split of each task (all for None)."""
    return tuple(episode(task, variation) for task in tasks for variation in variations(task, split)[:most])


def protocol(name: str) -> Protocol:
    """A protocol by name; `InputError` lists the names otherwise."""
    if name not in _EPISODES:
        raise InputError(f"There is no protocol {name!r}; the protocols are {', '.join(PROTOCOLS)}.")
    return Protocol(name, _EPISODES[name](), limit=300 if name == "paper-271-300" else 100)


_EPISODES = {
    "paper-271": lambda: first("test", 10),
    "test-1819": lambda: first("test", None),
    "dev-mini": lambda: first("dev", 3),
    "dev-30": lambda: first("dev", 1),
    "smoke": lambda: first("dev", 1, QUICKSTART_TASKS),
    "quickstart": lambda: first("test", 6, QUICKSTART_TASKS),
    "paper-271-300": lambda: first("test", 10),
    "unseen-211": lambda: first("test", 10, (task for task in TASKS if TASKS[task].id not in _NOT_ETO)),
}
PROTOCOLS = tuple(_EPISODES)
"""the names"""
