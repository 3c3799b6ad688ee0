"""When a task's question can be answered, and when it has to be.

Guarantee: what is said here is read off the task and what was done and measured. Which answer is right the planner says; here is only
said what a measurement speaks against.
"""

import re

from sgd_hf.core.prompts import Transcript
from sgd_hf.core.reasons import Case, cases, spoken
from sgd_hf.core.subgoals import Subgoal, parse
from sgd_hf.core.texts import TEMPERATURE, TICKS, first_of_all, flatten

LATE = 60
"""moves after which a question is answered, be it by a guess: episodes end after 100, or when nothing is scored for 50 actions"""

_MEASURED = re.compile(r"use thermometer\b.* on (.+)")
_STATE = re.compile(r"^(?:solid|liquid|gaseous) ")


def asked(transcript: Transcript) -> list[Case]:
    """The cases of the task's question."""
    return cases(flatten(transcript.task).lower())


def case(subgoal: Subgoal, transcript: Transcript) -> Case | None:
    """The case that a sub-goal answers, if it is an answer."""
    boxes = {case.box: case for case in asked(transcript)} if subgoal.verb in ("focus_on", "put") else {}
    return boxes.get(subgoal.args[-1]) if boxes else None


def due(transcript: Transcript) -> str:
    """What has to be focused on before an answer and was not yet; empty if nothing."""
    focused = [done.args[0] for done in (parse(past.subgoal) for past in transcript.past) if done.verb == "focus_on"]
    return next((name for name in first_of_all(flatten(transcript.task).lower()) if not any(_same(done, name) for done in focused)), "")


def holds(case: Case, transcript: Transcript) -> bool:
    """Whether nothing measured speaks against a case: one of a reading needs the last one to be on its side of the limit."""
    if not case.subject:
        return True
    readings = _readings(case.subject, transcript)
    return bool(readings) and (readings[-1] > case.limit if case.above else readings[-1] < case.limit)


def known(subgoal: Subgoal, transcript: Transcript) -> bool:
    """Whether a sub-goal measures again what was found on both sides of the limit, and so has passed it."""
    case = next((case for case in asked(transcript) if case.subject), None)
    if case is None or subgoal.verb not in ("measure", "monitor") or not _same(subgoal.args[0], case.subject):
        return False
    readings = _readings(case.subject, transcript)
    return any(reading < case.limit for reading in readings) and any(reading > case.limit for reading in readings)


def late(transcript: Transcript) -> bool:
    """Whether it is time to answer, if by a guess."""
    return sum(TICKS.get(action, 1) for action in transcript.actions) >= LATE


def text(case: Case, transcript: Transcript) -> str:
    """An answer by a focus, as the planner writes it."""
    answer = f"focus_on({case.box})"
    return spoken(answer, transcript.reason(answer))


def _readings(subject: str, transcript: Transcript) -> list[int]:
    """What a thermometer showed of a thing, in order."""
    found = []
    for action, reply in zip(transcript.actions, transcript.replies, strict=True):
        measured, degrees = _MEASURED.fullmatch(action), TEMPERATURE.search(reply)
        if measured and degrees and (measured[1] == "substance" or _same(measured[1], subject)):
            found.append(int(degrees[1].split()[0]))
    return found


def _same(name: str, subject: str) -> bool:
    """Whether a name is a thing's, or the end of it (``fork`` of ``metal fork``), whatever state the thing is in."""
    return f" {_bare(subject)}".endswith(f" {_bare(name)}")


def _bare(name: str) -> str:
    """A substance's name without its state, which changes while it is measured."""
    return _STATE.sub("", name.split(" in ")[0])
