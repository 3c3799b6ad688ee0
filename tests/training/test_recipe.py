"""A recipe is read strictly: what is not known or cannot be meant stops with one sentence."""

import os

import pytest
import yaml

from sgd_hf.core.errors import InputError
from sgd_hf.training.recipe import as_run, read_keys, read_recipe


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
        ({"lora": {"r": 8}}, "`lora` for a model from scratch"),
        ({"lora": {"rank": 8}}, "unknown key 'rank' under lora"),
        ({"lora": 8}, "keys of its own"),
        ({"held_out": "boil"}, "a list of tasks"),
        ({"score_steps": 3}, "no multiple of its save_steps"),
        ({"score_steps": 2, "save_strategy": "epoch"}, "no multiple of its save_steps"),
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


def test_a_recipe_like_another_says_only_what_differs(recipe, tmp_path):
    whole = recipe("planner", max_steps=7, row_cap=5)
    (tmp_path / "part").mkdir()
    part = tmp_path / "part" / "planner.yaml"
    part.write_text(f"like: {os.path.relpath(whole, part.parent)}\nmax_steps: 9\n")
    (student, config), (same, other) = (read_recipe(path, "data", tmp_path) for path in (part, whole))
    assert student == same and student.row_cap == 5 and config.max_steps == 9
    assert yaml.safe_load(as_run(part)) == read_keys(part) == read_keys(whole) | {"max_steps": 9}, "what is kept with a checkpoint is whole"
    assert as_run(whole) == whole.read_text()
    assert config.to_dict() | {"max_steps": 7, "logging_dir": ""} == other.to_dict() | {"logging_dir": ""}


def test_compiled_layers_need_a_compiler(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match="no-such-compiler is not there; install it or leave the key out"):
        read_recipe(recipe("planner", compile_layers=True), "data", tmp_path)


def test_a_recipe_runs_with_another_seed_or_adapter_and_says_so(recipe, tmp_path):
    path = recipe("planner", scratch=None, model="some/checkpoint", lora={"r": 4}, adapter="first")
    student, config = read_recipe(path, "data", tmp_path, {"seed": 3, "adapter": "other"})
    assert (config.seed, student.adapter) == (3, "other")
    assert yaml.safe_load(as_run(path, {"seed": 3})) == read_keys(path) | {"seed": 3}


def test_recipes_like_each_other_are_refused(tmp_path):
    for own, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{own}.yaml").write_text(f"role: planner\nlike: {other}.yaml\n")
    with pytest.raises(InputError, match="let one of them stand alone"):
        read_recipe(tmp_path / "a.yaml", "data", tmp_path)
    (tmp_path / "a.yaml").write_text("like: nowhere.yaml\n")
    with pytest.raises(InputError, match="nowhere.yaml cannot be read"):
        read_recipe(tmp_path / "a.yaml", "data", tmp_path)
