"""What is read beside others, on top of what a slot has kept, gives the logits of the whole conversation read alone."""

import random

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sgd_hf.agent.reader import Feed, Reader
from sgd_hf.core.errors import CheckpointError

SHAPE = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128}


def made(model_type, **more):
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, vocab_size=100, initializer_range=0.3, max_position_embeddings=512, **SHAPE, **more)
    return AutoModelForCausalLM.from_config(config).eval()


def read_alone(model, tokens, last):
    with torch.inference_mode():
        return model(torch.tensor([tokens])).logits[0, -last:]


@pytest.mark.parametrize("model", [made("llama"), made("mistral", sliding_window=7, head_dim=16), made("qwen3", head_dim=16)])
def test_a_pass_gives_each_conversation_what_it_would_get_alone(model):
    draw, reader, told = random.Random(0), Reader(model), [[] for _ in range(4)]
    for _ in range(30):
        feeds = []
        for slot in draw.sample(range(4), draw.randint(1, 4)):
            kept = told[slot][: draw.randint(0, len(told[slot]))]  # it goes on, or goes back to where it was
            told[slot] = kept + [draw.randrange(100) for _ in range(draw.choice([1, 2, 30]))]
            feeds.append(Feed(told[slot], slot, last=draw.randint(1, min(3, len(told[slot])))))
        for feed, logits in zip(feeds, reader.read(feeds), strict=True):
            torch.testing.assert_close(logits, read_alone(model, feed.tokens, feed.last), atol=1e-3, rtol=1e-4)


def test_what_was_kept_can_be_gone_on_from_in_a_usual_cache():
    model, tokens = made("llama"), list(range(20))
    reader = Reader(model)
    reader.read([Feed([7] * 30, 1), Feed(tokens, 0)])
    with torch.inference_mode():
        further = model(torch.tensor([[5]]), cache=reader.cache(0)).logits[0]
    torch.testing.assert_close(further, read_alone(model, [*tokens, 5], 1), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(reader.read([Feed([*tokens, 6], 0)])[0], read_alone(model, [*tokens, 6], 1), atol=1e-3, rtol=1e-4)


def test_a_pass_that_breaks_off_leaves_nothing_half_read(monkeypatch):
    model, tokens = made("llama"), list(range(20))
    reader = Reader(model)
    reader.read([Feed(tokens, 0)])
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(model.model.layers[1], "forward", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        reader.read([Feed([*tokens[:5], *range(40, 60)], 0)])
    torch.testing.assert_close(reader.read([Feed(tokens, 0, 3)])[0], read_alone(model, tokens, 3), atol=1e-3, rtol=1e-4)


def test_layers_that_cannot_go_back_are_refused():
    model = made("llama")
    model.config.layer_types = ["conv", "full_attention"]
    with pytest.raises(CheckpointError, match=r"layers of conv.*attention only\.$"):
        Reader(model)
