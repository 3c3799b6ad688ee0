"""What can be evaluated: agents, studies of their parts and the baselines that stand beside them, one flag each.

Guarantee: an arm is named the same everywhere, plays any episode of the simulator, and depends on nothing but
the episode, what it was given (checkpoints, gold paths, annotations) and the seed. Its name and its origin say
everything that makes it another arm: ``hierarchical+argument:0.25``, ``flat+beams:5``.

    hierarchical     planner and executor, an agent folder
    flat             the imitation baseline, a checkpoint folder
    nearest          replays the gold actions of the most similar train episode: no model at all
    oracle           replays the episode's own gold path: the ceiling under the protocol's limits
    random-valid     draws from the simulator's valid actions (listing them is what this arm is)
    do-nothing       waits
    every-step       hierarchical, with the planner asked before every action, as in the paper
    oracle-subgoals  the sub-goals of the episode's annotation, carried out by the learned executor: what it can do
    planner-oracle   the learned planner, carried out by the gold path: how far its plan agrees with the annotation.
                     At the first other sub-goal the episode is given up, be that a good one or not, so this bounds
                     the planner from below
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sgd_hf.agent.agent import Load, SubgoalAgent, composer, purpose
from sgd_hf.agent.decoding import GREEDY, Decoding
from sgd_hf.agent.plans import Corruption, any_of, draws, noisy, other_arguments, recited
from sgd_hf.agent.policy import Patience, Policy, flat, guided
from sgd_hf.core.errors import InputError
from sgd_hf.core.prompts import State, Transcript
from sgd_hf.core.records import Episode
from sgd_hf.core.store import read_manifest
from sgd_hf.corpus.annotate import read_annotations
from sgd_hf.corpus.collect import read_gold
from sgd_hf.evaluation import baselines
from sgd_hf.evaluation.baselines import Begin

ARMS = ("hierarchical", "flat", "nearest", "oracle", "random-valid", "do-nothing")
STUDIES = ("every-step", "oracle-subgoals", "planner-oracle")
NOISES = ("random", "shuffled", "argument")
"""what a wrong sub-goal is: any of the annotations' vocabulary, another one of the same episode, or other arguments"""

_AGENTS = ("hierarchical", *STUDIES)
_NOISY = ("hierarchical", "oracle-subgoals")

Cut = Sequence[tuple[str, tuple[str, ...]]]
"""An episode's annotation: sub-goals and their gold actions."""


@dataclass
class Arm:
    """``begin(episode, description, look, inventory)`` gives a transcript and a policy; ``modules`` its decoders by
    name; ``origin`` says in the manifest what else it was made of; ``seed`` that of sampling; ``known`` are the keys of the
    episodes that it can play, None for all."""

    name: str
    begin: Begin
    modules: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    known: frozenset[str] | None = None


def arm(
    name: str,
    agent: str | Path | None = None,
    gold: Path | None = None,
    seed: int = 0,
    annotations: Path | None = None,
    noise: float = 0.0,
    noise_kind: str | None = None,
    decoding: Decoding | None = None,
    load: Load | None = None,
) -> Arm:
    """The arm of a name. ``agent``: a folder for flat and for whatever plans or executes; ``gold``: collected paths for
    nearest (train) and oracle (the episodes themselves); ``annotations``: of the episodes, for the oracle studies and for
    shuffled noise, of any for random noise. ``noise``: the share of sub-goals that is replaced, in hierarchical and
    oracle-subgoals. ``decoding``: instead of the agent's own; ``load``: what loads checkpoints, see
    `sgd_hf.agent.served.backend`. Raises `InputError` where something lacks or has no use."""
    if name not in (*ARMS, *STUDIES):
        raise InputError(f"There is no arm {name!r}; the arms are {', '.join((*ARMS, *STUDIES))}.")
    models, replayed = name in (*_AGENTS, "flat"), name in ("nearest", "oracle")
    uses = {"--agent": (agent, models), "--gold": (gold, replayed), "--annotations": (annotations, name in _AGENTS)}
    uses["--beams or --temperature"] = (decoding, models)
    if idle := [flag for flag, (given, used) in uses.items() if given and not used]:
        raise InputError(f"The arm {name} has no use for {idle[0]}; leave it out.")
    if models and agent is None:
        raise InputError(f"The arm {name} needs --agent, a folder that `sgd {'train' if name == 'flat' else 'release'}` wrote.")
    if replayed and gold is None:
        raise InputError(
            f"The arm {name} needs --gold, a folder of {'train' if name == 'nearest' else 'the same'} episodes that `sgd collect` wrote."
        )
    kind = noise_kind or NOISES[0]
    if not 0 <= noise <= 1 or kind not in NOISES or noise and name not in _NOISY or noise_kind and not noise:
        raise InputError(
            f"--noise is a share from 0 to 1 of one of the kinds {', '.join(NOISES)}, for the arms {' and '.join(_NOISY)}, and --noise-kind needs it; change the command."
        )
    if annotations is None and (name in ("oracle-subgoals", "planner-oracle") or noise and kind != "argument"):
        what = f"The arm {name}" if name in STUDIES else f"The noise {kind}"
        raise InputError(f"{what} needs --annotations, a folder that `sgd annotate` wrote of the protocol's episodes.")
    if name == "nearest":
        return Arm(name, baselines.nearest(read_gold(gold)), origin={"gold": made_of(gold, "collect")}, seed=seed)
    if name == "oracle":
        paths = list(read_gold(gold))
        known = frozenset(path.key for path in paths)
        return Arm(name, baselines.oracle(paths), origin={"gold": made_of(gold, "collect")}, seed=seed, known=known)
    if name == "random-valid":
        return Arm(name, baselines.random_valid(seed), seed=seed)
    if name == "do-nothing":
        return Arm(name, baselines.do_nothing(), seed=seed)
    if name == "flat":
        return _flat(agent, seed, decoding or GREEDY, load)
    cuts = _cuts(annotations)
    made = _agent(name, agent, seed, cuts, (noise, kind), decoding, load)
    if annotations:
        made.origin["annotations"] = made_of(annotations, "annotate")
    if name in ("oracle-subgoals", "planner-oracle") or noise and kind == "shuffled":
        made.known = frozenset(cuts)
    return made


