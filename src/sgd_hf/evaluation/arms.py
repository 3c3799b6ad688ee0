"""What can be evaluated: agents and the baselines that stand beside them, one flag each.

Guarantee: an arm is named the same everywhere, plays any episode of the simulator, and depends on nothing but
the episode, what it was given (checkpoints, gold paths) and the seed.

    hierarchical  planner and executor, an agent folder
    flat          the imitation baseline, a checkpoint folder
    nearest       replays the gold actions of the most similar train episode: no model at all
    oracle        replays the episode's own gold path: the ceiling under the protocol's limits
    random-valid  draws from the simulator's valid actions (listing them is what this arm is)
    do-nothing    waits
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sgd_hf.agent.agent import SubgoalAgent, read_json
from sgd_hf.agent.policy import Act, Patience, Policy, Valid, flat
from sgd_hf.core.errors import InputError
from sgd_hf.core.prompts import State, Transcript
from sgd_hf.core.records import Episode, GoldPath
from sgd_hf.core.texts import room
from sgd_hf.corpus.collect import read_gold

ARMS = ("hierarchical", "flat", "nearest", "oracle", "random-valid", "do-nothing")

Begin = Callable[[Episode, str, str, str], tuple[Transcript, Policy]]


@dataclass
class Arm:
    """``begin(episode, description, look, inventory)`` gives a transcript and a policy; ``modules`` its decoders by
    name; ``origin`` says in the manifest what it was made of."""

    name: str
    begin: Begin
    modules: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)


def arm(name: str, agent: str | Path | None = None, gold: Path | None = None, seed: int = 0) -> Arm:
    """The arm of a name. Raises `InputError` where it lacks what it needs: ``agent`` a folder for hierarchical and
    flat, ``gold`` a folder of collected paths for nearest (train) and oracle (the episodes themselves)."""
    if name not in ARMS:
        raise InputError(f"There is no arm {name!r}; the arms are {', '.join(ARMS)}.")
    if name in ("hierarchical", "flat") and agent is None:
        raise InputError(f"The arm {name} needs --agent, a folder that `sgd {'release' if name == 'hierarchical' else 'train'}` wrote.")
    if name in ("nearest", "oracle") and gold is None:
        raise InputError(
            f"The arm {name} needs --gold, a folder of {'train' if name == 'nearest' else 'the same'} episodes that `sgd collect` wrote."
        )
    if name == "hierarchical":
        return _hierarchical(agent)
    if name == "flat":
        return _flat(agent)
    if name == "nearest":
        return Arm(name, _nearest(read_gold(gold)), origin={"gold": gold.name})
    if name == "oracle":
        paths = {path.key: path.actions for path in read_gold(gold)}
        return Arm(name, lambda episode, *state: _replay(_own(paths, episode), *state), origin={"gold": gold.name})
    if name == "random-valid":
        return Arm(name, lambda episode, *state: _silent(_random_valid(f"{seed}/{episode.key}"), *state))
    return Arm(name, lambda episode, *state: _silent(_do_nothing(), *state))


def _hierarchical(source: str | Path) -> Arm:
    agent = SubgoalAgent.from_pretrained(str(source))
    modules = agent.modules()
    origin = {
        "agent": _name(source),
        "teacher": agent.config.teacher,
        "planner": modules["planner"].digest,
        "executor": modules["executor"].digest,
    }
    return Arm("hierarchical", lambda episode, *state: agent.policy(*state), modules, origin)


def _flat(source: str | Path) -> Arm:
    from sgd_hf.agent.decoder import Decoder

    decoder = Decoder.from_pretrained(source)
    purpose = read_json(Path(source, "sgd.json"))

    def begin(episode: Episode, description: str, look: str, inventory: str) -> tuple[Transcript, Policy]:
        transcript = Transcript(description, State(look, inventory), purpose["budget"])
        return transcript, flat(transcript, Patience())

    return Arm("flat", begin, {"flat": decoder}, {"agent": _name(source), "teacher": purpose["teacher"], "flat": decoder.digest})


def _name(source: str | Path) -> str:
    """What the manifest calls a source: a Hub id as it is, a folder by its last name."""
    return Path(source).name if Path(source).is_dir() else str(source)


def _own(paths: dict[str, tuple[str, ...]], episode: Episode) -> tuple[str, ...]:
    if episode.key not in paths:
        raise InputError(f"The gold folder has no accepted path of {episode.key}; collect the episodes of the protocol first.")
    return paths[episode.key]


def _nearest(paths: Iterable[GoldPath]) -> Begin:
    """Similarity: the same first room, then the most words in common between the task descriptions; the first of equals."""
    known = [(path, Counter(path.description.lower().split()), room(path.look)) for path in paths if path.episode.split == "train"]
    if not known:
        raise InputError("The nearest arm needs gold paths of train variations and the folder has none; collect some with --split train.")

    def begin(episode: Episode, description: str, look: str, inventory: str) -> tuple[Transcript, Policy]:
        words, here = Counter(description.lower().split()), room(look)
        path, _, _ = max(known, key=lambda k: ((words & k[1]).total() - (words | k[1]).total(), here == k[2]))
        return _replay(path.actions, description, look, inventory)

    return begin


def _replay(actions: Iterable[str], *state: str) -> tuple[Transcript, Policy]:
    return _silent((Act(action) for action in actions), *state)


def _silent(requests: Iterator[Any], description: str, look: str, inventory: str) -> tuple[Transcript, Policy]:
    """A policy that needs no transcript."""
    return Transcript(description, State(look, inventory)), requests


def _random_valid(seed: str) -> Policy:
    draw = random.Random(int(hashlib.sha256(seed.encode()).hexdigest(), 16))
    while True:
        valid = yield Valid()
        yield Act(draw.choice(valid))


def _do_nothing() -> Policy:
    while True:
        yield Act("wait")
