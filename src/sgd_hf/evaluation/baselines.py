"""The arms without a model: what stands beside an agent so that its score can be read.

Guarantee: each is a policy like an agent's, plays any episode of the simulator, and depends on nothing but the
episode, the gold paths it was given and the seed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sgd_hf.agent.plans import draws
from sgd_hf.agent.policy import Act, Policy, Valid
from sgd_hf.core.errors import InputError
from sgd_hf.core.prompts import State, Transcript
from sgd_hf.core.records import Episode, GoldPath
from sgd_hf.core.texts import room

Begin = Callable[[Episode, str, str, str], tuple[Transcript, Policy]]
"""``begin(episode, description, look, inventory)``: a transcript and a policy."""


def oracle(paths: Iterable[GoldPath]) -> Begin:
    """Replays the episode's own gold path."""
    known = {path.key: path.actions for path in paths}

    def begin(episode: Episode, *state: str) -> tuple[Transcript, Policy]:
        if episode.key not in known:
            raise InputError(f"The gold folder has no accepted path of {episode.key}; collect the episodes of the protocol first.")
        return _replay(known[episode.key], *state)

    return begin


def nearest(paths: Iterable[GoldPath]) -> Begin:
    """Replays the most similar train path: the most words in common between the task descriptions, then the same first
    room; the first of equals."""
    known = [(path, Counter(path.description.lower().split()), room(path.look)) for path in paths if path.episode.split == "train"]
    if not known:
        raise InputError("The nearest arm needs gold paths of train variations and the folder has none; collect some with --split train.")

    def begin(episode: Episode, description: str, look: str, inventory: str) -> tuple[Transcript, Policy]:
        words, here = Counter(description.lower().split()), room(look)
        path, _, _ = max(known, key=lambda k: ((words & k[1]).total() - (words | k[1]).total(), here == k[2]))
        return _replay(path.actions, description, look, inventory)

    return begin


def random_valid(seed: int) -> Begin:
    """Draws from the simulator's valid actions (listing them is what this arm is)."""

    def requests(episode: Episode) -> Policy:
        draw = draws(seed, episode.key)
        while True:
            valid = yield Valid()
            yield Act(draw.choice(valid))

    return lambda episode, *state: _silent(requests(episode), *state)


def do_nothing() -> Begin:
    """Waits."""

    def requests() -> Policy:
        while True:
            yield Act("wait")

    return lambda episode, *state: _silent(requests(), *state)


def _replay(actions: Iterable[str], *state: str) -> tuple[Transcript, Policy]:
    return _silent((Act(action) for action in actions), *state)


def _silent(requests: Iterator[Any], description: str, look: str, inventory: str) -> tuple[Transcript, Policy]:
    """A policy that needs no transcript."""
    return Transcript(description, State(look, inventory)), requests