def _agent(
    name: str,
    source: str | Path,
    seed: int,
    cuts: dict[str, Cut],
    noise: tuple[float, str],
    decoding: Decoding | None,
    load: Load | None,
) -> Arm:
    agent = SubgoalAgent.from_pretrained(str(source))
    decoding = decoding or Decoding(**agent.config.decoding)
    needed = {"oracle-subgoals": ("executor",), "planner-oracle": agent.planners}.get(name, (*agent.planners, "executor"))
    modules = agent.modules(needed, decoding, load)
    corruption = _corruption(noise[1], cuts) if noise[0] else None

    def begin(episode: Episode, description: str, look: str, inventory: str) -> tuple[Transcript, Policy]:
        plan = recited([subgoal for subgoal, _ in _own(cuts, episode)]) if name == "oracle-subgoals" else agent.plan
        if noise[0]:
            plan = noisy(plan, noise[0], corruption(episode), draws(seed, episode.key, "noise"))
        if name == "planner-oracle":
            transcript = agent.transcript(description, look, inventory)
            return transcript, guided(transcript, _own(cuts, episode), plan)
        return agent.policy(description, look, inventory, plan, every_step=name == "every-step")

    origin = {"agent": source_name(source), "teacher": agent.config.teacher}
    usual = asdict(Patience())
    if other := {key: value for key, value in agent.config.patience.items() if value != usual.get(key)}:
        origin["patience"] = other
    suffix = (f"+{noise[1]}:{noise[0]:g}" if noise[0] else "") + decoding.text
    return Arm(name + suffix, begin, modules, origin, seed)


def _flat(source: str | Path, seed: int, decoding: Decoding, load: Load | None) -> Arm:
    from sgd_hf.agent.decoder import Decoder

    said = purpose(Path(source), "flat")
    compose = composer(said["prompt_version"])
    decoder = (load or Decoder.from_pretrained)(source, None, decoding)

    def begin(episode: Episode, description: str, look: str, inventory: str) -> tuple[Transcript, Policy]:
        transcript = compose(description, State(look, inventory), said["budget"])
        return transcript, flat(transcript, Patience())

    origin = {"agent": source_name(source), "teacher": said["teacher"]}
    return Arm("flat" + decoding.text, begin, {"flat": decoder}, origin, seed)


def _corruption(kind: str, cuts: dict[str, Cut]) -> Callable[[Episode], Corruption]:
    """What a wrong sub-goal is in an episode; one of the vocabulary where the episode's annotation has no two."""
    vocabulary = sorted({subgoal for cut in cuts.values() for subgoal, _ in cut})
    if kind != "argument" and len(vocabulary) < 2:
        raise InputError(
            "The annotations hold fewer than two different sub-goals, and noise puts one in another's place; annotate more paths."
        )

    def corruption(episode: Episode) -> Corruption:
        if kind == "argument":
            return other_arguments
        own = sorted({subgoal for subgoal, _ in _own(cuts, episode)}) if kind == "shuffled" else []
        return any_of(own if len(own) > 1 else vocabulary)

    return corruption


def _cuts(folder: Path | None) -> dict[str, Cut]:
    if folder is None:
        return {}
    return {a.key: [(s.subgoal, a.gold.actions[s.start : s.end]) for s in a.segments] for a in read_annotations(folder)}


def _own(cuts: dict[str, Cut], episode: Episode) -> Cut:
    if episode.key not in cuts:
        raise InputError(
            f"The annotations have no accepted one of {episode.key}; annotate the gold paths of the protocol's episodes first."
        )
    return cuts[episode.key]


def made_of(folder: Path, stage: str) -> str:
    """What the manifest calls a folder: its last name, and 12 hex digits over what it was made of and holds."""
    said = read_manifest(folder, stage, complete=True)
    content = json.dumps([said["config"], said["summary"]], sort_keys=True)
    return f"{folder.name} {hashlib.sha256(content.encode()).hexdigest()[:12]}"


def source_name(source: str | Path) -> str:
    """What the manifest calls a source: a Hub id as it is, a folder by its last name."""
    return Path(source).name if Path(source).is_dir() else str(source)
