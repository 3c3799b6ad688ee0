"""A release is what plain libraries load, and its cards say what the results file says."""

import json
import re

import pytest

from sgd_hf.core.errors import CheckpointError, StoreError
from sgd_hf.core.store import write_json
from sgd_hf.release.bundle import CHECKPOINT, release
from sgd_hf.release.cards import CONFIGURATIONS

pytestmark = pytest.mark.slow

ARM = {"macro": 61.234, "interval": [50.127, 71.876], "success": 0.375, "episodes": 24}
RESULTS = {
    "protocol": {"name": "quickstart", "digest": "0123456789ab", "limit": 100, "patience": 50, "simplification": "easy", "episodes": 24},
    "seed": 7,
    "commit": "abcdef012345",
    "simulator": {"simulator": "scienceworld 1.2.3", "jar": "fedcba9876543210", "jvm": "-XX:hashCode=2"},
    "teacher": "rules",
    "arms": {"hierarchical": ARM, "flat": ARM | {"macro": 43.219}, "oracle": ARM | {"macro": 98.765}},
    "note": "Trained for a moment.",
}
ROLES = ("planner", "executor", "flat")
REPOSITORIES = (*ROLES, "agent", "dataset")


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    write_json(run / "results.json", RESULTS)
    out = tmp_path_factory.mktemp("release") / "release"
    assert release(run, out) == [out / name for name in REPOSITORIES]
    return out


def test_nothing_stands_there_that_is_not_meant_to(bundle):
    assert {path.name for path in bundle.iterdir()} == set(REPOSITORIES)
    for role in ROLES:
        files = {path.name for path in (bundle / role).iterdir()}
        assert files <= {*CHECKPOINT, "README.md"}
        assert files >= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "sgd.json", "README.md"}
    assert {path.name for path in (bundle / "agent").iterdir()} == {"config.json", "README.md"}
    tables = {f"{config}/{split}" for config in CONFIGURATIONS for split in ("train", "validation", "test")}
    found = {str(path.relative_to(bundle / "dataset")) for path in (bundle / "dataset").rglob("*") if path.is_file()}
    assert {re.sub(r"-[0-9a-f]{12}\.parquet$", "", name) for name in found} == {"README.md", *tables}


def test_the_data_set_loads(bundle, run):
    from datasets import load_dataset

    for config in CONFIGURATIONS:
        assert (
            load_dataset(str(bundle / "dataset"), config)["train"].to_list() == load_dataset(str(run / "data"), config)["train"].to_list()
        )
    assert load_dataset(str(bundle / "dataset"), split="train")[0]["messages"][-1]["role"] == "assistant"


def test_the_agent_plays_with_the_modules_beside_it(bundle, run):
    from sgd_hf.agent.agent import SubgoalAgent
    from sgd_hf.agent.decoder import Decoder

    modules = SubgoalAgent.from_pretrained(bundle / "agent").modules()
    for name, module in modules.items():
        assert module.digest == Decoder.from_pretrained(run / name).digest
        assert isinstance(module.write([{"role": "user", "content": "task: find"}]), str)


def test_a_module_answers_with_transformers_alone(bundle):
    """What the card's code does."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for role in ROLES:
        tokenizer, model = AutoTokenizer.from_pretrained(bundle / role), AutoModelForCausalLM.from_pretrained(bundle / role)
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": "task: find"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(**inputs, max_new_tokens=4)
        assert isinstance(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True), str)


@pytest.mark.parametrize("name", REPOSITORIES)
def test_a_card_is_finished(bundle, name):
    text = (bundle / name / "README.md").read_text()
    for placeholder in ("{{", "}}", "{%", "More Information Needed", "TODO", "None", "Undefined"):
        assert placeholder not in text
    assert "rules" in text and text.startswith("---\n")
    # a table that is interrupted by an empty line is none
    rows = text.splitlines()
    assert not any(row == "" and rows[i - 1].startswith("|") and rows[i + 1].startswith("|") for i, row in enumerate(rows[1:-1], 1))
    assert text.count("```") % 2 == 0


@pytest.mark.parametrize("name", (*ROLES, "agent"))
def test_front_matter_and_numbers_of_a_model_card(bundle, name):
    from huggingface_hub import ModelCard

    arm = "flat" if name == "flat" else "hierarchical"
    card = ModelCard.load(bundle / name / "README.md")
    said = card.data.to_dict()
    assert said["license"] == "apache-2.0" and said["library_name"] == ("sgd-hf" if name == "agent" else "transformers")
    assert [result.metric_value for result in card.data.eval_results] == [RESULTS["arms"][arm]["macro"]]
    for other, summary in RESULTS["arms"].items():
        bold = "**" if other == arm else ""
        low, high = summary["interval"]
        assert f"| {bold}{other}{bold} | {summary['macro']:.1f} | {low:.1f}–{high:.1f} | 38 % | 24 |" in card.text
    for fact in ("quickstart", "0123456789ab", "24 episodes", "scienceworld 1.2.3", "seed 7", "abcdef012345", RESULTS["note"]):
        assert fact in card.text


@pytest.mark.parametrize("role", ROLES)
def test_training_figures_on_a_card_are_those_of_the_training(bundle, role):
    training = json.loads((bundle / role / "sgd.json").read_text())["training"]
    text = (bundle / role / "README.md").read_text()
    rows = dict(re.findall(r"^\| ([a-z ]+?) \| (\S+)", text, re.MULTILINE))
    for label, key in (("parameters", "parameters"), ("train rows", "train_rows"), ("train tokens", "train_tokens"), ("steps", "steps")):
        assert int(rows[label].replace(",", "")) == training[key]
    assert float(rows["final train loss"]) == pytest.approx(training["final_loss"], abs=0.006)
    assert float(rows["loss on dev variations"]) == pytest.approx(training["dev_loss"], abs=0.006)


def test_counts_on_the_data_card_are_those_of_the_build(bundle, run):
    from huggingface_hub import DatasetCard

    summary = json.loads((run / "data" / "manifest.json").read_text())["summary"]
    card = DatasetCard.load(bundle / "dataset" / "README.md")
    for config, rows in summary["rows"].items():
        assert f"| `{config}` | {CONFIGURATIONS[config]} | {rows['train']} | {rows['validation']} | {rows['test']} |" in card.text
    assert {entry["config_name"] for entry in card.data.to_dict()["configs"]} == set(CONFIGURATIONS)
    assert card.data.to_dict()["license"] == "apache-2.0"


def test_releasing_again_replaces(bundle, run):
    (bundle / "agent" / "stray").touch()
    release(run, bundle)
    assert not (bundle / "agent" / "stray").exists() and not list(bundle.glob("*.part"))


def test_an_unfinished_run_is_refused(run, data, tmp_path):
    with pytest.raises(StoreError, match=r"results\.json"):
        release(tmp_path, tmp_path / "out")
    write_json(tmp_path / "results.json", RESULTS)
    with pytest.raises(StoreError, match="sgd build"):
        release(tmp_path, tmp_path / "out")
    (tmp_path / "data").symlink_to(data)
    with pytest.raises(CheckpointError, match=r"planner"):
        release(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out" / "planner").exists()
