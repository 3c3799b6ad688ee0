"""Tokenizers give every message back, the chat format grows by turns, and the loss covers what is to be learnt."""

import pytest
from tiny import TINY

from sgd_hf.core.errors import CheckpointError, InputError
from sgd_hf.corpus.build import executor_rows, flat_rows, planner_rows
from sgd_hf.training.recipe import Student
from sgd_hf.training.student import PAD, STOP, make_student, scratch_tokenizer


@pytest.fixture(scope="module")
def rows(annotations):
    """The message lists of all rows of the recorded episodes, every seventh of the planner's."""
    return [
        row[0] for a in annotations for make, step in ((planner_rows, 7), (executor_rows, 3), (flat_rows, 3)) for row in [*make(a)][::step]
    ]


def test_every_message_comes_back(tokenizer, texts):
    for text in {*texts, "ünïcödé 🙂", "12345 -3.5", " two  spaces ", ""}:
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_special_tokens(tokenizer):
    assert (tokenizer.eos_token, tokenizer.pad_token) == (STOP, PAD) and tokenizer.eos_token_id != tokenizer.pad_token_id
    assert len(tokenizer) <= 1024
    assert len(tokenizer("2048", add_special_tokens=False)["input_ids"]) == 4
    opened = tokenizer("<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
    assert len(opened) == 1


def test_the_same_texts_give_the_same_tokenizer(tokenizer, texts):
    assert scratch_tokenizer(iter(texts), 1024).get_vocab() == tokenizer.get_vocab()


def test_a_prompt_is_a_prefix_of_the_rows_that_go_on_from_it(tokenizer, rows):
    """What the agent asks at turn k is, token by token, what the student saw before its answer in training."""
    for messages in rows:
        whole = tokenizer.apply_chat_template(messages, return_dict=False)
        for i, message in enumerate(messages):
            if message["role"] == "assistant":
                prompt = tokenizer.apply_chat_template(messages[:i], add_generation_prompt=True, return_dict=False)
                assert whole[: len(prompt)] == prompt
                answer = tokenizer(message["content"] + STOP, add_special_tokens=False)["input_ids"]
                assert whole[len(prompt) : len(prompt) + len(answer)] == answer


def test_the_loss_covers_answers_and_their_end_exactly(tokenizer, rows):
    for messages in rows:
        done = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        learnt = [token for token, on in zip(done["input_ids"], done["assistant_masks"], strict=True) if on]
        answers = [m["content"] + STOP for m in messages if m["role"] == "assistant"]
        assert tokenizer.decode(learnt) == "".join(answers)


def student(**more):
    return Student(**{"role": "executor", "scratch": TINY, "vocabulary": 400, **more})


def test_a_student_from_scratch_has_the_recipes_shape(texts):
    model, tokenizer = make_student(student(), texts[:50], 777)
    config = model.config
    assert (config.vocab_size, config.max_position_embeddings, config.hidden_size) == (len(tokenizer), 777, 32)
    assert (config.eos_token_id, config.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)


@pytest.mark.parametrize(
    "scratch", [{"model_type": "t5"}, {"model_type": "teapot"}, {"hidden_size": 8}, TINY | {"num_attention_heads": 5}], ids=str
)
def test_a_configuration_that_is_not_causal_is_refused(texts, scratch):
    with pytest.raises(InputError, match="scratch") as refused:
        make_student(student(scratch=scratch), texts[:50], 128)
    assert "\n" not in str(refused.value)


def test_a_pretrained_student_keeps_its_weights(model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    made, its = make_student(student(scratch={}, model=str(tmp_path)), [], 128)
    assert all((a == b).all() for a, b in zip(made.parameters(), model.parameters(), strict=True))
    assert its.get_vocab() == tokenizer.get_vocab() and its.chat_template == tokenizer.chat_template


def test_pretrained_checkpoints_that_do_not_fit_are_refused(tokenizer, tmp_path):
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, PreTrainedTokenizerFast, T5Config

    T5Config(d_model=8, num_layers=1, num_heads=1).save_pretrained(tmp_path / "t5")
    with pytest.raises(InputError, match="encoder-decoder"):
        make_student(student(scratch={}, model=str(tmp_path / "t5")), [], 128)
    with pytest.raises(CheckpointError, match="nowhere"):
        make_student(student(scratch={}, model=str(tmp_path / "nowhere")), [], 128)
    LlamaConfig().save_pretrained(tmp_path / "other")
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE())).save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="ChatML"):
        make_student(student(scratch={}, model=str(tmp_path / "other")), [], 128)
