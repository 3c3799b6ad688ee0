"""Text from an encoder-decoder: greedy as by hand, the same alone and in a batch, restricted where asked, wide where wide."""

from itertools import product
from random import Random

import pytest
import torch
from asking import ask
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from sgd_hf.agent.decoder import Decoder
from sgd_hf.agent.decoding import Decoding
from sgd_hf.agent.policy import Ask
from sgd_hf.agent.seq2seq import Seq2SeqDecoder
from sgd_hf.core.prompts import as_text

ACTIONS = ("pick up thermometer", "pick up the thermometer", "pick up metal pot", "pick", "open door to kitchen")
SHORT = 8
TEXTS = ("task: boil water", "task: find a plant\nin the kitchen, or else outside", "focus on the red box in the workshop")


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """A model with random weights seldom comes to an end."""
    monkeypatch.setattr("sgd_hf.agent.seq2seq.MAX_NEW_TOKENS", SHORT)


def user(text):
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def parts(t5):
    """Model and tokenizer, the weights made large, so that the model says different things."""
    torch.manual_seed(1)
    model = AutoModelForSeq2SeqLM.from_pretrained(t5).eval()
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 0.1)
        model.lm_head.weight[1] *= 2
    return model, AutoTokenizer.from_pretrained(t5)


@torch.inference_mode()
def logits(parts, messages, written):
    model, tokenizer = parts
    given = tokenizer(as_text(messages, "</s>"), return_tensors="pt")
    return model(**given, decoder_input_ids=torch.tensor([[0, *written]])).logits[0, -1]


def by_hand(parts, messages, barred=()):
    """The tokens of a greedy answer."""
    written = []
    while len(written) < SHORT:
        scores = logits(parts, messages, written)
        if not written:
            scores = scores.index_fill(0, torch.tensor(barred, dtype=torch.long), -torch.inf)
        if (token := int(scores.argmax())) == 1:
            break
        written.append(token)
    return written


def test_an_answer_is_that_by_hand_alone_and_in_a_batch(parts):
    decoder = Seq2SeqDecoder(*parts)
    alone = [decoder.write(ask(user(text))) for text in TEXTS]
    assert alone == [parts[1].decode(by_hand(parts, user(text))).strip() for text in TEXTS]
    assert decoder.write_many([Ask("executor", user(text)) for text in TEXTS]) == alone
    assert len(set(alone)) > 1, "a model that says one thing proves nothing"


def test_a_restricted_answer_is_greedy_among_those_allowed(parts):
    decoder = Seq2SeqDecoder(*parts)
    asks = [Ask("executor", user(text), among) for text, among in product(TEXTS, (ACTIONS, ACTIONS[:1], ACTIONS[1:3]))]
    answers = decoder.write_many(asks)
    assert answers == [decoder.write(one) for one in asks]
    for one, answer in zip(asks, answers, strict=True):
        paths = [[*parts[1](text, add_special_tokens=False)["input_ids"], 1] for text in one.among]
        written = []
        while not written or written[-1] != 1:
            branches = sorted({path[len(written)] for path in paths if path[: len(written)] == written})
            written.append(branches[int(logits(parts, one.messages, written)[branches].argmax())])
        assert answer == parts[1].decode(written[:-1]) and answer in one.among


@pytest.mark.parametrize("beams", [1, 3])
def test_what_must_not_be_said_is_not_said(parts, beams):
    decoder = Seq2SeqDecoder(*parts, Decoding(beams=beams))
    first = decoder.write(ask(user(TEXTS[0])))
    other = decoder.write(ask(user(TEXTS[0]), never=first))
    assert first and other != first
    both = decoder.write_many([Ask("planner", user(TEXTS[0]), never=first), Ask("planner", user(TEXTS[0]))])
    assert both == [other, first]
    if beams == 1:
        barred = by_hand(parts, user(TEXTS[0]))[:1]
        assert other == parts[1].decode(by_hand(parts, user(TEXTS[0]), barred)).strip()


def test_a_beam_search_finds_what_is_likelier_alone_and_in_a_batch(parts):
    def likelihood(messages, answer):
        tokens = parts[1](answer, add_special_tokens=False)["input_ids"]
        steps = [logits(parts, messages, tokens[:i]).log_softmax(-1)[token] for i, token in enumerate(tokens)]
        return float(sum(steps)) / len(steps)

    wide, narrow = Seq2SeqDecoder(*parts, Decoding(beams=5)), Seq2SeqDecoder(*parts)
    alone = [wide.write(ask(user(text))) for text in TEXTS]
    assert wide.write_many([Ask("executor", user(text)) for text in TEXTS]) == alone
    greedy = [narrow.write(ask(user(text))) for text in TEXTS]
    gains = [likelihood(user(t), a) - likelihood(user(t), g) for t, a, g in zip(TEXTS, alone, greedy, strict=True)]
    assert sum(gains) > 0


def test_a_sample_hangs_on_its_own_draws_alone(parts):
    decoder = Seq2SeqDecoder(*parts, Decoding(temperature=2.0))
    asks = [Ask("executor", user(text)) for text in TEXTS]
    together = decoder.write_many(asks, [Random(i) for i in range(len(asks))])
    assert together == [decoder.write(one, draw=Random(i)) for i, one in enumerate(asks)]
    assert len({decoder.write(ask(user(TEXTS[0])), draw=Random(i)) for i in range(5)}) > 1


def test_a_checkpoint_is_loaded_as_what_it_is(t5, model, tokenizer, tmp_path):
    loaded = Decoder.from_pretrained(t5, decoding=Decoding(beams=2))
    assert isinstance(loaded, Seq2SeqDecoder) and loaded.decoding.beams == 2 and len(loaded.digest) == 12
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert not isinstance(Decoder.from_pretrained(tmp_path), Seq2SeqDecoder)
