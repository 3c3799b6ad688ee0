"""`SubgoalAgent`: a planner and an executor as one thing that can be loaded, saved, published and played.

Guarantee: an agent holds no weights, only ``config.json``: where its two modules are (a path from its folder, or a
repository at a revision), the prompt version that they were trained with, and how a sub-goal's life is limited.
An agent of another prompt version is refused rather than played wrongly. Every checkpoint that `sgd train` wrote
says what it was trained for in ``sgd.json``; a folder with ``planner`` and ``executor`` in it is an agent too.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin
from huggingface_hub.errors import HFValidationError

from sgd_hf.agent.decoding import Decoding
from sgd_hf.agent.policy import Patience, Plan, Policy, hierarchical, opened, planned
from sgd_hf.agent.verifier import verified
from sgd_hf.core.errors import CheckpointError
from sgd_hf.core.prompts import BUDGET, COMPOSERS, PROMPT_VERSION, State, Transcript
from sgd_hf.core.store import write_json

Load = Callable[[str | Path, str | None, Decoding], Any]
"""``load(source, revision, decoding)``: a checkpoint as something with the interface of `sgd_hf.agent.decoder.Decoder`"""


@dataclass(frozen=True)
class AgentConfig:
    """What ``config.json`` says. Modules are given as ``{"source": path or Hub id, "revision": commit or null}``."""

    planner: dict[str, Any]
    executor: dict[str, Any]
    first: dict[str, Any] | None = None
    """what writes an episode's first sub-goal, if not the planner"""
    prompt_version: str = PROMPT_VERSION
    budget: int = BUDGET
    teacher: str = ""
    """who cut the gold paths that the modules learned from"""
    patience: dict[str, Any] = field(default_factory=lambda: dataclasses.asdict(Patience()))
    decoding: dict[str, Any] = field(default_factory=lambda: dataclasses.asdict(Decoding()))

    def __post_init__(self) -> None:
        Patience(**self.patience)  # neither takes a word that it does not know
        Decoding(**self.decoding)
        if not self.planner or any(set(module) != {"source", "revision"} for module in (*self.modules.values(), self.executor)):
            raise TypeError("each module has a source and a revision")

    @property
    def modules(self) -> dict[str, dict[str, Any]]:
        """The modules that the agent has, by role."""
        given = {"planner": self.planner, "executor": self.executor, "first": self.first}
        return {role: module for role, module in given.items() if module}


