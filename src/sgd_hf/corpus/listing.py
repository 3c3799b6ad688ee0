"""A gold path as data in a question to a teacher.

Guarantee: every action is listed, on one line; whatever the simulator said is quoted on one line, without a character
that a chat template or one of our own marks could be taken for. A path whose list would exceed `CHARACTERS` says less
of what the simulator answered, and then leaves out the labels.
"""

import json
import re
from collections.abc import Iterable, Sequence

from sgd_hf.core.records import GoldPath, Step
from sgd_hf.core.texts import flatten
from sgd_hf.corpus import rules

CHARACTERS = 9000
_SAFE = str.maketrans("<>[]{}|", "‹›⁅⁆()¦")
_SAID_ALREADY = {
    "a", "an", "and", "are", "from", "in", "into", "inventory", "is", "it", "its", "move", "moves", "now", "of", "on", "the", "to", "you",
}  # fmt: skip


def units(actions: Sequence[str]) -> list[tuple[int, int]]:
    """Half-open ranges of steps that a teacher sees as one numbered action: an action or a round of up to three that is
    repeated at once is one, of at most `rules.LONGEST` steps."""
    found, start = [], 0
    while start < len(actions):
        best = 1
        for period in (1, 2, 3):
            end = start + period
            while end < len(actions) and actions[end] == actions[end - period]:
                end += 1
            rounds = min(end - start, rules.LONGEST) // period
            if rounds > 1 and rounds * period > best:
                best = rounds * period
        found.append((start, start + best))
        start += best
    return found


def recorded(lines: Iterable[str]) -> str:
    """Lines between the marks that a question's system text speaks of."""
    return "\n".join(["===", *lines, "==="])


def described(text: str) -> list[str]:
    """A task's description as the first line of a record."""
    return [f"Task: {quoted(text, 2000)}"]


def bullets(actions: Sequence[str]) -> list[str]:
    """The bare actions, a line each."""
    return ["Actions:", *(f"- {_plain(action)}" for action in actions)]


def _plain(text: str) -> str:
    return flatten(text).translate(_SAFE)


def quoted(text: str, most: int) -> str:
    """A text in quotation marks on one line, of at most ``most`` characters inside them before escapes."""
    text = _plain(text)
    return json.dumps(text if len(text) <= most else text[: most - 1] + "…", ensure_ascii=False)


def listing(gold: GoldPath, found: list[tuple[int, int]], labels: Sequence[Sequence[str]] | None = None) -> list[str]:
    """The numbered actions; a long path says less of what the simulator answered, and then no labels either."""
    lines: list[str] = []
    for width, offered in ((200, labels), (80, labels), (0, labels), (0, None)):
        lines = [_line(gold, k, unit, width, offered[k] if offered else ()) for k, unit in enumerate(found)]
        if sum(map(len, lines)) <= CHARACTERS:
            break
    return ["Actions:", *lines]


def _line(gold: GoldPath, k: int, unit: tuple[int, int], width: int, labels: Sequence[str]) -> str:
    start, end = unit
    actions = gold.actions[start:end]
    period = next(p for p in range(1, end - start + 1) if all(a == b for a, b in zip(actions, actions[p:], strict=False)))
    times = f" ({(end - start) // period} times)" if end - start > period else ""
    line = f"{k + 1}. " + "; ".join(_plain(action) for action in actions[:period]) + times
    gain = gold.steps[end - 1].score - (gold.steps[start - 1].score if start else 0)
    line += f" (+{gain})" if gain > 0 else ""
    told = [step.observation for step in gold.steps[start:end] if width and _matters(step)]
    line += " => " + quoted(" … ".join(dict.fromkeys((told[0], told[-1]))), width) if told else ""
    return line + (" | " + " | ".join(labels) if labels else "")


def _matters(step: Step) -> bool:
    """Whether the simulator's answer has a word that the action does not have, in any form."""
    words = set(re.findall(r"\w+", step.action.lower()))
    said = set(re.findall(r"\w+", step.observation.lower())) - _SAID_ALREADY
    return any(not any(word[:4] == own[:4] for own in words) for word in said)
