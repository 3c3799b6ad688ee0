"""How an agent behaves: generators that ask for text, act, and are told what happened.

Guarantee: a policy knows neither a model nor a simulator. It yields `Ask` (answered with a string), `Act`
(answered with a `Reply`) or `Valid` (answered with the simulator's valid actions, which costs its random
numbers and is asked for in one repair and by the random arm only), and never ends an episode by itself unless
it gives up by returning. Whoever drives it may run any number of them at once.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from sgd_hf.core.prompts import COMPLETE, END, Message, State, Transcript
from sgd_hf.core.subgoals import Subgoal, parse, reached

CHANCES = 3
"""times in a row that the planner may answer with nothing usable before the agent gives up"""

PATIENT = ("wait", "look", "examine", "use")
"""actions that are rightly repeated"""


@dataclass(frozen=True)
class Ask:
    """A prompt for one module (planner, executor or flat). ``among`` restricts the answer to these strings,
    ``never`` is one string that it must not be."""

    module: str
    messages: list[Message]
    among: tuple[str, ...] = ()
    never: str = ""


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


@dataclass(frozen=True)
class Patience:
    """When a sub-goal counts as stalled (contract 4), and the switches of the life-cycle."""

    actions: int = 14
    """actions under one sub-goal"""
    rejections: int = 2
    """actions in a row that the simulator rejected, repairs included"""
    repeats: int = 4
    """the same action with the same reply in a row"""
    repair: bool = True
    """re-decode a rejected action among the valid ones"""
    postconditions: bool = True
    """end a sub-goal when its post-condition can be read off the state"""


def hierarchical(transcript: Transcript, patience: Patience) -> Policy:
    """Planner and executor with the sub-goal life-cycle of contract 4: the planner is asked when the last
    sub-goal ended or stalled, the executor acts until it writes END or the post-condition holds."""
    wrong = ""
    unusable = 0
    while unusable < CHANCES:
        answer = yield Ask("planner", transcript.planner(wrong), never=COMPLETE)
        try:
            subgoal = parse(answer)
        except ValueError as error:
            wrong, unusable = str(error), unusable + 1
            continue
        transcript.begin(str(subgoal))
        fate, wrong = yield from _pursue(transcript, subgoal, patience)
        acted = len(transcript.actions) > transcript.start
        transcript.end(fate)
        unusable = 0 if acted else unusable + 1


def flat(transcript: Transcript, patience: Patience) -> Policy:
    """The imitation baseline: one module that writes the next action, repaired as the executor's are."""
    while True:
        yield from _attempt(transcript, "flat", patience)


def _pursue(transcript: Transcript, subgoal: Subgoal, patience: Patience) -> Generator[Request, Answer, tuple[str, str]]:
    """The executor's turns under one sub-goal; returns its fate, and what went wrong if anything did."""
    rejections = repeats = 0
    last: tuple[str, str] | None = None
    for _ in range(patience.actions):
        attempt = yield from _attempt(transcript, "executor", patience)
        if attempt is None:
            return "ended", "" if transcript.actions[transcript.start :] else f"{subgoal} ended without an action"
        action, reply = attempt
        if patience.postconditions and reached(subgoal, reply.look, reply.inventory):
            return "reached", ""
        rejections = rejections + 1 if reply.rejected else 0
        repeats = repeats + 1 if (action, reply.observation) == last else 1
        last = (action, reply.observation)
        if rejections >= patience.rejections or repeats >= patience.repeats and not action.startswith(PATIENT):
            return "stalled", f"{subgoal}: {action} -> {reply.observation}"
    return "stalled", f"{subgoal} took more than {patience.actions} actions"


def _attempt(transcript: Transcript, module: str, patience: Patience) -> Generator[Request, Answer, "tuple[str, Reply] | None"]:
    """One action of a module and its reply; None for END. Where the simulator rejects the action, the module
    chooses once more among the valid actions with the same verb, but never a ``focus on``: a wrong one ends
    the episode."""
    action = yield Ask(module, _prompt(transcript, module))
    if action == END:
        return None
    reply = yield from _act(transcript, Act(action))
    verb = action.split(" ")[0]
    if reply.rejected and patience.repair and verb != "focus":
        valid = yield Valid()
        among = tuple(sorted(other for other in valid if other.split(" ")[0] == verb and other != action))
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
