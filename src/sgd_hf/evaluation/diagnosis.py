"""Rollouts to reasons: how each episode went, in one word, and what an arm's sub-goals were worth.

Guarantee: pure, without a simulator or a model. Every episode has exactly one label, that of the first rule of
`LABELS` that fits; every rate is a share in [0, 1], or None where nothing could be judged.
"""

import functools
from collections.abc import Sequence
from typing import Any

from sgd_hf.agent.policy import PATIENT
from sgd_hf.core.records import Rollout, Step
from sgd_hf.core.subgoals import known, parse, plain, reached
from sgd_hf.core.texts import rejected

LATE = 20
"""actions at the end of an episode in which the reason for its end is looked for"""
CYCLE = 4
"""longest cycle of actions that is looked for"""
TURNS = 3
"""times in a row that make a loop"""

LABELS = {
    "crashed": "the simulator died or hung, twice",
    "wrong_focus": "failed by a focus on the wrong thing",
    "failed": "failed otherwise",
    "solved": "the full score",
    "gave_up": "the agent stopped by itself: no usable plan, or nothing left to do",
    "rejected": f"more than half of its last {LATE} actions were rejected",
    "loop": f"an action, or a cycle of up to {CYCLE}, {TURNS} times over in its last {LATE}, with the same replies and score",
    "stuck": f"a sub-goal that had stalled before stalled again within its last {LATE} actions",
    "out_of_moves": f"the move limit came while its score rose: within its last {LATE} actions, and their second half if it had no more",
    "no_progress": "none of these; the score stood still at the end",
}
"""The labels and their rules, in the order in which they are tried. Rejections come before loops, for an agent that
repeats what is rejected loops because of it."""


def label(rollout: Rollout) -> str:
    """How an episode went, as one of `LABELS`."""
    late = rollout.steps[-LATE:]
    if rollout.stop == "error":
        return "crashed"
    if rollout.stop == "failure":
        return "wrong_focus" if wrong_focus(rollout) else "failed"
    if rollout.score == 100:
        return "solved"
    if rollout.stop == "gave_up":
        return "gave_up"
    if 2 * sum(rejected(step.observation) for step in late) > len(late):
        return "rejected"
    if looped(late):
        return "loop"
    if _stuck(rollout):
        return "stuck"
    return "out_of_moves" if rollout.stop == "move_limit" and _rising(rollout.steps) else "no_progress"


def wrong_focus(rollout: Rollout) -> bool:
    """Whether a rollout failed by focusing on the wrong thing, which ends an episode at once."""
    return rollout.stop == "failure" and bool(rollout.steps) and rollout.steps[-1].action.lower().startswith("focus")


def looped(steps: Sequence[Step]) -> bool:
    """Whether one action, or a cycle of 2 to 4, came three times in a row with the same observations and no change of
    score. Actions that are rightly repeated (waiting, looking, measuring) make no loop by themselves: gold paths are full
    of them, and hold no other loop."""
    for cycle in range(1, CYCLE + 1):
        again = 0
        for i in range(cycle, len(steps)):
            now, then = steps[i], steps[i - cycle]
            same = (now.action, now.observation) == (then.action, then.observation) and now.score == steps[i - 1].score
            again = again + 1 if same else 0
            idle = all(step.action.startswith(PATIENT) for step in steps[i - cycle + 1 : i + 1])
            if again >= (TURNS - 1) * cycle and not idle:
                return True
    return False


def subgoal_metrics(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    """What the sub-goals of one arm were worth, as shares of those that can be judged.

    ``parsed``: of the planner's answers, those that were a sub-goal of the grammar. ``completed``: the executor ended it after at least one action, or its post-condition was seen; what stalled, was
    replaced or was open at the end of the episode did not. ``held``: its post-condition held in its last state, of those
    whose state shows one. ``grounded``: its arguments occur in the description or in what was seen before it
    began. ``thrash``: it was written again at once, or as the last of an alternation A-B-A-B.
    """
    completed, held, grounds, thrash = [], [], [], []
    for rollout in rollouts:
        names = [trace.subgoal for trace in rollout.subgoals]
        seen, read = dict.fromkeys(_lines(rollout.description) + _lines(rollout.look) + _lines(rollout.inventory)), 0
        for i, trace in enumerate(rollout.subgoals):
            subgoal = parse(trace.subgoal)
            completed.append(trace.fate == "reached" or trace.fate == "ended" and trace.end > trace.start)
            thrash.append(_again(names[: i + 1]))
            if trace.end:
                last = rollout.steps[trace.end - 1]
                held.append(reached(subgoal, last.look, last.inventory))
            for step in rollout.steps[read : trace.start]:
                seen |= dict.fromkeys(_lines(step.look) + _lines(step.inventory) + _lines(step.observation))
            text, read = "\n".join(seen), trace.start
            grounds.append(all(known(argument, text) for argument in subgoal.args))
    planned = sum(rollout.planned for rollout in rollouts)
    parsed = 1 - sum(rollout.unusable for rollout in rollouts) / planned if planned else None
    return {"parsed": parsed, "completed": _share(completed), "held": _share(held), "grounded": _share(grounds), "thrash": _share(thrash)}


def _again(names: Sequence[str]) -> bool:
    """Whether the last sub-goal repeats the one before it, or ends an alternation of two."""
    return names[-2:-1] == names[-1:] or len(names) >= 4 and names[-4:-2] == names[-2:]


def _rising(steps: Sequence[Step]) -> bool:
    turn = max(len(steps) - LATE, len(steps) // 2)
    return max((step.score for step in steps[turn:]), default=0) > max((step.score for step in steps[:turn]), default=0)


def _stuck(rollout: Rollout) -> bool:
    stalled: set[str] = set()
    for trace in rollout.subgoals:
        if trace.fate == "stalled":
            if trace.subgoal in stalled and trace.end > len(rollout.steps) - LATE:
                return True
            stalled.add(trace.subgoal)
    return False


@functools.lru_cache(maxsize=10_000)
def _lines(text: str) -> tuple[str, ...]:
    return tuple(plain(text).split("\n"))


def _share(judged: Sequence[bool | None]) -> float | None:
    clear = [value for value in judged if value is not None]
    return sum(clear) / len(clear) if clear else None
