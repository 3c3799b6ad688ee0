"""How an agent behaves: generators that ask for text, act, and are told what happened.

Guarantee: a policy knows neither a model nor a simulator. It yields `Ask` (answered with a string), `Act`
(answered with a `Reply`) or `Valid` (answered with the simulator's valid actions, which costs its random
numbers and is asked for in one repair and by the random arm only), and never ends an episode by itself unless
it gives up by returning. Whoever drives it may run any number of them at once.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from sgd_hf.core.prompts import COMPLETE, END, Message, State, Transcript
from sgd_hf.core.reasons import heard
from sgd_hf.core.subgoals import Subgoal, parse, reached
from sgd_hf.core.texts import TICKS

CHANCES = 3
"""times in a row that the planner may answer with nothing usable before the agent gives up"""

PATIENT = ("wait", "look", "examine", "use")
"""actions that are rightly repeated"""


@dataclass(frozen=True)
class Ask:
    """A prompt for one module (planner, executor or flat). ``among`` restricts the answer to these strings, ``pattern``
    to what a regular expression matches whole; ``never`` is one string that an answer without either must not be."""

    module: str
    messages: list[Message]
    among: tuple[str, ...] = ()
    never: str = ""
    pattern: str = ""


@dataclass(frozen=True)
class Act:
    """One action for the simulator; ``repaired`` marks one that was re-decoded after a rejection."""

    action: str
    repaired: bool = False


@dataclass(frozen=True)
class Valid:
    """A request for the simulator's valid actions."""


@dataclass(frozen=True)
class Reply:
    """What the simulator answered to an action, and the state after it."""

    observation: str
    look: str
    inventory: str
    rejected: bool


Request = Ask | Act | Valid
Answer = Any
Policy = Generator[Request, Answer, None]
Plan = Callable[[Transcript, str], Generator[Request, Answer, str | None]]
"""Where sub-goals come from: ``plan(transcript, wrong)`` returns the next one as text, None when it has no more;
``wrong`` says why the last one did not work, if it did not."""


@dataclass(frozen=True)
class Patience:
    """When a sub-goal counts as stalled (contract 4), and the switches of the life-cycle."""

    actions: int = 14
    """actions under one sub-goal"""
    rejections: int = 2
    """attempts in a row that the simulator rejected, each with its repair"""
    repeats: int = 4
    """the same action with the same reply in a row"""
    repair: bool = True
    """re-decode a rejected action among the valid ones"""
    checks: bool = True
    """ask the planner again where its answer cannot help (`sgd_hf.agent.verifier.verified`)"""
    postconditions: bool = True
    """end a sub-goal when its post-condition can be read off the state, and a wait when it is over, but not before"""


def understood(answer: str | None) -> Subgoal | None:
    """The sub-goal that a plan's answer is, None for anything else."""
    try:
        return parse(heard(answer or "")[0])
    except ValueError:
        return None


def planned(transcript: Transcript, wrong: str) -> Generator[Request, Answer, str | None]:
    """The plan of a hierarchical agent: the planner's answer."""
    return (yield Ask("planner", transcript.planner(wrong), never=COMPLETE))


def opened(transcript: Transcript, wrong: str) -> Generator[Request, Answer, str | None]:
    """As `planned`, with an episode's first sub-goal asked of the module ``first``, once."""
    later = transcript.subgoal or transcript.past or wrong
    return (yield Ask("planner" if later else "first", transcript.planner(wrong), never=COMPLETE))


def hierarchical(transcript: Transcript, patience: Patience, plan: Plan = planned, every_step: bool = False) -> Policy:
    """Planner and executor with the sub-goal life-cycle of contract 4: the plan is asked when the last sub-goal
    ended or stalled, the executor acts until it writes END or the post-condition holds. With ``every_step`` the
    plan is also asked before every further action, and another answer takes the sub-goal's place at once."""
    wrong = ""
    unusable = 0
    successor: str | None = None
    while unusable < CHANCES:
        answer = successor or (yield from plan(transcript, wrong))
        if answer is None:
            return
        text, why = heard(answer)
        try:
            subgoal = parse(text)
        except ValueError as error:
            wrong, unusable = str(error), unusable + 1
            continue
        transcript.begin(str(subgoal), why)
        fate, wrong, successor = yield from _pursue(transcript, subgoal, patience, plan if every_step else None)
        acted = len(transcript.actions) > transcript.start
        transcript.end(fate)
        unusable = 0 if acted else unusable + 1


