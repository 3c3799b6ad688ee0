"""Whether an artifact is fit to be published, and whether what was published is what it should be.

Guarantee: `lint` reads the folder alone, before anything is sent; `load` opens a folder as a user's libraries would:
a module writes an answer, a data set gives rows of every configuration and split, an agent finds the modules that it
names at the commits that it names, a metric loads. Both name the artifact and what is wrong in one sentence.
"""

import os
import re
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, ModelCard, RepoCard

from sgd_hf.agent.agent import AgentConfig, read_json
from sgd_hf.agent.policy import Ask
from sgd_hf.core.errors import CheckpointError, HubError
from sgd_hf.core.safety import refuse_unsafe, weights_digest
from sgd_hf.release.artifacts import METRIC, MODULES, Artifact

Fetch = Callable[[str, str | None], Path]
"""``fetch(id, revision)``: the folder of a model's repository at a revision"""

_PLACEHOLDERS = ("{{", "}}", "{%", "More Information Needed", "TODO", "Undefined")
_SECRETS = re.compile(rb"\b(hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{20,}|ghp_[A-Za-z0-9]{30,})\b")
_TEXTS = (".md", ".json", ".jsonl", ".yaml", ".py", ".txt", ".jinja")


def lint(artifact: Artifact) -> None:
    """Raise `CheckpointError` for a file that must not be published, a card that is not finished, or a token in a text."""
    refuse_unsafe(artifact.folder, artifact.layout)
    files = artifact.files()
    if "README.md" not in files:
        raise CheckpointError(f"{artifact.folder} has no card (README.md); run `sgd release` again.")
    card = files["README.md"].read_text()
    # A metric's card shows LaTeX, which has braces of its own.
    left = [text for text in _PLACEHOLDERS if text in re.sub(r"```bibtex.*?```", "", card, flags=re.DOTALL)]
    if left:
        raise CheckpointError(f"The card {files['README.md']} still holds {left[0]!r}; mend the template or the run that it is made of.")
    if not RepoCard.load(files["README.md"]).data.to_dict():
        raise CheckpointError(f"The card {files['README.md']} has no front matter; mend its template.")
    own = os.environ.get("HF_TOKEN", "").encode()
    for name, path in files.items():
        if path.suffix in _TEXTS and (_SECRETS.search(content := path.read_bytes()) or own and own in content):
            raise CheckpointError(f"{name} of {artifact.id} holds what looks like a token; remove it, and revoke the token if it is one.")


def load(folder: Path, name: str, fetch: Fetch, weights: dict[str, Any] | None = None) -> None:
    """Open a folder as an artifact of this name (see `sgd_hf.release.artifacts`). ``weights``: digests by module that were
    measured; other weights are refused. Raises one of the errors of `sgd_hf.core.errors`."""
    if name in MODULES:
        _module(folder, name, (weights or {}).get(name))
    elif name == "agent":
        for role, (id, revision) in named(folder).items():
            _module(fetch(id, revision), role, (weights or {}).get(role))
    elif name in ("dataset", "rollouts"):
        for config, split in splits(folder):
            _rows(folder, config, split)
    elif name == "metric":
        _metric(folder / f"{METRIC}.py")


def named(agent: Path) -> dict[str, tuple[str, str | None]]:
    """What an agent's folder names: id and revision of each module, by role."""
    modules = AgentConfig(**read_json(agent / "config.json")).modules
    return {role: (module["source"], module["revision"]) for role, module in modules.items()}


def recognise(folder: Path, kind: str) -> str:
    """Which artifact a downloaded repository is; `HubError` where it is none that `sgd release` makes."""
    config = read_json(folder / "config.json") if (folder / "config.json").exists() else {}
    found = {
        "model": "agent" if "planner" in config else read_json(folder / "sgd.json")["role"] if (folder / "sgd.json").exists() else "",
        "dataset": "rollouts" if (folder / "rollouts").is_dir() else "dataset" if (folder / "manifest.json").exists() else "",
        "space": "metric" if (folder / f"{METRIC}.py").exists() else "demo" if (folder / "episodes.parquet").exists() else "",
    }[kind]
    if not found:
        raise HubError(
            f"{folder.parent.parent.name} was not made by `sgd release`; give the id of an agent, a module, a data set or a Space of a release."
        )
    return found


def splits(folder: Path) -> Iterator[tuple[str, str]]:
    """Configuration and split of every table that a data set's card names."""
    for config in DatasetCard.load(folder / "README.md").data.to_dict()["configs"]:
        for file in config["data_files"]:
            yield config["config_name"], file["split"]


def _rows(folder: Path, config: str, split: str) -> None:
    from datasets import load_dataset

    # Streamed: nothing of it lands in a cache that a later release of the same name would be answered from.
    if next(iter(load_dataset(str(folder), config, split=split, streaming=True)), None) is None:
        raise HubError(f"The split {split} of {config} in {folder} has no rows; build the data set again.")


def _metric(module: Path) -> None:
    """Load a metric, but only one that is this version's own: loading it runs it."""
    import evaluate

    own = resources.files("sgd_hf") / "metrics" / METRIC / module.name
    if module.read_bytes() != own.read_bytes():
        raise CheckpointError(
            f"{module.name} is not the one of this sgd-hf, and is not run; install the version that it was released with."
        )
    evaluate.load(str(module))


def _module(folder: Path, role: str, digest: str | None) -> None:
    ModelCard.load(folder / "README.md")
    opened(folder, role, digest).write(Ask(role, [{"role": "user", "content": "task: none"}]))


def opened(folder: Path, role: str, digest: str | None) -> Any:
    """The decoder of a checkpoint; `CheckpointError` where its weights have another ``digest`` than an evaluation names."""
    from sgd_hf.agent.decoder import Decoder

    decoder = Decoder.from_pretrained(folder)
    own = f"{weights_digest(folder)}-vllm" if (digest or "").endswith("-vllm") else decoder.digest
    if digest and own != digest:
        raise CheckpointError(
            f"The weights of the {role} in {folder} are not those that were scored (digest {own}, the evaluation's {digest}); "
            "evaluate again, or release the run that was evaluated."
        )
    return decoder
