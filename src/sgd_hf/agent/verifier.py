"""A planner's answer is verified before it becomes a sub-goal.

Guarantee: an answer that can help stays as it is, and what can help is read off the task, the state and what was done;
the simulator is asked nothing.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Generator, Iterable

import regex

from sgd_hf.agent import answers
from sgd_hf.agent.policy import Answer, Ask, Plan, Request, understood
from sgd_hf.core.prompts import Transcript
from sgd_hf.core.subgoals import VERBS, Subgoal, parse, plain, reached, unglued
from sgd_hf.core.texts import ROOMS, carried, room, sought, things

_PHRASE = re.compile(r"[^;:,.()\n]+")
_VESSEL = re.compile(r"([\w -]+) \(containing ")
_ODD = re.compile(r"[^a-z0-9_ ]")
_AFTER = re.compile("in|on|with|its|that|which|is|at|containing|has|terminal|anode|cathode|approximately|titled|by")
"""words that follow a name"""
_HEATERS = {"stove", "oven", "blast furnace", "fire pit"}
_COOLERS = {"freezer", "fridge", "ultra low temperature freezer"}
_CALLED = {"wire": r"\w+ wire", "seed": r"[\w ]+ seed", "pot": r"(?:self watering )?flower pot \d+", "plane": r"inclined plane.*"}
"""what things of a kind are called, where the name says it"""
_TAKES = {
    "navigate_to": "%(room)s",
    "pick_up": "%(loose)s(?:, %(loose)s){0,3}",
    "drop": "%(held)s(?:, %(held)s){0,3}",
    "pour": "%(stuff)s, %(vessel)s",
    "mix": "(?:%(stuff)s, ){0,4}%(vessel)s",
    "fill": "%(vessel)s",
    "heat": "%(stuff)s, %(vessel)s, %(heater)s",
    "cool": "%(stuff)s, %(vessel)s, %(cooler)s",
    "time": "%(thing)s, %(plane)s",
    "wait": "[0-9]+",
    "connect": "%(part)s, %(wires)s",
    "plant": "%(seed)s(?:, %(pot)s){1,4}",
    "water": "%(pot)s(?:, %(pot)s){0,3}",
    "complete_task": "",
    "focus_on": "%(sought)s(?: (?:in|on|containing) %(thing)s)?",
}
"""regular expressions of arguments, with the kinds that `_kinds` finds; other verbs take any things"""
_REPEATED = ("wait", "time", "connect")
"""verbs that gold paths repeat at once though nothing is seen to change"""
_AGAIN = ("put", "watch")
"""verbs that help though their post-condition holds: one more of its kind, a last look"""


def verified(plan: Plan) -> Plan:
    """A plan that is asked once more, for another sub-goal, where the first answer cannot help: it is none of the grammar,
    names what is not in sight, not of the kind that the verb takes, or one thing twice, focuses on what the task does not
    mean, is so already, is the last one over again though that was in vain, walks in circles, thinks that nothing is left to
    do, or answers the task's question too early, against what was measured, or not at all. Gold plans do none of it, but for
    rare names, and but for Mendel's, which outlast every patience. The second answer is written along `alternatives`."""

    def again(transcript: Transcript, wrong: str) -> Generator[Request, Answer, str | None]:
        answer = yield from plan(transcript, wrong)
        subgoal = understood(answer)
        if answer is None or subgoal and _helps(subgoal, transcript):
            return answer
        return (yield Ask("planner", transcript.planner(wrong), pattern=alternatives(transcript, subgoal)))

    return again


def alternatives(transcript: Transcript, wrong: Subgoal | None = None) -> str:
    """A regular expression of the sub-goals that can be given when another one was no good: arguments are in sight and of
    the kinds that the verb takes, rooms are not `_walked` through, and there is no ``focus_on``, for a wrong one ends the
    episode; nor what was last given in vain. But if nothing seems left to do and nothing was focused on, or an answer came before
    what has to be focused on first, that is what is missing, and so is an answer when it is late or measuring on tells nothing."""
    kinds = _kinds(transcript)
    if missing := _missing(wrong, transcript, kinds):
        return missing
    passed = wrong is not None and answers.known(wrong, transcript)
    useless = {"focus_on", _vain(transcript), *(("measure", "monitor") if passed else ())}
    alike: dict[str, list[str]] = defaultdict(list)
    for verb in VERBS:
        if verb not in useless:
            alike[_arguments(verb, kinds)].append(verb)
    found = [rf"{_either(verbs)}\({arguments}\)" for arguments, verbs in alike.items() if arguments]
    return "|".join([*found, *([_either(given)] if passed and (given := _given(transcript, kinds)) else [])])


