"""Where sub-goals come from when not from the planner alone: a plan that is checked, an annotation recited, noise.

Guarantee: a checked plan is the plan itself wherever its answer can help. A noisy plan replaces each usable sub-goal
with exactly the probability ``rate``, independently, by one that differs from it, and what it does is a pure function
of the plan's answers, the states and the seed. Rate 0 changes nothing, rate 1 leaves nothing.
"""

import hashlib
import itertools
import random
import re
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence

from sgd_hf.agent.policy import Answer, Ask, Plan, Request, understood
from sgd_hf.core.prompts import Transcript
from sgd_hf.core.subgoals import VERBS, Subgoal, parse, reached, unglued
from sgd_hf.core.texts import ROOMS, carried, room, things

Corruption = Callable[[Subgoal, Transcript, random.Random], str]
"""Another sub-goal instead of a right one."""

_NAME = re.compile(r"[^(),:]+")
_PHRASE = re.compile(r"[^;:,()\n]+")
_wire = re.compile(r"\w+ wire").fullmatch
_ODD = re.compile(r"[^a-z0-9_ ]")
_JOINTS = (" in ", " on ")
_REPEATED = ("wait", "time", "connect")
"""verbs that gold paths repeat at once though nothing is seen to change"""
_AGAIN = ("put", "watch")
"""verbs that help though their post-condition holds: one more of its kind, a last look"""


def draws(*of: object) -> random.Random:
    """The random numbers of an episode and a purpose, the same on every machine and in whatever order episodes run."""
    return random.Random(int(hashlib.sha256("/".join(map(str, of)).encode()).hexdigest(), 16))


def checked(plan: Plan) -> Plan:
    """A plan that is asked once more, for another sub-goal, where the first answer cannot help: it is none of the grammar,
    names what is not in sight or one thing twice, connects a part to no wire, is so already, is the last one over again
    though that was in vain, or walks in circles. Gold plans do none of it, but for rare names. The second answer is
    written along `alternatives`."""

    def again(transcript: Transcript, wrong: str) -> Generator[Request, Answer, str | None]:
        answer = yield from plan(transcript, wrong)
        subgoal = understood(answer)
        if answer is None or subgoal and _helps(subgoal, transcript):
            return answer
        return (yield Ask("planner", transcript.planner(wrong), pattern=alternatives(transcript)))

    return again


def alternatives(transcript: Transcript) -> str:
    """A regular expression of the sub-goals that can be given when another one was no good: arguments are in sight, rooms
    are not `_walked` through, and there is no ``focus_on``, for a wrong one ends the episode; nor what was last given in vain."""
    left = set(ROOMS) - _walked(transcript)
    kinds = {"navigate_to": _either(left), "wait": "[0-9]+"}
    spans = _spans(transcript)
    name = _either(spans)
    thing = f"{name}(?: (?:in|on) {name})?"
    wires = [", ".join(pair) for pair in itertools.permutations(filter(_wire, spans), 2)]
    out = {"complete_task", "focus_on", _vain(transcript), "" if left else "navigate_to", "" if wires else "connect"}
    alike: dict[str, list[str]] = defaultdict(list)
    for verb, kind in VERBS.items():
        if verb not in out:
            argument = kinds.get(verb, thing)
            more = f"(?:, {argument}){{{kind.least - 1},{kind.most - 1}}}" if kind.most > 1 else ""
            more = f", {_either(wires)}" if verb == "connect" else more
            alike[rf"\({argument}{more}\)"].append(verb)
    return "|".join(_either(verbs) + arguments for arguments, verbs in alike.items())


def _helps(subgoal: Subgoal, transcript: Transcript) -> bool:
    state = transcript.state
    if subgoal.verb not in _AGAIN and reached(subgoal, state.look, state.inventory):
        return False
    if _vain(transcript) and str(subgoal) == transcript.past[-1].subgoal:
        return False
    if subgoal.verb in ("navigate_to", "wait"):
        return subgoal.verb == "wait" or subgoal.args[0] in set(ROOMS) - _walked(transcript)
    if len(set(subgoal.args)) < len(subgoal.args) or subgoal.verb == "connect" and not all(map(_wire, subgoal.args[1:])):
        return False
    spans = _spans(transcript)
    return all(part in spans for argument in subgoal.args for part in _parts(argument, spans))


