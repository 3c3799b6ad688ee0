"""What a release consists of: each artifact, its kind on the Hub, its repository's name, and the files that may be in it.

Guarantee: this table is the only place that says so. Artifacts stand in the order in which they are pushed: what an
artifact names at a revision comes before it.
"""

from dataclasses import dataclass
from pathlib import Path

from sgd_hf.core.safety import CHECKPOINT, HUB

MODULES = ("planner", "executor", "shared", "first", "flat")
"""the checkpoints that a run can have; an agent needs planner and executor, or `shared` in their place"""
DATASET = "scienceworld-subgoals"
METRIC = "scienceworld_score"
"""named as its module, for `evaluate.load` looks for a file of the repository's name"""

_TABLE = ("*.parquet", "*/*.parquet")
_MODULE = (*HUB, *CHECKPOINT)
_SPACE = (*HUB, "requirements.txt", "packages.txt")
_KINDS = {
    **{module: ("model", f"sgd-{module}-{{name}}", _MODULE) for module in MODULES},
    "dataset": ("dataset", DATASET, (*HUB, *_TABLE, "manifest.json", "statistics.json", "plots/*.png")),
    "agent": ("model", "sgd-agent-{name}", (*HUB, "config.json")),
    "rollouts": ("dataset", "sgd-rollouts-{name}", (*HUB, *_TABLE, "results.json", "traces/*/*.jsonl")),
    "metric": ("space", METRIC, (*_SPACE, "app.py", f"{METRIC}.py")),
    "demo": ("space", "sgd-demo-{name}", (*_SPACE, "app.py", "episodes.parquet", "agent.json")),
}
ORDER = ("dataset", *MODULES, "agent", "rollouts", "metric", "demo")


@dataclass(frozen=True)
class Artifact:
    """One repository to be, staged in ``folder``."""

    name: str
    """planner, executor, shared, first, flat, dataset, agent, rollouts, metric or demo"""
    folder: Path
    id: str
    """of its repository, ``org/name``; of a release without an organisation the name of its folder"""

    @property
    def kind(self) -> str:
        """model, dataset or space, as `huggingface_hub` calls repositories' types."""
        return _KINDS[self.name][0]

    @property
    def layout(self) -> tuple[str, ...]:
        """Shell patterns of the files that belong, for `sgd_hf.core.safety.refuse_unsafe`."""
        return layout(self.name)

    def files(self) -> dict[str, Path]:
        """Its files, by their path in the repository."""
        return {path.relative_to(self.folder).as_posix(): path for path in sorted(self.folder.rglob("*")) if path.is_file()}


def layout(name: str) -> tuple[str, ...]:
    """The files that belong to an artifact, as shell patterns."""
    return _KINDS[name][2]


def identify(name: str, org: str, student: str) -> str:
    """The id of an artifact's repository; without an organisation the name of its folder."""
    return f"{org}/{_KINDS[name][1].format(name=student)}" if org else name