class SubgoalAgent(ModelHubMixin, library_name="sgd-hf", tags=["sub-goal-distillation", "scienceworld"], license="apache-2.0"):
    """Loads its two modules lazily: `modules` gives them as decoders, `policy` the behaviour for one episode."""

    def __init__(self, config: AgentConfig | dict[str, Any], home: str = ""):
        self.config = config if isinstance(config, AgentConfig) else AgentConfig(**config)
        self._home = home
        self._composer = composer(self.config.prompt_version)

    def transcript(self, description: str, look: str, inventory: str) -> Transcript:
        """An empty record of an episode that begins with this state, in the style that the modules were trained on."""
        return self._composer(description, State(look, inventory), self.config.budget)

    @property
    def planners(self) -> tuple[str, ...]:
        """The modules that write sub-goals."""
        return ("first", "planner") if self.config.first else ("planner",)

    @property
    def plan(self) -> Plan:
        """Where the agent's sub-goals come from."""
        plan = opened if self.config.first else planned
        return verified(plan) if Patience(**self.config.patience).checks else plan

    def policy(
        self, description: str, look: str, inventory: str, plan: Plan | None = None, every_step: bool = False
    ) -> tuple[Transcript, Policy]:
        """The agent's behaviour in an episode that begins with this state, and the transcript that it keeps; see
        `hierarchical` for ``every_step``. ``plan``: instead of the agent's own."""
        transcript = self.transcript(description, look, inventory)
        return transcript, hierarchical(transcript, Patience(**self.config.patience), plan or self.plan, every_step)

    def modules(self, names: Sequence[str] = (), decoding: Decoding | None = None, load: Load | None = None) -> dict[str, Any]:
        """These modules, all without names, loaded: `sgd_hf.agent.decoder.Decoder` by name. ``decoding``: instead of the agent's own;
        ``load``: instead of transformers, in this process."""
        from sgd_hf.agent.decoder import Decoder

        decoding = decoding or Decoding(**self.config.decoding)
        load = load or Decoder.from_pretrained
        sources = {name: self._locate(getattr(self.config, name)) for name in names or (*self.planners, "executor")}
        loaded = {source: load(*source, decoding) for source in set(sources.values())}  # one model for two roles is loaded once
        return {name: loaded[source] for name, source in sources.items()}

    def _locate(self, module: dict[str, Any]) -> tuple[str, str | None]:
        beside = Path(self._home, module["source"])
        return (str(beside), None) if self._home and beside.is_dir() else (module["source"], module["revision"])

    def _save_pretrained(self, save_directory: Path) -> None:
        write_json(Path(save_directory, "config.json"), dataclasses.asdict(self.config))

    @classmethod
    def of(cls, run: Path, beside: str = "") -> SubgoalAgent:
        """The agent of a folder that holds the checkpoints ``planner`` and ``executor``, or ``shared`` for both, and maybe
        ``first``; ``beside`` is where they will stand, seen from the folder that it is saved in."""
        folders = ("shared", "shared") if (run / "shared").is_dir() else ("planner", "executor")
        planner, executor = (purpose(run / name, name) for name in folders)
        shared = {key: planner[key] for key in ("prompt_version", "budget", "teacher")}
        if shared != {key: executor[key] for key in shared}:
            raise CheckpointError(f"The planner and the executor in {run} were trained on different data; train both on one data folder.")
        modules = {name: {"source": beside + place, "revision": None} for name, place in zip(("planner", "executor"), folders, strict=True)}
        if (run / "first").is_dir():
            said = purpose(run / "first", "first")
            if shared != {key: said[key] for key in shared}:
                raise CheckpointError(f"The planner and the first in {run} were trained on different data; train both on one data folder.")
            modules["first"] = {"source": beside + "first", "revision": None}
        return cls(AgentConfig(**modules, **shared), home=str(run))

    @classmethod
    def from_pretrained(cls, source: str | Path, **options: Any) -> SubgoalAgent:
        """An agent from a folder that `sgd release` wrote, a run's folder, or the Hub (``revision=``)."""
        folder = Path(source)
        if (folder / "config.json").exists():
            return cls(_config(folder / "config.json"), home=str(folder))
        if (folder / "planner").is_dir() or (folder / "shared").is_dir():
            return cls.of(folder)
        try:
            return super().from_pretrained(str(source), **options)
        except (HFValidationError, OSError) as error:
            reason = " ".join(str(error).split("\n")[0].split())
            raise CheckpointError(
                f"{source} is neither an agent's folder nor an agent on the Hub ({reason}); give the folder that `sgd release` wrote."
            ) from None

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> SubgoalAgent:
        from huggingface_hub import hf_hub_download

        keys = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        return cls(_config(Path(hf_hub_download(model_id, "config.json", **{key: options[key] for key in keys if key in options}))))


def composer(prompt_version: str) -> type[Transcript]:
    """The transcript that composes the prompts of a version; `CheckpointError` for a version of another sgd-hf."""
    if prompt_version not in COMPOSERS:
        raise CheckpointError(
            f"This was trained with prompt version {prompt_version} and this sgd-hf composes {' and '.join(COMPOSERS)}; "
            "install the sgd-hf version that its card names."
        )
    return COMPOSERS[prompt_version]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a checkpoint; `CheckpointError` where it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        raise CheckpointError(f"{path} is missing or damaged; give a folder that `sgd train` or `sgd release` wrote.") from None


def purpose(checkpoint: Path, role: str) -> dict[str, Any]:
    """What a checkpoint's ``sgd.json`` says; `CheckpointError` where it was trained for another role."""
    said = read_json(checkpoint / "sgd.json")
    if not {"role", "prompt_version", "budget", "teacher"} <= said.keys():
        raise CheckpointError(f"{checkpoint / 'sgd.json'} is damaged; give a folder that `sgd train` wrote.")
    if said["role"] != role:
        raise CheckpointError(f"{checkpoint} was trained as {said['role']} and the {role} is needed here; give the folder of a {role}.")
    return said


def _config(path: Path) -> AgentConfig:
    try:
        return AgentConfig(**read_json(path))
    except TypeError:
        raise CheckpointError(f"{path} is not the configuration of an agent; give the agent folder that `sgd release` wrote.") from None
