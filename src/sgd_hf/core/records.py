"""What flows between the stages: frozen dataclasses, each one row of a stage folder or of a Hub dataset.

Guarantee: ``from_row(cls, to_row(x)) == x`` for every record, through JSON and through parquet, and
``features(cls)`` is the ``datasets`` schema of exactly those rows. Scores are the simulator's, 0 to 100,
-100 for a failed task; moves are simulator ticks; indices are half open.
"""

import dataclasses
import functools
import typing
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_args, get_origin, get_type_hints

from sgd_hf.core.errors import StoreError

T = typing.TypeVar("T")

SPLITS = ("train", "dev", "test")
HUB_SPLIT = {"train": "train", "dev": "validation", "test": "test"}


@dataclass(frozen=True)
class Episode:
    """One variation of one task of the simulator, under one simplification; ``split`` is the simulator's own."""

    task: str
    variation: int
    split: str
    simplification: str = "easy"

    @property
    def key(self) -> str:
        return f"{self.task}/{self.variation}/{self.simplification or 'none'}"


@dataclass(frozen=True)
class Step:
    """One action and the state that it led to; ``look`` and ``inventory`` are those after the action."""

    action: str
    observation: str
    look: str
    inventory: str
    score: int
    moves: int
    done: bool


@dataclass(frozen=True)
class GoldPath:
    """An oracle path, rewritten and verified by replay. ``look`` and ``inventory`` are those before the first step."""

    episode: Episode
    description: str
    look: str
    inventory: str
    steps: tuple[Step, ...]
    oracle_actions: int
    """length of the simulator's own path, before any rewrite"""
    oracle_score: int
    """final score of the simulator's own path; the rewritten one reaches the same"""
    rewrites: tuple[str, ...]
    """names of the rewrites that survived the replay, in order"""
    simulator: str
    jar: str
    """first 16 hex digits of the SHA-256 of the simulator's jar"""
    jvm: str
    """the flags the JVM ran with"""

    @property
    def key(self) -> str:
        return self.episode.key

    @property
    def actions(self) -> tuple[str, ...]:
        return tuple(step.action for step in self.steps)


@dataclass(frozen=True)
class Segment:
    """``steps[start:end]`` of a gold path carry out ``subgoal``, written as in `sgd_hf.core.subgoals`."""

    subgoal: str
    start: int
    end: int


@dataclass(frozen=True)
class Annotation:
    """A teacher's cut of one gold path. Accepted segments cover the path exactly (contract 1); a rejected
    annotation has no segments, a ``reason``, and keeps what the teacher wrote in ``raw``."""

    gold: GoldPath
    segments: tuple[Segment, ...]
    teacher: str
    teacher_revision: str
    prompt_version: str
    reason: str = ""
    raw: str = ""

    @property
    def key(self) -> str:
        return self.gold.key

    @property
    def accepted(self) -> bool:
        return not self.reason


@dataclass(frozen=True)
class SubgoalTrace:
    """A sub-goal as an agent lived it: ``actions[start:end]`` ran under it; ``fate`` says how it ended
    (``ended`` by the executor, ``reached`` its post-condition, ``stalled``, or ``open`` when the episode stopped);
    ``why`` is the reason that the planner gave for it, if any."""

    subgoal: str
    start: int
    end: int
    fate: str
    why: str = ""


@dataclass(frozen=True)
class Rollout:
    """One finished episode of one arm; enough to score it again without the model (contract 6).

    ``score`` counts a failed episode as 0, ``raw_score`` keeps the simulator's -100, ``best_score`` is the
    highest seen before a failure. ``stop`` is one of success, failure, move_limit, no_progress, gave_up, error.
    """

    episode: Episode
    arm: str
    description: str
    steps: tuple[Step, ...]
    subgoals: tuple[SubgoalTrace, ...]
    score: int
    raw_score: int
    best_score: int
    stop: str
    rejected: int
    """actions that the simulator did not accept"""
    repaired: int
    """actions re-decoded among the valid ones after a rejection"""
    listed: tuple[int, ...] = ()
    """indices of the steps before which valid actions were listed, which consumes the simulator's random numbers"""
    look: str = ""
    """what was in sight before the first action"""
    inventory: str = ""
    """what was carried before the first action"""
    planned: int = 0
    """answers of the planner"""
    unusable: int = 0
    """those of them that were no sub-goal"""
    retries: int = 0
    """1 if a simulator died or hung under the episode and it was begun anew"""
    error: str = ""
    simulator_seconds: float = 0.0
    model_seconds: float = 0.0
    """its share of the time in which the models wrote, its own or a batch's"""
    waiting_seconds: float = 0.0
    """the rest of its wall time: for a simulator to start, for other episodes' turns, and what scheduling costs"""

    @property
    def key(self) -> str:
        return f"{self.arm}/{self.episode.key}"


def to_row(record: Any) -> dict[str, Any]:
    """A record as plain JSON types, nested records and tuples included."""
    return dataclasses.asdict(record, dict_factory=lambda items: {k: list(v) if isinstance(v, tuple) else v for k, v in items})


def from_row(cls: type[T], row: dict[str, Any]) -> T:
    """The record that `to_row` wrote; a field that was not there yet has its default. Raises `StoreError` for a row of another shape."""
    try:
        return _decode(cls, row)
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"A row is no {cls.__name__} of this version of sgd-hf ({error!r}); run the stage that wrote it again into another folder."
        ) from None


def features(cls: type) -> Any:
    """The ``datasets.Features`` of a record's rows."""
    import datasets

    return datasets.Features(_feature(cls))


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _decode(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{f.name: _decode(hints[f.name], value[f.name]) for f in fields(kind) if f.name in value or f.default is MISSING})
    if get_origin(kind) is tuple:
        return tuple(_decode(get_args(kind)[0], item) for item in value)
    if not isinstance(value, (int, float) if kind is float else kind):
        raise TypeError(f"expected {kind.__name__}, found {type(value).__name__}")
    return value


def _feature(kind: Any) -> Any:
    import datasets

    if dataclasses.is_dataclass(kind):
        return {name: _feature(hint) for name, hint in _hints(typing.cast(type, kind)).items()}
    if get_origin(kind) is tuple:
        return datasets.List(_feature(get_args(kind)[0]))
    return datasets.Value({str: "string", int: "int64", float: "float64", bool: "bool"}[kind])
