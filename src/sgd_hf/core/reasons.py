"""Why a sub-goal is the next one: what a planner writes in front of a sub-goal that answers the question of its task.

Guarantee: a reason is a function of the task, the state and what was found, so that no teacher has to give it; there is
none where the task leaves no choice. With it a small model decides in steps, each of which it can copy or compare,
where the sub-goal alone would ask for all of them in one. (issue 7: two readings were compared by chance)

    nothing is on, it is electrically nonconductive: put(paper clip, green box)
    67 degrees celsius, the unknown substance b temperature is above 0.0 degrees celsius: put(unknown substance b, red box)
    glass 24, soapy water 59, glass is faster: focus_on(inclined plane with a glass surface)
"""

import re
from collections.abc import Iterable

from sgd_hf.core.subgoals import Subgoal, parse

_MARK = ": "
_CLAUSE = re.compile(r"\bif ((?:(?!\bif\b).)+?), [^,]*?\bthe (\w+ box)\b")
_RUNS = re.compile(r"\b(\w+ light bulb|electric \w+) \(on\)")
_DEGREES = re.compile(r"a temperature of (-?\d+ degrees celsius)")
_PLANE = re.compile(r"^inclined plane (?:with an? )?| surface$")
_TICKS = re.compile(r"the time reads (\d+) ticks")


def spoken(subgoal: str, why: str) -> str:
    """A sub-goal behind its reason, as the planner writes it."""
    return f"{why}{_MARK}{subgoal}" if why else subgoal


def heard(answer: str) -> tuple[str, str]:
    """What a planner wrote, as the sub-goal's text and its reason; nothing is checked."""
    why, _, subgoal = answer.rpartition(_MARK)
    return subgoal, why


def reason(subgoal: Subgoal, task: str, state: str, past: Iterable[tuple[str, str]]) -> str:
    """The reason of an answer, empty for any other sub-goal. ``task`` and ``state`` as prompts show them; ``past``: the sub-goals
    before, each with its last reply."""
    if subgoal.verb not in ("put", "focus_on"):
        return ""
    if "which of the two inclined planes" in task:
        return _faster(past)
    clause = next((clause for clause, box in _CLAUSE.findall(task) if box == subgoal.args[-1]), "")
    if not clause:
        return ""
    if "electrically" in clause:
        runs = _RUNS.search(state)
        found = [f"{runs[1] if runs else 'nothing'} is on"]
    else:
        found = [degrees for _, reply in past for degrees in _DEGREES.findall(reply)][-1:]
    return ", ".join([*found, clause])


def _faster(past: Iterable[tuple[str, str]]) -> str:
    """The ticks that a block took on each of two planes, and where it was faster; empty before both are timed."""
    plane, ticks = "", {}
    for text, reply in past:
        timed = parse(text)
        plane = timed.args[1] if timed.verb == "time" else plane
        if plane and timed.verb == "read_time" and (read := _TICKS.search(reply)):
            ticks[_PLANE.sub("", plane)] = int(read[1])
    if len(ticks) != 2:
        return ""
    (one, first), (other, second) = ticks.items()
    verdict = "both are as fast" if first == second else f"{one if first < second else other} is faster"
    return f"{one} {first}, {other} {second}, {verdict}"
