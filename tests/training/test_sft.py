"""Training ends with a checkpoint that plain transformers load; a killed one continues; what would cut a row is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from sgd_hf.core.assets import asset
from sgd_hf.core.errors import InputError, StoreError
from sgd_hf.core.store import lock, read_manifest
from sgd_hf.training import sft
from sgd_hf.training.rows import learnt_rows
from sgd_hf.training.sft import train

pytestmark = pytest.mark.slow
SAFE = {
    "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "chat_template.jinja", "sgd.json", "manifest.json", ".lock",
}  # fmt: skip


@pytest.mark.parametrize("role", ["planner", "executor", "flat"])
def test_a_finished_folder_is_a_checkpoint(run, role):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = run / role
    assert {path.name for path in folder.iterdir()} <= SAFE
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    said = json.loads((folder / "sgd.json").read_text())
    assert (said["role"], said["teacher"], said["budget"]) == (role, "rules", 5000)
    training = said["training"]
    assert training["steps"] == 6 and [step for step, _ in training["losses"]] == [1, 2, 3, 4, 5, 6]
    assert training["final_loss"] < training["losses"][0][1] and training["dev_loss"] > 0
    assert training["parameters"] == sum(p.numel() for p in model.parameters())
    assert 0 < training["longest_row"] <= 2048 and training["train_tokens"] > 0
    assert tokenizer.chat_template and tokenizer.eos_token == "<|im_end|>"
    assert read_manifest(folder, "train", complete=True)["summary"] == training


def test_a_finished_training_is_not_repeated_and_another_one_is_refused(run, data, recipe):
    before = (run / "executor" / "model.safetensors").stat().st_mtime_ns
    assert train(recipe("executor"), str(data), run / "executor")["steps"] == 6
    assert (run / "executor" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="another recipe"):
        train(recipe("executor", max_steps=7), str(data), run / "executor")
    with pytest.raises(InputError, match="another recipe"):
        train(recipe("executor"), str(data), run / "executor", seed=1)


def test_a_row_that_would_be_cut_is_refused(data, recipe, tmp_path):
    with pytest.raises(InputError, match=r"has \d+ tokens and the recipe's max_length is 32") as refused:
        train(recipe("executor", max_length=32), str(data), tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert train(recipe("executor"), str(data), tmp_path / "out")["steps"] == 6, "what has not begun stands in nobody's way"


def test_other_folders_are_refused(gold_folder, recipe, tmp_path):
    with pytest.raises(StoreError, match="sgd collect"):
        train(recipe(), str(gold_folder), tmp_path / "out")
    with pytest.raises(StoreError, match=r"manifest\.json"):
        train(recipe(), str(tmp_path), tmp_path / "out")


def test_a_folder_of_something_else_is_left_alone(data, recipe, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InputError, match="not of `sgd train`"):
        train(recipe(), str(data), tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"README.md": "mine"}


def test_a_recipe_that_evaluates_needs_dev_rows(data, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(sft, "learnt_rows", lambda *given: {"train": learnt_rows(*given)["train"]})
    with pytest.raises(InputError, match="annotations of dev variations"):
        train(recipe(), str(data), tmp_path / "out")


def command(recipe, data, out):
    return [sys.executable, "-m", "sgd_hf.training.sft", "--config", recipe, "--data", data, "--out", out]


def test_a_killed_training_continues_from_its_last_checkpoint(data, recipe, tmp_path):
    path, out = recipe("executor", max_steps=40, save_steps=5), tmp_path / "out"
    child = subprocess.Popen(command(path, data, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / "checkpoint-10" / "trainer_state.json").exists():
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (out / "sgd.json").exists()
    before = json.loads((out / "checkpoint-10" / "trainer_state.json").read_text())["log_history"][-1]["seconds"]
    (out / "checkpoint-99").mkdir()  # as one that was being written
    began = time.time()
    again = subprocess.run(command(path, data, out), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-2000:]
    training = json.loads((out / "sgd.json").read_text())["training"]
    assert training["steps"] == 40 and training["losses"][-1][0] == 40
    assert [step for step, _ in training["losses"]] == list(range(1, 41)), "the losses before the kill are there once"
    assert {path.name for path in out.iterdir()} <= SAFE
    whole = train(path, str(data), tmp_path / "whole")
    after = (out / "manifest.json").stat().st_mtime - began
    assert before < training["seconds"] < before + after, "the time before the kill is counted"
    assert training["losses"] == whole["losses"] and training["train_tokens"] == whole["train_tokens"]


def test_a_folder_without_its_summary_is_not_finished(run, data, recipe, tmp_path):
    """Killed between the weights and the manifest: everything is there but the word that it is."""
    out = tmp_path / "out"
    shutil.copytree(run / "executor", out)
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({key: value for key, value in manifest.items() if key != "summary"}))
    (out / "model.safetensors").write_bytes(b"torn")
    assert train(recipe("executor"), str(data), out)["losses"] == manifest["summary"]["losses"]
    assert (out / "model.safetensors").read_bytes() == (run / "executor" / "model.safetensors").read_bytes()


def test_a_folder_that_was_cut_off_while_it_was_cleared_up_is(run, data, recipe, tmp_path):
    out = shutil.copytree(run / "executor", tmp_path / "out")
    (out / "checkpoint-4").mkdir()
    assert train(recipe("executor"), str(data), out)["steps"] == 6
    assert not (out / "checkpoint-4").exists()


def test_two_trainings_do_not_share_a_folder(data, recipe, tmp_path):
    with lock(tmp_path), pytest.raises(StoreError, match="being written by another sgd process"):
        train(recipe("executor"), str(data), tmp_path)
    with pytest.raises(StoreError, match="sgd build"):
        train(recipe("executor"), str(data), data)
    assert not (data / ".lock").exists()


def test_another_recipe_is_refused_once_there_is_a_checkpoint(run, data, recipe, tmp_path):
    """Stopped before its first one, with no more than what says that it began."""
    shutil.copy2(run / "planner" / "manifest.json", tmp_path)
    (tmp_path / "progress.json").write_text("{}")
    shutil.copytree(tmp_path, tmp_path / "checkpoint-2")
    with pytest.raises(InputError, match="another recipe"):
        train(recipe("executor"), str(data), tmp_path)
    shutil.rmtree(tmp_path / "checkpoint-2")
    assert train(recipe("executor"), str(data), tmp_path)["role"] == "executor"


def test_other_rows_are_other_data(run, data, recipe, tmp_path):
    """`sgd build` again, into the same folder, of as many rows: a file of rows is named by what is in it."""
    other = shutil.copytree(data, tmp_path / "data")
    for path in other.glob("planner/train*.parquet"):
        path.rename(path.with_stem("train-0123456789ab"))
    assert train(recipe("executor"), str(other), run / "executor")["steps"] == 6
    with pytest.raises(InputError, match="on other data"):
        train(recipe("planner"), str(other), run / "planner")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora": {"target_modules": ["q_projx"]}, "scratch": None, "vocabulary": None}, r"cannot be trained: .*q_projx"),
        ({"report_to": "wandb"}, r"cannot be trained: .*wandb"),
    ],
)
def test_what_a_trainer_cannot_be_made_of_is_one_sentence(run, data, recipe, tmp_path, monkeypatch, changes, said):
    monkeypatch.setitem(sys.modules, "wandb", None)
    model = {"model": str(run / "planner")} if "lora" in changes else {}
    with pytest.raises(InputError, match=said) as refused:
        train(recipe("planner", **changes, **model), str(data), tmp_path / "out")
    assert "\n" not in str(refused.value)


def test_two_processes_learn_what_one_does(data, recipe, run, tmp_path):
    """The launch that really starts two on a CPU; the same rows a step, half of them in each."""
    launch = [
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        asset("recipes", "accelerate", "cpu_two.yaml"),
        "--main_process_port",
        "0",
    ]
    path = recipe("executor", per_device_train_batch_size=1, exact_match_rows=4)
    module = command(path, data, tmp_path / "out")[1:]
    done = subprocess.run([sys.executable, *launch, *module], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    two, one = (read_manifest(folder, "train", complete=True)["summary"] for folder in (tmp_path / "out", run / "executor"))
    assert [loss for _, loss in two["losses"]] == pytest.approx([loss for _, loss in one["losses"]], rel=1e-4)
    assert two["train_tokens"] == one["train_tokens"] and two["dev_exact_match"] is not None
    assert {path.name for path in (tmp_path / "out").iterdir()} <= SAFE


def test_an_adapter_is_small_names_its_base_and_plays(data, recipe, run, tmp_path):
    from transformers import AutoModelForCausalLM

    from sgd_hf.agent.decoder import Decoder

    changes = {"scratch": None, "vocabulary": None, "model": str(run / "planner"), "lora": {"r": 2, "lora_alpha": 8}}
    summary = train(recipe("planner", **changes), str(data), tmp_path / "out")
    assert summary["trained_parameters"] < summary["parameters"] / 4
    assert {path.name for path in (tmp_path / "out").iterdir()} <= SAFE | {"adapter_config.json", "adapter_model.safetensors"}
    weights = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert {str(tensor.dtype) for tensor in weights.values()} == {"torch.bfloat16"} and all("lora_" in name for name in weights)
    assert all(tensor.any() for tensor in weights.values()), "B begins at zero, so whatever is not was learnt"
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"], config["r"]) == (str(run / "planner"), "main", 2)
    decoder = Decoder.from_pretrained(tmp_path / "out")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="float32")
    tokens = decoder.tokenizer("task: boil water", return_tensors="pt")["input_ids"]
    assert (decoder.model(tokens).logits - plain(tokens).logits).abs().max() < 1e-4
    assert json.loads((tmp_path / "out" / "sgd.json").read_text())["base"] == {"model": str(run / "planner"), "revision": "main"}


def test_an_adapter_goes_on_from_another_and_remembers_it(data, recipe, run, tmp_path):
    changes = {"scratch": None, "vocabulary": None, "model": str(run / "planner"), "lora": {"r": 2, "lora_alpha": 8}, "learning_rate": 0.01}
    first = train(recipe("planner", **changes, task_cap=1), str(data), tmp_path / "first")
    second = train(recipe("planner", **changes), str(data), tmp_path / "second", adapter=str(tmp_path / "first"))
    assert second["losses"][0][1] < first["losses"][0][1] and second["trained_parameters"] == first["trained_parameters"]
    one, two = (json.loads((tmp_path / name / "sgd.json").read_text()) for name in ("first", "second"))
    assert one["before"] == [] and two["before"] == [one["training"]]
    for task, variations in one["episodes"]["train"].items():
        assert set(variations) <= set(two["episodes"]["train"][task])
    for change, said in ({"lora": {"r": 4, "lora_alpha": 8}}, "another r"), ({"model": str(run / "executor")}, "was trained on "):
        with pytest.raises(InputError, match=said):
            train(recipe("planner", **{**changes, **change}, adapter=str(tmp_path / "first")), str(data), tmp_path / "other")
    with pytest.raises(InputError, match="does not hold an adapter of the role planner"):
        train(recipe("planner", **changes, adapter=str(run / "planner")), str(data), tmp_path / "other")
    with pytest.raises(InputError, match="does not hold an adapter of the role executor"):
        train(recipe("executor", **changes, adapter=str(tmp_path / "first")), str(data), tmp_path / "other")
    (tmp_path / "first" / "sgd.json").write_text(json.dumps({"role": "planner"}))  # as older ones are
    with pytest.raises(InputError, match="does not hold an adapter of the role planner"):
        train(recipe("planner", **changes, adapter=str(tmp_path / "first")), str(data), tmp_path / "other")


def test_training_stops_where_dev_no_longer_improves_and_keeps_the_best(data, recipe, tmp_path):
    changes = {"patience": 2, "load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "greater_is_better": False}
    steps = {"max_steps": 40, "eval_steps": 1, "save_steps": 1, "learning_rate": 0.3, "save_total_limit": 2}
    summary = train(recipe("planner", **changes, **steps), str(data), tmp_path / "out")
    assert summary["steps"] == summary["best_step"] + 2 < 40


def test_a_live_score_is_asked_for_at_its_steps(data, recipe, tmp_path):
    from transformers import AutoModelForCausalLM

    asked = []

    def score(folder):
        asked.append((folder.name, AutoModelForCausalLM.from_pretrained(folder).num_parameters()))
        return {"dev-mini": 1.0}

    train(recipe("flat", score_steps=4), str(data), tmp_path / "out", score)
    assert [name for name, _ in asked] == ["checkpoint-4"] and asked[0][1] > 0


def test_a_users_mistake_is_one_line(data, recipe, tmp_path):
    done = subprocess.run(command(recipe(learning_rat=1), data, tmp_path / "out"), capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith("sgd: ") and done.stderr.count("\n") == 1