def guided(transcript: Transcript, segments: Sequence[tuple[str, Sequence[str]]], plan: Plan = planned) -> Policy:
    """Perfect execution for a plan: where it names the sub-goal of the next of the ``segments`` of a gold path, that
    segment's actions are played. At the first difference (fate ``differs``) the episode is given up, for the gold path
    says nothing of another way; a score is thus what the plan is good for as long as it agrees with the annotation."""
    for expected, actions in segments:
        answer = yield from plan(transcript, "")
        subgoal = understood(answer)
        if subgoal is None:
            return
        transcript.begin(str(subgoal), heard(answer)[1])
        if str(subgoal) != expected:
            return transcript.end("differs")
        for action in actions:
            yield from _act(transcript, Act(action))
        transcript.end("ended")


def flat(transcript: Transcript, patience: Patience) -> Policy:
    """The imitation baseline: one module that writes the next action, repaired as the executor's are."""
    while True:
        yield from _attempt(transcript, "flat", patience)


def _pursue(
    transcript: Transcript, subgoal: Subgoal, patience: Patience, review: Plan | None
) -> Generator[Request, Answer, tuple[str, str, str | None]]:
    """The executor's turns under one sub-goal; returns its fate, what went wrong if anything did, and the answer
    that a review puts in its place."""
    rejections = repeats = 0
    last: tuple[str, str] | None = None
    for turn in range(patience.actions):
        if review and turn:
            successor = yield from _another(transcript, subgoal, review)
            if successor:
                return "replaced", "", successor
        # A segment is never empty (contract 1), so END is no first answer; nor is it one before a wait is over.
        early = not transcript.actions[transcript.start :] or patience.postconditions and _waited(transcript, subgoal) is False
        attempt = yield from _attempt(transcript, "executor", patience, END if early else "")
        if attempt is None:
            return "ended", "" if transcript.actions[transcript.start :] else f"{subgoal} ended without an action", None
        action, reply = attempt
        if patience.postconditions and (reached(subgoal, reply.look, reply.inventory) or _waited(transcript, subgoal)):
            return "reached", "", None
        rejections = rejections + 1 if reply.rejected else 0
        repeats = repeats + 1 if (action, reply.observation) == last else 1
        last = (action, reply.observation)
        if rejections >= patience.rejections or repeats >= patience.repeats and not action.startswith(PATIENT):
            return "stalled", f"{subgoal}: {action} -> {reply.observation}", None
    if last and last[0].startswith(PATIENT) and not rejections:  # time has passed, as it should
        return "ended", "", None
    return "stalled", f"{subgoal} took more than {patience.actions} actions", None


def _waited(transcript: Transcript, subgoal: Subgoal) -> bool | None:
    """Whether as many ticks have passed under a ``wait`` as it says; None for another sub-goal."""
    if subgoal.verb != "wait" or not subgoal.args[0].isdecimal():
        return None
    return sum(TICKS.get(action, 0) for action in transcript.actions[transcript.start :]) >= int(subgoal.args[0])


def _another(transcript: Transcript, subgoal: Subgoal, plan: Plan) -> Generator[Request, Answer, str | None]:
    """What the plan says now, if that is a sub-goal and another one."""
    answer = yield from plan(transcript, "")
    return None if understood(answer) in (None, subgoal) else answer


def _attempt(
    transcript: Transcript, module: str, patience: Patience, never: str = ""
) -> Generator[Request, Answer, "tuple[str, Reply] | None"]:
    """One action of a module, which is not ``never``, and its reply; None for END. Where the simulator rejects the action, the module
    chooses once more among the valid actions with the same verb, but never a ``focus on``: a wrong one ends
    the episode."""
    action = yield Ask(module, _prompt(transcript, module), never=never)
    if action == END and module == "executor":
        return None
    reply = yield from _act(transcript, Act(action))
    verb = action.split(" ")[0]
    if reply.rejected and patience.repair and verb != "focus":
        valid = yield Valid()
        among = tuple(sorted(other for other in map(str.lower, valid) if other.split(" ")[0] == verb and other != action))
        if among:
            action = yield Ask(module, _prompt(transcript, module), among=among)
            reply = yield from _act(transcript, Act(action, repaired=True))
    return action, reply


def _prompt(transcript: Transcript, module: str) -> list[Message]:
    return transcript.executor() if module == "executor" else transcript.flat()


def _act(transcript: Transcript, act: Act) -> Generator[Request, Answer, Reply]:
    reply = yield act
    transcript.act(act.action, reply.observation, State(reply.look, reply.inventory))
    return reply
