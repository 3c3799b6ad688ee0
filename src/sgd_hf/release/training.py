"""What a checkpoint says of itself and of its training, as its card needs it.

Guarantee: everything is read from the files that `sgd train` wrote beside the weights; a base model that is not on the
Hub (a folder of somebody's machine) is not named.
"""

import re
from pathlib import Path
from typing import Any

from sgd_hf.agent.agent import read_json
from sgd_hf.training.pretrained import PACKAGED

_ID = re.compile(r"[\w.-]+/[\w.-]+")
_LICENSES = {"HuggingFaceTB/SmolLM": "apache-2.0", "Qwen/Qwen3": "apache-2.0", "google/flan-t5": "apache-2.0", "google/t5gemma": "gemma"}
"""licences of the base models that recipes name, by the beginning of their ids"""
_PACKAGED = {PACKAGED: "HuggingFaceTB/SmolLM2-135M-Instruct"}


def described(checkpoint: Path) -> dict[str, Any]:
    """``sgd.json`` of a checkpoint, with its ``recipe`` as run, ``base`` (Hub id or empty), whether the base was taken from
    there (``published``), ``adapter``, ``seq2seq``, and the ``license`` of its weights (empty where it is not known)."""
    said, manifest = read_json(checkpoint / "sgd.json"), checkpoint / "manifest.json"
    recipe = read_json(manifest)["config"].get("recipe", "") if manifest.exists() else ""
    adapter = (checkpoint / "adapter_config.json").exists()
    config = {} if adapter and not (checkpoint / "config.json").exists() else read_json(checkpoint / "config.json")
    base = _base(checkpoint)
    license = next((name for begin, name in _LICENSES.items() if base.startswith(begin)), "") if "base" in said else "apache-2.0"
    lines = [line for line in recipe.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    published = bool(base) and said["base"]["model"] == base
    return {
        **said,
        "recipe": "\n".join(lines),
        "base": base,
        "published": published,
        "adapter": adapter,
        "seq2seq": bool(config.get("is_encoder_decoder")),
        "license": license,
    }


def student_of(checkpoint: Path) -> str:
    """The last part of the repositories' names: the base model's, in lower case, or for one from scratch its size."""
    said = read_json(checkpoint / "sgd.json")
    if "base" in said:
        return Path(_base(checkpoint) or said["base"]["model"]).name.lower()
    parameters = said["training"]["parameters"]
    return f"scratch-{parameters / 1e6:.1f}m" if parameters < 1e7 else f"scratch-{parameters / 1e6:.0f}m"


def _base(checkpoint: Path) -> str:
    named = read_json(checkpoint / "sgd.json").get("base", {}).get("model", "")
    named = _PACKAGED.get(named, named)
    return named if _ID.fullmatch(named) and not Path(named).exists() else ""
