"""How a module's answer is chosen among what its model could write."""

from dataclasses import dataclass

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


def branches(paths: list[list[int]], written: list[int]) -> list[int]:
    """The tokens that can follow what was written along the paths, each of which ends with an end mark."""
    return sorted({path[len(written)] for path in paths if path[: len(written)] == written})
