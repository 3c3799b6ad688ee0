"""`SubgoalAgent`: a planner and an executor as one thing that can be loaded, saved, published and played.

Guarantee: an agent holds no weights, only ``config.json``: where its two modules are (a path from its folder, or a
repository at a revision), the prompt version that they were trained with, and how a sub-goal's life is limited.
An agent of another prompt version is refused rather than played wrongly. Every checkpoint that `sgd train` wrote
says what it was trained for in ``sgd.json``; a folder with ``planner`` and ``executor`` in it is an agent too.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin
from huggingface_hub.errors import HFValidationError

from sgd_hf.agent.decoding import Decoding
from sgd_hf.agent.policy import Patience, Plan, Policy, hierarchical, planned
from sgd_hf.core.errors import CheckpointError
from sgd_hf.core.prompts import BUDGET, PROMPT_VERSION, State, Transcript
from sgd_hf.core.store import write_json


@dataclass(frozen=True)
class AgentConfig:
    """What ``config.json`` says. Modules are given as ``{"source": path or Hub id, "revision": commit or null}``."""

    planner: dict[str, Any]
    executor: dict[str, Any]
    prompt_version: str = PROMPT_VERSION
    budget: int = BUDGET
    teacher: str = ""
    """who cut the gold paths that the modules learned from"""
    patience: dict[str, Any] = field(default_factory=lambda: dataclasses.asdict(Patience()))
    decoding: dict[str, Any] = field(default_factory=lambda: dataclasses.asdict(Decoding()))


class SubgoalAgent(ModelHubMixin, library_name="sgd-hf", tags=["sub-goal-distillation", "scienceworld"], license="apache-2.0"):
    """Loads its two modules lazily: `modules` gives them as decoders, `policy` the behaviour for one episode."""

    def __init__(self, config: AgentConfig | dict[str, Any], home: str = ""):
        self.config = config if isinstance(config, AgentConfig) else AgentConfig(**config)
        self._home = home
        if self.config.prompt_version != PROMPT_VERSION:
            raise CheckpointError(
                f"This agent was trained with prompt version {self.config.prompt_version} and this sgd-hf composes version {PROMPT_VERSION}; "
                "install the sgd-hf version that its card names."
            )

    def policy(
        self, description: str, look: str, inventory: str, plan: Plan = planned, every_step: bool = False
    ) -> tuple[Transcript, Policy]:
        """The agent's behaviour in an episode that begins with this state, and the transcript that it keeps; see
        `hierarchical` for ``plan`` and ``every_step``."""
        transcript = Transcript(description, State(look, inventory), self.config.budget)
        return transcript, hierarchical(transcript, Patience(**self.config.patience), plan, every_step)

    def modules(self, names: Sequence[str] = ("planner", "executor"), decoding: Decoding | None = None) -> dict[str, Any]:
        """Planner and executor, loaded: `sgd_hf.agent.decoder.Decoder` by name. ``decoding``: instead of the agent's own."""
        from sgd_hf.agent.decoder import Decoder

        decoding = decoding or Decoding(**self.config.decoding)
        return {name: Decoder.from_pretrained(*self._locate(getattr(self.config, name)), decoding) for name in names}

    def _locate(self, module: dict[str, Any]) -> tuple[str, str | None]:
        beside = Path(self._home, module["source"])
        return (str(beside), None) if self._home and beside.is_dir() else (module["source"], module["revision"])

    def _save_pretrained(self, save_directory: Path) -> None:
        write_json(Path(save_directory, "config.json"), dataclasses.asdict(self.config))

    @classmethod
    def of(cls, run: Path, beside: str = "") -> SubgoalAgent:
        """The agent of a folder that holds the checkpoints ``planner`` and ``executor``; ``beside`` is where they
        will stand, seen from the folder that it is saved in."""
        planner, executor = (purpose(run / name, name) for name in ("planner", "executor"))
        shared = {key: planner[key] for key in ("prompt_version", "budget", "teacher")}
        if shared != {key: executor[key] for key in shared}:
            raise CheckpointError(f"The planner and the executor in {run} were trained on different data; train both on one data folder.")
        modules = {name: {"source": beside + name, "revision": None} for name in ("planner", "executor")}
        return cls(AgentConfig(**modules, **shared), home=str(run))

    @classmethod
    def from_pretrained(cls, source: str | Path, **options: Any) -> SubgoalAgent:
        """An agent from a folder that `sgd release` wrote, a run's folder, or the Hub (``revision=``)."""
        folder = Path(source)
        if (folder / "config.json").exists():
            return cls(_config(folder / "config.json"), home=str(folder))
        if (folder / "planner").is_dir():
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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a checkpoint; `CheckpointError` where it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        raise CheckpointError(f"{path} is missing or damaged; give a folder that `sgd train` or `sgd release` wrote.") from None


def purpose(checkpoint: Path, role: str) -> dict[str, Any]:
    """What a checkpoint's ``sgd.json`` says; `CheckpointError` where it was trained for another role."""
    said = read_json(checkpoint / "sgd.json")
    if said["role"] != role:
        raise CheckpointError(f"{checkpoint} was trained as {said['role']} and the {role} is needed here; give the folder of a {role}.")
    return said


def _config(path: Path) -> AgentConfig:
    try:
        return AgentConfig(**read_json(path))
    except TypeError:
        raise CheckpointError(f"{path} is not the configuration of an agent; give the agent folder that `sgd release` wrote.") from None
