"""A recipe is read strictly: what is not known or cannot be meant stops with one sentence."""

import pytest

from sgd_hf.core.errors import InputError
from sgd_hf.training.recipe import read_recipe


def test_a_recipe_gives_the_student_and_trls_arguments(recipe, tmp_path):
    student, config = read_recipe(recipe("planner", max_steps=7), "data", tmp_path)
    assert (student.role, student.vocabulary, student.model, student.scratch["hidden_size"]) == ("planner", 400, "", 32)
    assert (config.max_steps, config.output_dir, config.assistant_only_loss) == (7, str(tmp_path), True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rat": 1}, "unknown key 'learning_rat'; the nearest valid one is 'learning_rate'"),
        ({"rolle": "planner"}, "'role'"),
        ({"output_dir": "elsewhere"}, "output_dir"),
        ({"role": "poet"}, "planner, executor, flat"),
        ({"role": None}, "planner, executor, flat"),
        ({"model": "some/checkpoint"}, "either `model`"),
        ({"scratch": None}, "either `model`"),
        ({"eval_strategy": "sometimes"}, "SFTConfig"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"max_steps": "many"}, "max_steps"),
        ({"task_cap": "few"}, "task_cap"),
        ({"lora": {"rank": 8}}, "unknown key 'rank' under lora"),
        ({"lora": 8}, "keys of its own"),
        ({"patience": 3}, "load_best_model_at_end"),
        ({"trainer": "ppo"}, "sft (causal) or seq2seq"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_recipe_that_cannot_be_meant_is_refused(recipe, tmp_path, changes, said):
    with pytest.raises(InputError) as refused:
        read_recipe(recipe("planner", **changes), "data", tmp_path)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"- a\n- b", b"role: [", b"\xff\xfe\x00", b"planner"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, content):
    (tmp_path / "recipe.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"recipe\.yaml"):
        read_recipe(tmp_path / "recipe.yaml", "data", tmp_path)
    with pytest.raises(InputError, match="nowhere"):
        read_recipe(tmp_path / "nowhere.yaml", "data", tmp_path)
