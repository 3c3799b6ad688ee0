"""Why a sub-goal is the next one: what a planner writes in front of a sub-goal that answers the question of its task.

Guarantee: a reason is a function of the task, the state and what was found, so that no teacher has to give it; there is
none where the task leaves no choice. It is a chain of steps, each of which can be copied, looked up or compared by
itself, where the bare sub-goal would ask for all of them at once. (issue 7: readings were answered by chance)

    nothing is on, it is electrically nonconductive, place it in the green box: put(paper clip, green box)
    67 degrees celsius, the wax temperature is above 50.0 degrees celsius, place it in the red box: put(wax, red box)
    steepest is farther, f 59, d 24, f is farther: focus_on(inclined plane f)
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sgd_hf.core.subgoals import Subgoal, parse
from sgd_hf.core.texts import RUNNING, SLID, TEMPERATURE

_MARK = ": "
_RULE = re.compile(r"\bif ((?:(?!\bif\b).)+?, [^,]*?\bthe (\w+ box))\b")
_SIDE = re.compile(r"the (?:melting point of )?(.+?)(?: temperature)? is (above|below) (-?[\d.]+) degrees celsius")
_PLANES = re.compile(r"which of the two inclined planes \(([^,)]+), ([^,)]+)\) has the (\w+)")
_PLANE = re.compile(r"^inclined plane (?:with an? )?| surface$")
_FAST = ("steepest", "least")


@dataclass(frozen=True)
class Case:
    """One case of a task's question: if it is so, the answer is this box. Of a reading, of what it is (``subject``), and whether
    it must be above the ``limit`` in degrees celsius or below."""

    text: str
    box: str
    subject: str = ""
    above: bool = False
    limit: float = 0.0

    @property
    def by_focus(self) -> bool:
        """Whether the answer is to focus on the box, and not to put something into it."""
        return "focus on" in self.text


def cases(task: str) -> list[Case]:
    """The cases that a task in small letters tells apart, none where its answer is no box."""
    sides = ((text, box, _SIDE.match(text)) for text, box in _RULE.findall(task))
    return [Case(text, box, *((side[1], side[2] == "above", float(side[3])) if side else ())) for text, box, side in sides]


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
    if planes := _PLANES.search(task):
        return _slid(planes[1], planes[2], planes[3], past)
    rule = next((case.text for case in cases(task) if case.box == subgoal.args[-1]), "")
    if "electrically" in rule:
        running = RUNNING.search(state)
        return f"{running[1] if running else 'nothing'} is on, {rule}"
    found = [degrees for _, reply in past for degrees in TEMPERATURE.findall(reply)][-1:]
    return ", ".join([*found, rule]) if rule else ""


def _slid(one: str, other: str, wanted: str, past: Iterable[tuple[str, str]]) -> str:
    """Which plane is asked for, by how far down a block was at the last look at each, in percent; empty before both were
    watched, or if they do not differ."""
    down = {}
    for text, reply in past:
        watched = parse(text)
        if watched.verb == "watch" and (slid := SLID.search(reply)):
            down[_PLANE.sub("", watched.args[0])] = int(slid[1] or 100)
    if not {one, other} <= set(down) or down[one] == down[other]:
        return ""
    sought = "farther" if wanted in _FAST else "nearer"
    found = (max if wanted in _FAST else min)((one, other), key=down.__getitem__)
    return f"{wanted} is {sought}, {one} {down[one]}, {other} {down[other]}, {found} is {sought}"