def _vain(transcript: Transcript) -> str:
    """The verb of the last sub-goal, if it changed nothing that can be seen and reported nothing, or the same twice."""
    if not transcript.past or transcript.changed:
        return ""
    last, state = transcript.past[-1], transcript.state
    subgoal = parse(last.subgoal)
    if VERBS[subgoal.verb].reports:
        fruitful = [past.reply for past in transcript.past[-2:] if past.subgoal == last.subgoal] != [last.reply] * 2
    elif subgoal.verb == "put":  # one seed more in the jar looks as before
        fruitful = reached(subgoal, state.look, state.inventory)
    else:
        fruitful = subgoal.verb in _REPEATED
    return "" if fruitful else subgoal.verb


def _walked(transcript: Transcript) -> set[str]:
    """The room that one is in, and those just walked through with nothing done in them."""
    past = itertools.takewhile(lambda past: past.verb == "navigate_to", (parse(past.subgoal) for past in reversed(transcript.past)))
    return {room(transcript.state.look), *(walk.args[0] for walk in past)}


def _spans(transcript: Transcript) -> set[str]:
    """All that is part of the name of a thing in sight, word by word; rooms are no things."""
    spans = {"substance"}
    for phrase in _PHRASE.findall(unglued("\n".join(_things(transcript)).lower())):
        words = phrase.split()
        spans |= {" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)}
    return spans


def _things(transcript: Transcript) -> list[str]:
    """What is in sight or carried, but no doors."""
    state = transcript.state
    return things(state.look) + carried(state.inventory)


def _parts(argument: str, spans: set[str]) -> list[str]:
    for joint in _JOINTS:
        if argument not in spans and joint in argument:
            return argument.split(joint, 1)
    return [argument]


def _either(names: Iterable[str]) -> str:
    escaped = (_ODD.sub(r"\\\g<0>", name) for name in sorted(names))
    return f"(?:{'|'.join(escaped)})"


def recited(subgoals: Sequence[str]) -> Plan:
    """These sub-goals, each once and in order, whatever becomes of them. A plan for one episode."""
    left = iter(subgoals)

    def plan(transcript: Transcript, wrong: str) -> Generator[Request, Answer, str | None]:
        return next(left, None)
        yield  # a plan is a generator, and this one asks nothing

    return plan


def noisy(plan: Plan, rate: float, corrupt: Corruption, draw: random.Random) -> Plan:
    """A plan of which the share ``rate`` of the sub-goals is replaced. An answer that is no sub-goal stays as it is."""

    def worse(transcript: Transcript, wrong: str) -> Generator[Request, Answer, str | None]:
        answer = yield from plan(transcript, wrong)
        subgoal = understood(answer)
        return corrupt(subgoal, transcript, draw) if draw.random() < rate and subgoal else answer

    return worse


def any_of(vocabulary: Sequence[str]) -> Corruption:
    """Any other sub-goal of a vocabulary, which must hold at least two different ones."""

    def corrupt(subgoal: Subgoal, transcript: Transcript, draw: random.Random) -> str:
        return draw.choice([other for other in vocabulary if other != str(subgoal)])

    return corrupt


def other_arguments(subgoal: Subgoal, transcript: Transcript, draw: random.Random) -> str:
    """The same verb; each room becomes another room, each other argument another thing that is in sight or carried
    (a room where nothing is)."""
    names = sorted({found[0].strip().lower() for sight in _things(transcript) if (found := _NAME.match(sight)) and found[0].strip()})

    def other(argument: str) -> str:
        pool = ROOMS if argument in ROOMS else names
        return draw.choice([name for name in pool if name != argument] or [name for name in ROOMS if name != argument])

    return str(Subgoal(subgoal.verb, tuple(map(other, subgoal.args))))
