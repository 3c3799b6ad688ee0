"""A teacher's text and the gold actions → segments that cover the path exactly, or `Rejected`.

Guarantee: pure and total. `answer`, `parse_items`, `align` and `ground` never raise and never loop, whatever the text,
and take time that the length of the gold path bounds; what `align` returns as segments passes `check_cover`, and
whatever does not is `Rejected` with a reason of one sentence.

The alignment is global: the longest common subsequence of the teacher's actions and the gold actions, compared
without case, spacing and final stop. What it leaves open is repaired by three fixed rules:

1. A teacher's action that is not in the path is dropped; so is a sub-goal left without actions.
2. Gold actions that the teacher skipped, between two aligned ones, take the sub-goals of the teacher's unmatched
   actions at that place, one by one (they are taken for paraphrases); the rest stay with the sub-goal before.
3. Skipped actions at the beginning go to the first sub-goal in the same way, those at the end to the last.

Rejected: no items, a sub-goal outside the grammar, `complete_task` with actions, fewer than half of the gold
actions aligned, far more sub-goals or actions than the path has.

`ground` then holds the arguments against the trajectory: each must occur in it; words in front of a name that does
are dropped; `wait` gets the number of ticks that its segment waits.

`absorb` is the fallback for a teacher that does not mend its answer: a sub-goal that neither the grammar nor the
trajectory knows is struck, and its actions join the sub-goal before it, or the first that is left; where more than
half of the actions would have to move, nothing is left.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from sgd_hf.core.records import GoldPath, Segment
from sgd_hf.core.subgoals import Subgoal, known, parse, plain
from sgd_hf.core.texts import TICKS

_MOST = 4
_LEAST_ALIGNED = 0.5
_LONGEST_SUBGOAL = 200
_SUBGOAL_LINE = re.compile(r"[#*>`\s]*\d+\s*[.):-]\s*(.*)")
_ACTION_LINE = re.compile(r"[-*•]\s+(.*)")

Item: TypeAlias = tuple[str, list[str]]


@dataclass(frozen=True)
class Rejected:
    """Why a teacher's text could not become an annotation."""

    reason: str


def answer(raw: str, gold: GoldPath) -> str | Rejected:
    """The part of a completion that is the answer: without what was thought aloud before it, and no longer than any
    annotation of this path could be."""
    limit = _MOST * sum(len(action) + 100 for action in gold.actions) + 4000
    text = raw.rpartition("</think>")[2].strip() if len(raw) < 1_000_000 else raw
    if len(text) > limit:
        return Rejected(f"the text has {len(text)} characters, and {limit} are more than enough for a path of {len(gold.steps)} actions.")
    return text


def parse_items(raw: str) -> list[Item]:
    """Numbered sub-goals and the bulleted actions under each, with or without Markdown; lines of any other form are
    passed over."""
    items: list[Item] = []
    for line in raw.splitlines():
        line = line.strip()
        if found := _SUBGOAL_LINE.fullmatch(line):
            items.append((found[1].strip(" \t*`:"), []))
        elif items and (found := _ACTION_LINE.fullmatch(line)):
            items[-1][1].append(found[1].strip())
    return items


def check_cover(segments: Sequence[Segment], length: int) -> bool:
    """Contract 1: the segments, one after the other, are exactly the steps 0 to ``length``, none of them empty."""
    bounds = [0, *(s.end for s in segments)]
    return bounds[-1] == length and all(s.start == b and s.end > s.start for s, b in zip(segments, bounds, strict=False))


def align(items: Sequence[Item], gold_actions: Sequence[str]) -> tuple[Segment, ...] | Rejected:
    """Segments of ``gold_actions`` (a non-empty path) that follow the teacher's ``items``, repaired as described above."""
    if not gold_actions:
        return Rejected("the gold path has no actions.")
    if not any(actions for _, actions in items):
        return Rejected("the text holds no numbered sub-goal with actions.")
    owners = [k for k, (_, actions) in enumerate(items) for _ in actions]
    if max(len(items), len(owners)) > _MOST * len(gold_actions) + 100:
        return Rejected(f"the text has {len(items)} sub-goals and {len(owners)} actions for a path of {len(gold_actions)}.")
    subgoals = []
    for text, actions in items:
        subgoal = _subgoal(text)
        if isinstance(subgoal, Rejected):
            return subgoal
        if subgoal.verb == "complete_task" and actions:
            return Rejected("complete_task has actions.")
        subgoals.append(str(subgoal))
    said = [_plain(action) for _, actions in items for action in actions]
    pairs = _common(said, [_plain(action) for action in gold_actions])
    if len(pairs) < _LEAST_ALIGNED * len(gold_actions):
        return Rejected(f"only {len(pairs)} of {len(gold_actions)} gold actions occur in the text, in order.")
    owner = _assign(pairs, owners, len(gold_actions))
    starts = [i for i in range(len(owner)) if i == 0 or owner[i] != owner[i - 1]]
    ends = [*starts[1:], len(owner)]
    return tuple(Segment(subgoals[owner[i]], i, j) for i, j in zip(starts, ends, strict=True))


