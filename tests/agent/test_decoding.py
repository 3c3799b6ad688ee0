"""Beams, sampling and batches: each agrees with a plainer way to the same answer."""

import random

import pytest
import torch
from asking import ask

from sgd_hf.agent.decoder import MAX_NEW_TOKENS, Decoder
from sgd_hf.agent.decoding import Decoding
from sgd_hf.core.errors import InputError

ACTIONS = ("pick up thermometer", "pick up the thermometer", "pick up metal pot", "pick", "open door to kitchen")
PROMPTS = [
    [{"role": "user", "content": text}]
    for text in ("task: boil water", "find", "task: find a plant\nin the kitchen, and then some more of it", "wait", "room: hallway " * 30)
]


def asks(**more):
    return [ask(messages, **more) for messages in PROMPTS]


def test_a_batch_answers_like_one_after_the_other(model, tokenizer):
    decoder = Decoder(model, tokenizer)
    alone = [decoder.write(ask(messages)) for messages in PROMPTS]
    assert len(set(alone)) > 2, "a model that says one thing proves nothing"
    assert decoder.write_many(asks()) == alone
    assert decoder.write_many(asks()[:1]) == alone[:1]
    assert decoder.write_many(asks(among=ACTIONS)) == [decoder.write(ask(messages, among=ACTIONS)) for messages in PROMPTS]


def test_a_batch_may_mix_restrictions(model, tokenizer):
    decoder = Decoder(model, tokenizer)
    said = decoder.write(ask(PROMPTS[0]))
    mixed = [ask(PROMPTS[0], never=said), ask(PROMPTS[0], among=ACTIONS), ask(PROMPTS[0])]
    expected = [decoder.write(ask(PROMPTS[0], never=said)), decoder.write(ask(PROMPTS[0], among=ACTIONS)), said]
    assert decoder.write_many(mixed) == expected and expected[0] != said


@pytest.mark.parametrize("beams", [2, 5])
def test_beams_are_those_of_transformers(model, tokenizer, beams):
    """But for one thing: an answer that ends is taken before a likelier one that the limit cuts off."""
    decoder = Decoder(model, tokenizer, Decoding(beams=beams))
    for messages in PROMPTS:
        tokens = torch.tensor([tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)])
        theirs = model.generate(
            tokens, attention_mask=torch.ones_like(tokens), num_beams=beams, do_sample=False, max_new_tokens=MAX_NEW_TOKENS,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, num_return_sequences=beams,
        )[:, tokens.shape[1] :].tolist()  # fmt: skip
        written = next((answer for answer in theirs if tokenizer.eos_token_id in answer), theirs[0])
        while written[-1] in (tokenizer.eos_token_id, tokenizer.pad_token_id):
            written.pop()
        assert decoder.write(ask(messages)) == tokenizer.decode(written).strip()


def test_one_beam_is_greedy_and_beams_leave_the_cache_as_it_should_be(model, tokenizer):
    greedy, wide = Decoder(model, tokenizer), Decoder(model, tokenizer, Decoding(beams=3))
    assert [Decoder(model, tokenizer, Decoding(beams=1)).write(ask(m)) for m in PROMPTS] == [greedy.write(ask(m)) for m in PROMPTS]
    fresh = [Decoder(model, tokenizer, Decoding(beams=3)).write(ask(messages)) for messages in PROMPTS]
    assert [wide.write(ask(messages)) for messages in PROMPTS] == fresh == wide.write_many(asks())


def test_what_must_never_be_said_is_not_said_by_beams(model, tokenizer):
    decoder = Decoder(model, tokenizer, Decoding(beams=3))
    for messages in PROMPTS:
        said = decoder.write(ask(messages))
        assert decoder.write(ask(messages, never=said)) != said


def test_sampling_is_a_function_of_its_draws_alone_or_in_a_batch(model, tokenizer):
    # Nearly even odds of a thousand tokens would lie so close that a draw between two of them hangs on the last digits.
    decoder = Decoder(model, tokenizer, Decoding(temperature=0.2))

    def alone(seed):
        return [decoder.write(ask(messages), draw=random.Random(seed + i)) for i, messages in enumerate(PROMPTS)]

    assert alone(0) == alone(0) == decoder.write_many(asks(), [random.Random(i) for i in range(len(PROMPTS))])
    assert alone(0) != alone(100)


def test_a_cold_sample_is_the_greedy_answer(model, tokenizer):
    cold = Decoder(model, tokenizer, Decoding(temperature=1e-4))
    assert [cold.write(ask(m), draw=random.Random(0)) for m in PROMPTS] == [Decoder(model, tokenizer).write(ask(m)) for m in PROMPTS]


def test_first_tokens_are_drawn_with_their_probabilities(model, tokenizer):
    from sgd_hf.agent.decoder import _sampled

    draw, logits = random.Random(0), torch.tensor([0.0, 1.0, 2.0, -torch.inf])
    found = torch.tensor([_sampled(logits, draw) for _ in range(6000)]).bincount(minlength=4) / 6000
    assert torch.allclose(found, logits.softmax(-1), atol=0.025) and found[3] == 0


@pytest.mark.parametrize("wrong", [{"beams": 0}, {"temperature": -1.0}, {"beams": 2, "temperature": 0.5}])
def test_a_decoding_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(InputError, match="--beams"):
        Decoding(**wrong)
