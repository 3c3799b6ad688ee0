"""A trained checkpoint of any kind as a model and its tokenizer: causal, encoder-decoder, or an adapter on a base.

Guarantee: only safetensors are read and no code of a checkpoint is run; a folder in which anything lies that does not
belong to a checkpoint is refused. An adapter is
merged into its base in single precision, so that what plays is one plain model; its base is found as in training.
"""

import json
import os
import warnings
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from sgd_hf.core.errors import CheckpointError
from sgd_hf.core.safety import CHECKPOINT, HUB, STAGE, refuse_unsafe
from sgd_hf.training.pretrained import locate

ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def load(source: str | Path, revision: str | None = None) -> tuple[Any, Any]:
    """Model and tokenizer of a folder or Hub id, on the GPU if there is one. Raises `CheckpointError` where they cannot be
    loaded, or were not trained here."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    options = {"revision": revision, "trust_remote_code": False}
    if Path(source).is_dir():
        refuse_unsafe(Path(source), (*CHECKPOINT, *HUB, *STAGE))
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        adapter = _adapter(source, revision)
        if adapter:
            model = _merged(adapter)
        else:
            wide = AutoConfig.from_pretrained(source, **options).is_encoder_decoder
            kind = AutoModelForSeq2SeqLM if wide else AutoModelForCausalLM
            # Half precision is a GPU's: a CPU without instructions for it is many times slower with it.
            options |= {"dtype": "auto" if torch.cuda.is_available() else "float32", "use_safetensors": True}
            model, found = kind.from_pretrained(source, output_loading_info=True, **options)
            if found["missing_keys"]:
                raise OSError(f"its weights lack {min(found['missing_keys'])}")  # which would be random
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{source} is not a checkpoint that can be loaded ({reason}); give a folder that `sgd train` wrote."
        ) from None
    if not model.config.is_encoder_decoder and "{%- generation -%}" not in (tokenizer.chat_template or ""):
        raise CheckpointError(f"{source} was not trained by sgd-hf (its chat template is another); give a folder that `sgd train` wrote.")
    # Of several processes on one machine (accelerate launch), each takes a GPU of its own.
    gpus = torch.cuda.device_count()
    return model.to(f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % gpus}" if gpus else "cpu"), tokenizer


def _adapter(source: str | Path, revision: str | None) -> Path | None:
    """The folder of an adapter's two files, fetched from the Hub if need be; None where the source is a whole model."""
    from transformers.utils import cached_file

    absent = {"_raise_exceptions_for_missing_entries": False, "revision": revision}
    config = cached_file(str(source), ADAPTER, **absent)
    if config is None:
        return None
    if cached_file(str(source), ADAPTER_WEIGHTS, **absent) is None:
        raise OSError(f"its adapter has no {ADAPTER_WEIGHTS}, and nothing else is read")
    return Path(config).parent


def _merged(adapter: Path) -> Any:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    said = json.loads((adapter / ADAPTER).read_text())
    if not said.get("base_model_name_or_path"):
        raise OSError(f"its {ADAPTER} names no base")
    base, revision = locate(said["base_model_name_or_path"], said.get("revision"))
    model = AutoModelForCausalLM.from_pretrained(base, revision=revision, use_safetensors=True, dtype="float32")
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # peft asks transformers by an old name
            return PeftModel.from_pretrained(model, adapter).merge_and_unload()
    except RuntimeError:
        raise OSError(f"its adapter does not fit {base}") from None