def ground(segments: Sequence[Segment], gold: GoldPath) -> tuple[Segment, ...] | Rejected:
    """The same segments with arguments that occur in the trajectory, or `Rejected` naming one that does not."""
    told, found = _told(gold), []
    for segment in segments:
        subgoal = _subgoal(segment.subgoal)
        if isinstance(subgoal, Rejected):
            return subgoal
        args = tuple(_occurring(arg, told) for arg in subgoal.args)
        if None in args:
            return Rejected(f"{subgoal.args[args.index(None)]!r}, an argument of {subgoal.verb}, occurs nowhere in the trajectory.")
        if subgoal.verb == "wait" and (ticks := _ticks(gold.actions[segment.start : segment.end])):
            args = (str(ticks),)
        found.append(Segment(str(Subgoal(subgoal.verb, args)), segment.start, segment.end))
    return tuple(found)


def absorb(items: Sequence[Item], gold: GoldPath) -> list[Item]:
    """The items without sub-goals that `align` or `ground` would reject; their actions go to a neighbour."""
    told = _told(gold)
    kept: list[Item] = []
    owed: list[str] = []
    struck = 0
    for text, actions in items:
        subgoal = _subgoal(text)
        if isinstance(subgoal, Rejected) or subgoal.verb == "complete_task" or None in (_occurring(a, told) for a in subgoal.args):
            (kept[-1][1] if kept else owed).extend(actions)
            struck += len(actions)
        else:
            kept.append((text, [*owed, *actions]))
            owed = []
    return kept if 2 * struck <= sum(len(actions) for _, actions in items) else []


def _subgoal(text: str) -> Subgoal | Rejected:
    if len(text) > _LONGEST_SUBGOAL:
        return Rejected(f"a sub-goal of {len(text)} characters: {text[:40]!r} and so on.")
    try:
        return parse(text)
    except ValueError as error:
        return Rejected(f"sub-goal outside the grammar: {error}")


@lru_cache(maxsize=4)
def _told(gold: GoldPath) -> str:
    """Everything that the trajectory says, as names are compared."""
    texts = [gold.description, gold.look, gold.inventory]
    for step in gold.steps:
        texts += [step.action, step.observation, step.look, step.inventory]
    return plain("\n".join(dict.fromkeys("\n".join(texts).split("\n"))))


def _occurring(arg: str, told: str) -> str | None:
    """The longest end of an argument that occurs. Where words had to be dropped, what is left must be a name by itself:
    no number, letter or "substance" (of which every text has some), nor the place of a thing that was invented."""
    if known(arg, told):
        return arg
    words = arg.split()
    for k in range(1, len(words)):
        name = " ".join(words[k:])
        bare = len(name) == 1 or name == "substance" or name.replace(".", "").lstrip("-").isdigit()
        if known(name, told) and not bare and not {"in", "on"} & {words[k - 1], words[k]}:
            return name
    return None


def _ticks(actions: Sequence[str]) -> int:
    return sum(TICKS.get(_plain(action), 0) for action in actions)


def _plain(action: str) -> str:
    return " ".join(action.lower().split()).rstrip(".")


def _common(a: list[str], b: list[str]) -> list[tuple[int, int]]:
    """Index pairs of a longest common subsequence; quadratic only in what is left between equal beginnings and ends."""
    import numpy as np

    head = 0
    while head < min(len(a), len(b)) and a[head] == b[head]:
        head += 1
    tail = 0
    while tail < min(len(a), len(b)) - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    codes = {text: code for code, text in enumerate(dict.fromkeys(a + b))}
    left = np.array([codes[t] for t in a[head : len(a) - tail]], dtype=np.int64)
    right = np.array([codes[t] for t in b[head : len(b) - tail]], dtype=np.int64)
    best = np.zeros((len(left) + 1, len(right) + 1), dtype=np.int32)
    for i, code in enumerate(left):
        best[i + 1, 1:] = np.maximum.accumulate(np.maximum(best[i, 1:], best[i, :-1] + (right == code)))
    pairs = []
    i, j = len(left), len(right)
    while i and j:
        if best[i, j] == best[i, j - 1]:  # the earliest place, so that repeats left over follow the one that was named
            j -= 1
        elif best[i, j] == best[i - 1, j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((head + i, head + j))
    ends = [(len(a) - t, len(b) - t) for t in range(tail, 0, -1)]
    return [(k, k) for k in range(head)] + pairs[::-1] + ends


def _assign(pairs: list[tuple[int, int]], owners: list[int], length: int) -> list[int]:
    """The item of every gold action, never decreasing."""
    owner: list[int] = []
    said = 0
    for i, j in [*pairs, (len(owners), length)]:
        spare = owners[said:i]
        before = owner[-1] if owner else None
        for gap in range(j - len(owner)):
            if gap < len(spare):
                before = spare[gap]
            elif before is None:
                before = owners[min(i, len(owners) - 1)]
            owner.append(before)
        if j < length:
            owner.append(owners[i])
        said = i + 1
    return owner
