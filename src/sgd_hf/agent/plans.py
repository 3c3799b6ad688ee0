"""Where sub-goals come from when not from the planner alone: an annotation recited, noise.

Guarantee: a noisy plan replaces each usable sub-goal with exactly the probability ``rate``, independently, by one that
differs from it, and what it does is a pure function of the plan's answers, the states and the seed. Rate 0 changes
nothing, rate 1 leaves nothing.
"""

import hashlib
import random
import re
from collections.abc import Callable, Generator, Sequence

from sgd_hf.agent.policy import Answer, Plan, Request, understood
from sgd_hf.core.prompts import Transcript
from sgd_hf.core.subgoals import Subgoal
from sgd_hf.core.texts import ROOMS, carried, things

Corruption = Callable[[Subgoal, Transcript, random.Random], str]
"""Another sub-goal instead of a right one."""

_NAME = re.compile(r"[^(),:]+")


def draws(*of: object) -> random.Random:
    """The random numbers of an episode and a purpose, the same on every machine and in whatever order episodes run."""
    return random.Random(int(hashlib.sha256("/".join(map(str, of)).encode()).hexdigest(), 16))


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
    seen = things(transcript.state.look) + carried(transcript.state.inventory)
    names = sorted({found[0].strip().lower() for sight in seen if (found := _NAME.match(sight)) and found[0].strip()})

    def other(argument: str) -> str:
        pool = ROOMS if argument in ROOMS else names
        return draw.choice([name for name in pool if name != argument] or [name for name in ROOMS if name != argument])

    return str(Subgoal(subgoal.verb, tuple(map(other, subgoal.args))))
