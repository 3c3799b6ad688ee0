"""Training ends with a checkpoint that plain transformers load; a killed one continues; what would cut a row is refused."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from sgd_hf.core.errors import InputError, StoreError
from sgd_hf.core.store import read_manifest
from sgd_hf.training.sft import train

pytestmark = pytest.mark.slow
SAFE = {  # README.md is the card that TRL writes; a release has its own
    "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "chat_template.jinja", "sgd.json", "manifest.json", "README.md",
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
    assert 0 < training["longest_row"] <= 1536 and training["train_tokens"] > 0
    assert tokenizer.chat_template and tokenizer.eos_token == "<|im_end|>"
    assert read_manifest(folder, "train", complete=True)["summary"] == training


def test_a_finished_training_is_not_repeated_and_another_one_is_refused(run, data, recipe):
    before = (run / "executor" / "model.safetensors").stat().st_mtime_ns
    assert train(recipe("executor"), str(data), run / "executor")["steps"] == 6
    assert (run / "executor" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="another recipe"):
        train(recipe("executor", max_steps=7), str(data), run / "executor")


def test_a_row_that_would_be_cut_is_refused(data, recipe, tmp_path):
    with pytest.raises(InputError, match=r"has \d+ tokens and the recipe's max_length is 32") as refused:
        train(recipe("executor", max_length=32), str(data), tmp_path / "out")
    assert "\n" not in str(refused.value) and not (tmp_path / "out").exists()


def test_other_folders_are_refused(gold_folder, recipe, tmp_path):
    with pytest.raises(StoreError, match="sgd collect"):
        train(recipe(), str(gold_folder), tmp_path / "out")
    with pytest.raises(StoreError, match=r"manifest\.json"):
        train(recipe(), str(tmp_path), tmp_path / "out")


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
    (out / "checkpoint-99").mkdir()  # as one that was being written
    again = subprocess.run(command(path, data, out), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-2000:]
    training = json.loads((out / "sgd.json").read_text())["training"]
    assert training["steps"] == 40 and training["losses"][-1][0] == 40
    assert [step for step, _ in training["losses"]] == list(range(1, 41)), "the losses before the kill are there once"
    assert {path.name for path in out.iterdir()} <= SAFE
    whole = train(path, str(data), tmp_path / "whole")
    assert training["losses"] == whole["losses"]


def test_a_users_mistake_is_one_line(data, recipe, tmp_path):
    done = subprocess.run(command(recipe(learning_rat=1), data, tmp_path / "out"), capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith("sgd: ") and done.stderr.count("\n") == 1
