"""Every recipe of the repository is read strictly and trains: three steps of a tiny model of its family."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from sgd_hf.core.assets import asset
from sgd_hf.core.errors import InputError
from sgd_hf.training.recipe import read_keys, read_recipe
from sgd_hf.training.sft import train

RECIPES = sorted(path for path in asset("recipes").glob("*/*.yaml") if path.parent.name not in ("accelerate", "sweeps"))
PARTS = sorted(asset("recipes").glob("*/*/**/*.yaml"))
LAUNCHES = sorted(asset("recipes", "accelerate").glob("*.yaml"))
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 64,
    "head_dim": 16,
}
FEW = {
    "max_steps": 3, "eval_steps": 3, "save_steps": 3, "logging_steps": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1,
    "dataloader_num_workers": 0, "exact_match_rows": 2, "report_to": "none", "use_cpu": True, "disable_tqdm": True, "compile_layers": False,
}  # fmt: skip


def name(path: Path) -> str:
    return path.relative_to(asset("recipes")).as_posix()


@pytest.fixture(scope="module")
def stand_in(tokenizer, t5, tmp_path_factory):
    """A function: the folder of a tiny model with random weights, of the family that a recipe names."""
    from transformers import AutoConfig, AutoModelForCausalLM

    made = {}

    def of(model):
        family = next((family for family in ("qwen3", "t5") if family in model.lower()), "llama")
        if family == "t5":
            return t5
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family)
            ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
            config = AutoConfig.for_model(family, **SMALL, **ids, vocab_size=len(tokenizer), max_position_embeddings=4096)
            AutoModelForCausalLM.from_config(config).save_pretrained(made[family])
            tokenizer.save_pretrained(made[family])
        return made[family]

    return of


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_every_recipe_trains(path, stand_in, data, paper_data, tmp_path):
    keys = yaml.safe_load(path.read_text())
    few = FEW | ({"model": str(stand_in(keys["model"]))} if "model" in keys else {"vocabulary": 400, "scratch": keys["scratch"] | SMALL})
    few |= {"max_source_length": 4096, "bf16": False} if keys.get("trainer") == "seq2seq" else {}
    few_steps = tmp_path / path.name
    few_steps.write_text(yaml.safe_dump(keys | few))
    out = tmp_path / "out"
    summary = train(few_steps, str(paper_data if keys.get("trainer") == "seq2seq" else data), out)
    assert summary["steps"] == 3 and [step for step, _ in summary["losses"]] == [1, 2, 3]
    assert summary["role"] == keys["role"] == path.stem.removeprefix("lora-")
    said = json.loads((out / "sgd.json").read_text())
    assert said["role"] == keys["role"] and ("base" in said) == ("model" in keys)
    weights = [file.name for file in out.iterdir() if file.suffix in (".safetensors", ".bin", ".pt")]
    assert weights == ["adapter_model.safetensors" if "lora" in keys else "model.safetensors"]
    shutil.rmtree(out)


@pytest.mark.parametrize("path", [*RECIPES, *PARTS], ids=name)
def test_every_recipe_is_read_strictly(path, tmp_path):
    student, config = read_recipe(path, "data", tmp_path)
    assert student.role == path.stem.removeprefix("lora-") and config.seed == 0
    if student.trainer == "sft":
        assert config.assistant_only_loss and not config.packing and config.loss_type == "nll"
    keys = read_keys(path)
    for unknown in ("learning_rat", "warmup_ratio", "output_dir"):
        (tmp_path / "other.yaml").write_text(yaml.safe_dump(keys | {unknown: 1}))
        with pytest.raises(InputError, match=f"unknown key '{unknown}'"):
            read_recipe(tmp_path / "other.yaml", "data", tmp_path)


@pytest.mark.parametrize("path", [path for path in (*RECIPES, *PARTS) if "tiny" not in path.parts], ids=name)
def test_what_moves_between_versions_is_written_out(path):
    """Defaults of TRL and transformers that have changed, or may, and change a result."""
    keys = read_keys(path)
    moving = {"learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "max_grad_norm", "optim", "seed", "bf16"}
    moving |= {"per_device_train_batch_size", "gradient_accumulation_steps", "activation_checkpointing", "adam_beta2", "adam_epsilon"}
    moving |= {"max_length", "packing", "padding_free", "loss_type", "assistant_only_loss"} if "trainer" not in keys else set()
    assert moving <= set(keys)


def test_a_sweep_over_a_group_that_is_none_does_not_begin(tmp_path):
    given = [asset("recipes", "sweeps", "held_out.sh"), "data", tmp_path / "out", "forces", "sorcery"]
    done = subprocess.run(["bash", *given], capture_output=True, text=True)
    assert done.returncode == 2 and "sorcery is no group" in done.stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", LAUNCHES, ids=lambda path: path.name)
def test_every_launch_is_known_to_accelerate(path):
    from accelerate.commands.config.config_args import ClusterConfig

    keys = yaml.safe_load(path.read_text())
    config = ClusterConfig.from_yaml_file(str(path))
    assert config.num_processes == keys["num_processes"] and config.distributed_type == keys["distributed_type"]
