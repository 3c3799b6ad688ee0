"""A live score is that of the checkpoint with its partner, on dev episodes alone."""

import json
import shutil

import pytest

from sgd_hf.core.errors import InputError
from sgd_hf.evaluation.arms import arm
from sgd_hf.evaluation.live import live_score
from sgd_hf.evaluation.rollouts import evaluate
from sgd_hf.evaluation.scoring import summarise
from sgd_hf.scienceworld.protocols import protocol


@pytest.mark.slow
def test_a_checkpoint_scores_as_the_finished_module_does(run, data, recipe, tmp_path):
    checkpoint = shutil.copytree(run / "executor", tmp_path / "checkpoint-2")
    (checkpoint / "sgd.json").unlink()
    before = sorted(path.name for path in checkpoint.iterdir())
    score = live_score(recipe("executor", score_steps=2), str(data), "smoke", run)(checkpoint)
    player = arm("hierarchical", run)
    [found] = summarise(evaluate(tmp_path / "whole", protocol("smoke"), player)).values()
    assert score == {"macro": found["macro"], "success": found["success"]}
    assert sorted(path.name for path in checkpoint.iterdir()) == before


@pytest.mark.slow
def test_the_score_is_in_the_logs_at_the_steps_asked_for(run, data, recipe, tmp_path, sgd):
    config = recipe("flat", score_steps=4, max_steps=4, save_steps=2)
    assert sgd("train", "--config", config, "--data", data, "--out", tmp_path / "flat", "--live", "smoke")[0] == 0
    logged = json.loads((tmp_path / "flat" / "sgd.json").read_text())["training"]["live_scores"]
    assert [step for step, _ in logged] == [4] and 0 <= logged[0][1] <= 100


@pytest.mark.parametrize(
    ("role", "changes", "name", "fix"),
    [
        ("executor", {"score_steps": 2}, "paper-271", "such as dev-mini"),
        ("executor", {"score_steps": 2}, "smoke", "--partner"),
        ("flat", {}, "smoke", "score_steps"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(role, changes, name, fix, data, recipe):
    with pytest.raises(InputError, match=fix):
        live_score(recipe(role, **changes), str(data), name, None)