def _missing(wrong: Subgoal | None, transcript: Transcript, kinds: dict[str, str]) -> str:
    """A regular expression of the focus that is missing where this other sub-goal was given; empty if none is, or not in sight."""
    if wrong is None:
        return ""
    if wrong.verb == "complete_task" and "sought" in kinds and not any(past.subgoal.startswith("focus_on") for past in transcript.past):
        return rf"focus_on\({_arguments('focus_on', kinds)}\)"
    if answers.case(wrong, transcript) and _seen(first := answers.due(transcript), kinds):
        return _either([str(Subgoal("focus_on", (first,)))])
    return _either(given) if answers.late(transcript) and (given := _given(transcript, kinds)) else ""


def _given(transcript: Transcript, kinds: dict[str, str]) -> list[str]:
    """The answers by a focus that can be given here, with their reasons: those that hold, or all of them where none does."""
    seen = [case for case in answers.asked(transcript) if case.by_focus and _seen(case.box, kinds)]
    held = [case for case in seen if answers.holds(case, transcript)]
    return [answers.text(case, transcript) for case in held or seen]


def _seen(name: str, kinds: dict[str, str]) -> bool:
    return bool(name) and regex.fullmatch(kinds["thing"], name) is not None


def _helps(subgoal: Subgoal, transcript: Transcript) -> bool:
    state = transcript.state
    if subgoal.verb not in _AGAIN and reached(subgoal, state.look, state.inventory):
        return False
    if _vain(transcript) and str(subgoal) == transcript.past[-1].subgoal or answers.known(subgoal, transcript):
        return False
    kinds = _kinds(transcript)
    if case := answers.case(subgoal, transcript):
        if _seen(answers.due(transcript), kinds) or not (answers.holds(case, transcript) or answers.late(transcript)):
            return False
    elif answers.late(transcript) and _given(transcript, kinds):
        return False
    arguments = _arguments(subgoal.verb, kinds)
    distinct = len(set(subgoal.args)) == len(subgoal.args)
    return bool(arguments) and distinct and regex.fullmatch(arguments, ", ".join(subgoal.args)) is not None


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


def _arguments(verb: str, kinds: dict[str, str]) -> str:
    """A regular expression of what the verb can be given here."""
    kind = VERBS[verb]
    takes = _TAKES.get(verb, f"%(thing)s(?:, %(thing)s){{{kind.least - 1},{kind.most - 1}}}")
    try:
        return takes % kinds
    except KeyError:  # nothing of the kind is here
        return ""


def _kinds(transcript: Transcript) -> dict[str, str]:
    """Regular expressions of the names of each kind that are in sight, as far as any are; rooms are no things."""
    look, inventory = transcript.state.look, transcript.state.inventory
    seen, held = (_phrases(sights) for sights in (things(look), carried(inventory)))
    named = _spans(seen | held) | {"substance"}
    vessels = {plain(vessel) for vessel in _VESSEL.findall(f"{look}\n{inventory}".lower())}
    kinds = {
        "thing": named,
        "stuff": _spans((seen | held) - vessels - _HEATERS - _COOLERS) | {"substance"},
        "vessel": _spans(vessels),
        "heater": named & _HEATERS,
        "cooler": named & _COOLERS,
        "held": _spans(held),
        "loose": _spans(seen) - _spans(held),
        "room": set(ROOMS) - _walked(transcript),
        **{kind: {name for name in named if re.fullmatch(called, name)} for kind, called in _CALLED.items()},
    }
    kinds["sought"] = {name for name in named if sought(name, transcript.task)}
    kinds["part"] = named - kinds["wire"]
    kinds["wires"] = {", ".join(pair) for pair in itertools.permutations(kinds["wire"], 2)}
    patterns = {kind: _either(names) for kind, names in kinds.items() if names}
    return {**patterns, "thing": f"{patterns['thing']}(?: (?:in|on|containing) {patterns['thing']})?"}


def _phrases(sights: Iterable[str]) -> set[str]:
    return {" ".join(phrase.split()) for phrase in _PHRASE.findall(unglued("\n".join(sights).lower()))}


def _spans(phrases: Iterable[str]) -> set[str]:
    """The names in phrases, and their ends (``bulb`` of ``red light bulb in workshop``, but neither ``red`` nor ``red light``)."""
    each = (phrase.split() for phrase in phrases)
    ends = ((words, [j for j in range(1, len(words) + 1) if j == len(words) or _AFTER.fullmatch(words[j])]) for words in each)
    return {" ".join(words[i:j]) for words, js in ends for j in js for i in range(j)}


def _either(names: Iterable[str]) -> str:
    escaped = (_ODD.sub(r"\\\g<0>", name) for name in sorted(names))
    return f"(?:{'|'.join(escaped)})"
