"""How a module's answer is chosen among what its model could write, and an answer under way."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sgd_hf.agent.policy import Ask
from sgd_hf.core.errors import InputError

MAX_NEW_TOKENS = 64
"""tokens of one answer at most"""


@dataclass(frozen=True)
class Decoding:
    """Greedy by default. ``beams``: width of a beam search by length-normalised log-probability; ``temperature``: of
    sampling, 0 for none. Raises `InputError` for both at once and for numbers that make no sense."""

    beams: int = 1
    temperature: float = 0.0

    def __post_init__(self) -> None:
        if self.beams < 1 or self.temperature < 0:
            raise InputError("--beams must be at least 1 and --temperature at least 0.")
        if self.beams > 1 and self.temperature > 0:
            raise InputError("--beams and --temperature exclude each other; give one of them.")

    @property
    def text(self) -> str:
        """How the name of an arm says it, empty for greedy."""
        return f"+beams:{self.beams}" if self.beams > 1 else f"+temperature:{self.temperature:g}" if self.temperature else ""


GREEDY = Decoding()


@dataclass
class Writing:
    """An answer under way: a module's `advance` brings it on until it has its ``answer``. ``slot``: which of the conversations
    side by side it belongs to; ``draw``: the random numbers for sampling."""

    ask: Ask
    slot: int = 0
    draw: Random | None = None
    answer: str | None = None
    barred: list[int] = field(default_factory=list)
    """first tokens that are ruled out: with each of them the answer was the one that is never given"""
    course: Generator[Any, Any, None] | None = None
    """how the module that writes it goes on"""
    awaits: Any = None
    """what has to be read for that"""


def write_out(writings: Sequence[Writing], write_many: Callable[[list[Ask], list[Random | None]], list[str]]) -> None:
    """Bring all of them to their ends at once."""
    answers = write_many([writing.ask for writing in writings], [writing.draw for writing in writings])
    for writing, answer in zip(writings, answers, strict=True):
        writing.answer = answer


def branches(paths: list[list[int]], written: list[int]) -> list[int]:
    """The tokens that can follow what was written along the paths, each of which ends with an end mark."""
    return sorted({path[len(written)] for path in paths if path[: len(written)] == written})
