"""What may stand in a folder that is published, or that a model is loaded from.

Guarantee: a folder that passes holds nothing that runs when it is loaded (no pickle, no code of its own, no
`auto_map`), nothing that lies outside it, and, where a layout is given, no file that the layout does not name.
The one link that is followed is that of the Hub's cache, from a snapshot into its repository's own blobs.
"""

import hashlib
import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import CheckpointError
from sgd_hf.core.store import LOCK

CHECKPOINT = (
    "config.json", "generation_config.json", "model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json",
    "adapter_config.json", "adapter_model.safetensors",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "chat_template.jinja", "sgd.json",
)  # fmt: skip
"""the files of one module: causal, encoder-decoder, or a LoRA adapter"""
HUB = ("README.md", ".gitattributes", ".eval_results/*.yaml")
"""what a repository on the Hub has beside its content"""
STAGE = ("manifest.json", LOCK)
"""what `sgd train` leaves beside a checkpoint"""

_RUNS = (".pkl", ".pickle", ".bin", ".pt", ".pth", ".ckpt", ".joblib", ".npy", ".npz", ".h5", ".msgpack", ".so", ".py", ".pyc")


def refuse_unsafe(folder: Path, layout: Iterable[str] = ()) -> None:
    """Raise `CheckpointError`, with the name, for the first file of ``folder`` (at any depth) that must not be there.

    ``layout``: the shell patterns of all files that belong, seen from ``folder``; none: whatever is safe belongs. A
    pattern that names a file of code, such as ``app.py`` of a Space, allows it.
    """
    layout = tuple(layout)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() and not _inside(path, folder):
            raise CheckpointError(f"{name} in {folder} is a link that leads out of the folder; put the file itself there, or remove it.")
        if path.is_dir():
            continue
        if path.suffix.lower() in _RUNS and name not in layout:
            raise CheckpointError(
                f"{name} in {folder} can run code when it is loaded, and only safetensors, JSON and text are accepted; remove it."
            )
        if layout and not any(fnmatchcase(name, pattern) for pattern in layout):
            raise CheckpointError(
                f"{name} does not belong in {folder}; remove it, or give a folder that `sgd train` or `sgd release` wrote."
            )
        if path.suffix == ".json" and _brings_code(path):
            raise CheckpointError(f"{name} in {folder} asks for code of its own (auto_map), which is never run; remove that key.")


def weights_digest(folder: Path) -> str:
    """12 hex digits that stand for the weights' files; not those of an agent's decoder, which reads the tensors."""
    content = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as file:
            hashlib.file_digest(file, lambda: content)
    return content.hexdigest()[:12]


def _inside(path: Path, folder: Path) -> bool:
    homes = [folder.resolve()]
    if folder.parent.name == "snapshots":
        homes.append(folder.parent.with_name("blobs").resolve())
    return any(path.resolve().is_relative_to(home) for home in homes)


def _brings_code(path: Path) -> bool:
    if path.name in ("tokenizer.json", "vocab.json"):  # data alone, of tens of megabytes
        return False
    try:
        return _has_key(json.loads(path.read_bytes()), "auto_map")
    except ValueError:
        raise CheckpointError(f"{path} is damaged and cannot be checked; restore it, or write the folder again.") from None


def _has_key(value: Any, key: str) -> bool:
    if isinstance(value, dict):
        return key in value or any(_has_key(item, key) for item in value.values())
    return isinstance(value, list) and any(_has_key(item, key) for item in value)
