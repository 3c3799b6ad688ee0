"""Teachers: a batch of gold paths in, one raw completion each out.

Guarantee: whatever a teacher is, its text goes through the same parser and the same alignment
(`sgd_hf.corpus.alignment`), and is stored before it is read. The text is numbered sub-goals with their actions:

    1. navigate_to(kitchen)
    - teleport to kitchen
    2. pick_up(thermometer)
    - pick up thermometer
"""

from collections.abc import Sequence
from typing import Protocol

from sgd_hf.core.records import GoldPath
from sgd_hf.corpus import rules


class Teacher(Protocol):
    """``name``, ``revision`` and ``prompt_version`` are columns of every row and part of the stage's configuration."""

    name: str
    revision: str
    prompt_version: str

    def complete(self, golds: Sequence[GoldPath]) -> list[str]:
        """One raw completion for each gold path, in order."""
        ...


class RuleTeacher:
    """The embedded default: the deterministic rules of `sgd_hf.corpus.rules`; it stands for a language model only
    where none can run, and is labelled ``rules`` in every row."""

    name = "rules"
    revision = rules.REVISION
    prompt_version = "none"

    def complete(self, golds: Sequence[GoldPath]) -> list[str]:
        return [_written(gold) for gold in golds]


TEACHERS = {RuleTeacher.name: RuleTeacher}


def _written(gold: GoldPath) -> str:
    lines = []
    for number, segment in enumerate(rules.segment(gold), 1):
        lines.append(f"{number}. {segment.subgoal}")
        lines += [f"- {action}" for action in gold.actions[segment.start : segment.end]]
    return "\n".join(lines)
