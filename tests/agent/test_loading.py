"""A checkpoint of any kind is loaded as what it is: an adapter merged into its base, an encoder-decoder as one, no pickle."""

import copy
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from sgd_hf.agent.decoder import Decoder
from sgd_hf.agent.loading import load
from sgd_hf.agent.policy import Ask
from sgd_hf.agent.seq2seq import Seq2SeqDecoder
from sgd_hf.core.errors import CheckpointError

MESSAGES = [{"role": "user", "content": "task: boil water"}]


@pytest.fixture
def base(model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def adapter(base, tokenizer, tmp_path):
    """An adapter that changes something, beside the model with its change added by hand."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    peft = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj"]))
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if "lora_" in name:
                parameter.normal_()
    folder = tmp_path / "adapter"
    peft.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_an_adapter_is_its_base_and_what_was_learnt(base, adapter, model):
    loaded, _ = load(adapter)
    weights, before = load_file(adapter / "adapter_model.safetensors"), model.state_dict()
    for name, tensor in loaded.state_dict().items():
        expected = before[name]
        if "q_proj" in name:
            a, b = (weights[f"base_model.model.{name.removesuffix('.weight')}.lora_{half}.weight"] for half in "AB")
            expected = expected + 3 * b @ a
            assert not torch.equal(tensor, before[name])
        torch.testing.assert_close(tensor, expected)
    assert Decoder.from_pretrained(adapter).digest != Decoder.from_pretrained(base).digest


def test_an_adapters_base_is_found_as_in_training(base, adapter, monkeypatch):
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "packaged", "revision": "v2"}))
    monkeypatch.setattr("sgd_hf.agent.loading.locate", lambda *given: (base, None) if given == ("packaged", "v2") else given)
    assert load(adapter)[0].state_dict().keys() == load(base)[0].state_dict().keys()


@pytest.mark.parametrize("damage", ["pickled", "missing", "torn", "foreign base", "no base"])
def test_an_adapter_that_cannot_be_used_is_refused(adapter, damage):
    weights, config = adapter / "adapter_model.safetensors", adapter / "adapter_config.json"
    if damage == "pickled":
        torch.save(load_file(weights), adapter / "adapter_model.bin")
    if damage in ("pickled", "missing"):
        weights.unlink()
    if damage == "torn":
        weights.write_bytes(weights.read_bytes()[:100])
    if damage == "foreign base":
        save_file({name: torch.zeros(3, 3) for name in load_file(weights)}, weights, metadata={"format": "pt"})
    if damage == "no base":
        config.write_text("{}")
    with pytest.raises(CheckpointError) as refused:
        load(adapter)
    assert str(adapter) in str(refused.value) and "\n" not in str(refused.value)


def test_a_pickle_beside_an_adapters_weights_is_refused_by_name(adapter):
    shutil.copy(adapter / "adapter_config.json", adapter / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="adapter_model.bin"):
        load(adapter)


def test_a_base_that_is_pickled_is_refused(adapter, base, model):
    torch.save(model.state_dict(), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    with pytest.raises(CheckpointError):
        load(adapter)


def test_an_encoder_decoder_is_decoded_as_one(t5, base):
    assert type(Decoder.from_pretrained(t5)) is Seq2SeqDecoder
    assert type(Decoder.from_pretrained(base)) is Decoder


def test_a_shared_checkpoint_is_loaded_once_for_both_roles(base, tmp_path):
    from sgd_hf.agent.agent import SubgoalAgent
    from sgd_hf.core.prompts import PROMPT_VERSION

    said = {"role": "shared", "prompt_version": PROMPT_VERSION, "budget": 4000, "teacher": "rules", "training": {}}
    shutil.copytree(base, tmp_path / "run" / "shared")
    (tmp_path / "run" / "shared" / "sgd.json").write_text(json.dumps(said))
    agent = SubgoalAgent.from_pretrained(str(tmp_path / "run"))
    modules = agent.modules()
    assert modules["planner"] is modules["executor"]
    assert modules["planner"].write(Ask("planner", MESSAGES)) == Decoder.from_pretrained(base).write(Ask("planner", MESSAGES))
    agent.save_pretrained(tmp_path / "run" / "agent")
    assert agent.config.planner == {"source": "shared", "revision": None} == agent.config.executor


def test_half_precision_is_single_on_a_cpu_and_has_the_same_digest(model, tokenizer, tmp_path):
    half = copy.deepcopy(model).to(torch.bfloat16)
    half.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = Decoder.from_pretrained(tmp_path)
    assert loaded.digest == Decoder(half, tokenizer).digest
    assert loaded.model.dtype == (torch.bfloat16 if torch.cuda.is_available() else torch.float32)
