"""Greedy text with a carried cache: the same as from scratch, restricted where asked; unusable checkpoints refused."""

import json
import re
import shutil

import pytest
import torch
from asking import ask

from sgd_hf.agent.decoder import MAX_NEW_TOKENS, Decoder
from sgd_hf.core.errors import CheckpointError

ACTIONS = ("pick up thermometer", "pick up the thermometer", "pick up metal pot", "pick", "open door to kitchen")


def user(text):
    return {"role": "user", "content": text}


def conversation(first, turns):
    """A growing conversation: its prefixes that end with the user's turn."""
    messages = [user(first)]
    yield list(messages)
    for number in range(turns):
        messages += [{"role": "assistant", "content": f"open door {number}"}, user(f"The door to the kitchen is now open. {number}")]
        yield list(messages)


def by_hand(model, tokenizer, messages):
    """The answer without any cache."""
    tokens = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    written = []
    while len(written) < MAX_NEW_TOKENS:
        with torch.inference_mode():
            token = int(model(torch.tensor([tokens + written])).logits[0, -1].argmax())
        if token == tokenizer.eos_token_id:
            break
        written.append(token)
    return tokenizer.decode(written).strip()


def test_a_carried_cache_changes_nothing_with_two_slots_in_turns(model, tokenizer):
    decoder = Decoder(model, tokenizer)
    texts = set()
    for one, two in zip(conversation("task: boil water", 4), conversation("task: find a plant\nin the kitchen", 4), strict=True):
        for slot, messages in ((1, one), (2, two)):
            answer = decoder.write(ask(messages), slot=slot)
            assert answer == by_hand(model, tokenizer, messages)
            texts.add(answer)
    assert len(texts) > 2, "a model that says one thing proves nothing"


def test_a_conversation_that_opens_anew_shares_only_its_prefix(model, tokenizer):
    decoder = Decoder(model, tokenizer)
    asked = ["task: boil water", "task: boil waters now, please, and then some", "something else", "task: boil water", "task: boil water"]
    for text in asked:
        assert decoder.write(ask([user(text)])) == by_hand(model, tokenizer, [user(text)])


def test_a_further_turn_costs_its_own_tokens_only(model, tokenizer):
    decoder = Decoder(model, tokenizer)
    long, longer = list(conversation("task: " + "boil water " * 200, 1))
    decoder.write(ask(long))
    read = []
    hook = model.register_forward_pre_hook(lambda _, args: read.append(args[0].shape[1]))
    decoder.write(ask(longer))
    hook.remove()
    assert read[0] < 60 and set(read[1:]) <= {1}


def test_an_answer_that_comes_again_costs_one_pass_and_a_wrong_guess_changes_nothing(model, tokenizer):
    decoder = Decoder(model, tokenizer)
    asked = [user("task: boil water\nsub-goal: wait(1)")]
    answer = decoder.write(ask(asked))
    passes = []
    hook = model.register_forward_pre_hook(lambda _, args: passes.append(args[0].shape[1]))
    assert decoder.write(ask(asked)) == answer and len(passes) == 1
    hook.remove()
    for wrong in ([], [5], decoder._guess(asked[0]["content"])[:2] + [5, 6], [7] * 100):
        decoder._guesses = {asked[0]["content"]: wrong}
        assert decoder.write(ask(asked)) == answer == by_hand(model, tokenizer, asked)


def test_only_the_latest_answers_are_remembered(model, tokenizer, monkeypatch):
    monkeypatch.setattr("sgd_hf.agent.decoder.GUESSES", 3)
    decoder = Decoder(model, tokenizer)
    for name in "abcd":
        decoder.write(ask([user(f"task: {name}")]))
    assert list(decoder._guesses) == ["task: b", "task: c", "task: d"]


def test_a_restricted_answer_is_one_of_the_strings(model, tokenizer):
    decoder = Decoder(model, tokenizer)
    for messages in conversation("task: boil water", 6):
        assert decoder.write(ask(messages, among=ACTIONS)) in ACTIONS
        assert decoder.write(ask(messages, among=ACTIONS[:1])) == ACTIONS[0]


def test_a_restricted_answer_is_the_likeliest_step_by_step(model, tokenizer):
    """Two strings that part at their first token: the one whose first token the model prefers."""
    two = ("open door to kitchen", "wait")
    first = [tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in two]
    assert first[0] != first[1]
    for messages in conversation("task: find", 3):
        tokens = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        with torch.inference_mode():
            logits = model(torch.tensor([tokens])).logits[0, -1]
        assert Decoder(model, tokenizer).write(ask(messages, among=two)) == two[int(logits[first[1]] > logits[first[0]])]


def test_an_answer_matches_its_pattern_alone_and_in_a_batch(model, tokenizer):
    decoder, pattern = Decoder(model, tokenizer), r"(?:pick_up|open)\((?:orange|red box)(?:, (?:orange|red box)){0,2}\)"
    asked = list(conversation("task: boil water", 3))
    alone = [decoder.write(ask(messages, pattern=pattern)) for messages in asked]
    assert all(re.fullmatch(pattern, answer) for answer in alone)
    assert decoder.write_many([ask(messages, pattern=pattern) for messages in asked]) == alone


def test_a_pattern_is_followed_though_all_else_is_likelier(model, tokenizer):
    messages = [user("task: boil water")]
    tokens = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    with torch.inference_mode():
        unlikely = model(torch.tensor([tokens])).logits[0, -1].argsort()[:100]
    letter = next(said for said in tokenizer.batch_decode(unlikely[:, None]) if re.fullmatch("[a-z]", said))
    assert Decoder(model, tokenizer).write(ask(messages, pattern=letter)) == letter


def test_what_must_never_be_said_is_not(model, tokenizer):
    decoder = Decoder(model, tokenizer)
    for messages in conversation("task: boil water", 3):
        said = decoder.write(ask(messages))
        assert said and decoder.write(ask(messages, never=said)) != said
        assert decoder.write(ask(messages, never="complete_task()")) == said


@pytest.fixture
def saved(model, tokenizer, tmp_path):
    folder = tmp_path / "checkpoint"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_saved_checkpoint_answers_alike(model, tokenizer, saved):
    loaded, messages = Decoder.from_pretrained(saved), [user("task: boil water")]
    assert loaded.digest == Decoder(model, tokenizer).digest
    assert loaded.write(ask(messages)) == Decoder(model, tokenizer).write(ask(messages))


def refused(folder):
    with pytest.raises(CheckpointError) as error:
        Decoder.from_pretrained(folder)
    message = str(error.value)
    assert str(folder) in message and "\n" not in message and message.endswith(".")
    return message


def test_unusable_checkpoints_are_refused_in_one_sentence(saved, tmp_path):
    refused(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty")
    template = saved / "chat_template.jinja"
    template.write_text("{{ messages }}")
    assert "not trained by sgd-hf" in refused(saved)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [None, b"", b"{garbage"])
def test_a_damaged_file_is_refused(saved, name, content):
    if content is None:
        (saved / name).unlink()
    else:
        (saved / name).write_bytes(content)
    refused(saved)


def test_weights_of_another_architecture_are_refused(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}))
    refused(saved)


def test_pickled_weights_are_refused(model, saved):
    torch.save(model.state_dict(), saved / "pytorch_model.bin")
    (saved / "model.safetensors").unlink()
    refused(saved)


def test_a_pickle_beside_safe_weights_is_refused_by_name(saved):
    shutil.copy(saved / "config.json", saved / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pytorch_model.bin"):
        Decoder.from_pretrained(saved)
