"""What is asked of a vLLM server is what `Decoder` would compute, and its answers are read as `Decoder`'s are."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

import pytest
import torch
from asking import ask
from transformers import AutoConfig, AutoModelForCausalLM

from sgd_hf.agent.decoder import Decoder
from sgd_hf.agent.decoding import GREEDY, MAX_NEW_TOKENS, Decoding
from sgd_hf.agent.policy import Ask
from sgd_hf.agent.served import Served, backend
from sgd_hf.core.errors import CheckpointError, InputError, ServerError
from sgd_hf.core.safety import weights_digest
from sgd_hf.corpus.serving import vllm_home

ACTIONS = ("pick up metal pot", "pick up thermometer", "pick up thermometer in cupboard")


def prompt(text):
    return [{"role": "user", "content": text}]


PROMPTS = [prompt(text) for text in ("task: boil water", "task: find a plant\nnext sub-goal?", "task: melt chocolate\nlast: none")]


class Stub(ThreadingHTTPServer):
    """As much of vLLM's completions as is used: greedy, of a transformers model. ``asked`` are the bodies."""

    def __init__(self, decoder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.decoder = decoder
        self.asked = []
        self.together = 0
        self.gate = None
        self.lock = threading.Lock()

    def completion(self, body):
        self.asked.append(body)
        if self.gate:
            self.gate.wait(timeout=20)
        likely = []
        allowed = body.get("allowed_token_ids", range(self.decoder.model.config.vocab_size))

        def choose(logits, written):
            nonlocal likely
            likely = likely or logits.log_softmax(-1).topk(body.get("logprobs") or 1)
            return max(allowed, key=lambda token: float(logits[token])) if len(written) < body["max_tokens"] else self.decoder._stop

        with self.lock, torch.inference_mode():
            tokens = [*self.decoder._batch([body["prompt"]], [choose])[0], self.decoder._stop]
        first = {f"token_id:{token}": value for value, token in zip(likely[0].tolist(), likely[1].tolist(), strict=True)}
        logprobs = {"tokens": [], "token_logprobs": [], "text_offset": [], "top_logprobs": [first]} if body.get("logprobs") else None
        found = {"index": 0, "text": "", "finish_reason": "stop", "token_ids": tokens, "logprobs": logprobs}
        return {"id": "1", "object": "text_completion", "created": 0, "model": body["model"], "choices": [found]}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps(self.server.completion(body)).encode() if self.path == "/v1/completions" else b"{}"
        self.send_response(200 if self.path == "/v1/completions" else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@contextmanager
def listening(decoder):
    stub = Stub(decoder)
    threading.Thread(target=stub.serve_forever, daemon=True).start()
    try:
        yield stub
    finally:
        stub.shutdown()
        stub.server_close()


@pytest.fixture
def decoder(model, tokenizer):
    return Decoder(model, tokenizer)


@pytest.fixture
def stub(decoder):
    with listening(decoder) as stub:
        yield stub


@pytest.fixture
def made(stub, tokenizer):
    made = []

    def served(decoding=GREEDY):
        made.append(Served(f"http://127.0.0.1:{stub.server_port}/v1", "tiny", tokenizer, "digest", decoding))
        return made[-1]

    yield served
    for one in made:
        one.close()


def test_the_answers_are_those_of_the_decoder(made, decoder):
    alone = [decoder.write(ask(messages)) for messages in PROMPTS]
    assert made().write_many([Ask("flat", messages) for messages in PROMPTS]) == alone
    assert [made().write(ask(messages)) for messages in PROMPTS] == alone


def test_a_restricted_answer_is_one_of_the_strings(made, decoder, stub):
    assert made().write(ask(PROMPTS[0], among=ACTIONS)) == decoder.write(ask(PROMPTS[0], among=ACTIONS))
    assert made().write(ask(PROMPTS[0], among=ACTIONS[:1])) == ACTIONS[0]
    assert all(len(body["allowed_token_ids"]) > 1 and body["temperature"] == 0 for body in stub.asked)


@pytest.mark.parametrize("messages", PROMPTS)
def test_a_forbidden_answer_is_written_anew_from_another_first_token(made, decoder, messages):
    said = decoder.write(ask(messages))
    assert made().write(ask(messages, never=said)) == decoder.write(ask(messages, never=said)) != said
    assert made().write(ask(messages, never="something else")) == said


def test_an_answer_that_ends_at_once_is_empty(made, monkeypatch):
    monkeypatch.setattr(Stub, "completion", ended_at_once)
    assert made().write(ask(PROMPTS[0], never="END")) == ""


def ended_at_once(stub, body):
    """The end mark and nothing before it, with the likeliest first tokens all the same."""
    likely = {"token_id:5": -1.0, f"token_id:{stub.decoder._stop}": -0.1}
    logprobs = {"tokens": [], "token_logprobs": [], "text_offset": [], "top_logprobs": [likely]}
    found = {"index": 0, "text": "", "finish_reason": "stop", "token_ids": [stub.decoder._stop], "logprobs": logprobs}
    return {"id": "1", "object": "text_completion", "created": 0, "model": body["model"], "choices": [found]}


def test_the_questions_of_a_batch_are_open_at_once(made, stub):
    stub.gate = threading.Barrier(8)  # nobody is answered until all have asked
    asks = [Ask("flat", prompt(f"task: {i}")) for i in range(8)]
    assert len(made().write_many(asks)) == 8 and not stub.gate.broken


def test_sampling_is_a_function_of_the_draws(made, stub):
    sampled = made(Decoding(temperature=0.5))

    def asked(seed):
        stub.asked.clear()
        sampled.write_many([Ask("flat", messages) for messages in PROMPTS], [Random(seed), Random(seed + 1), Random(seed + 2)])
        return {tuple(body["prompt"]): (body["temperature"], body["seed"]) for body in stub.asked}

    first = asked(1)
    assert first == asked(1) != asked(2) and {temperature for temperature, _ in first.values()} == {0.5}
    assert len({seed for _, seed in first.values()}) == len(PROMPTS)


def test_only_our_end_mark_ends_a_free_answer(made, stub, tokenizer):
    made().write(ask(PROMPTS[0]))
    body = stub.asked[-1]
    assert body["stop_token_ids"] == [tokenizer.convert_tokens_to_ids("<|im_end|>")] and body["ignore_eos"]
    assert body["max_tokens"] == MAX_NEW_TOKENS and body["prompt"] == decoder_prompt(tokenizer, PROMPTS[0])


def decoder_prompt(tokenizer, messages):
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)


def test_a_beam_search_is_refused_and_a_server_that_is_gone_is_one_sentence(stub, tokenizer, made):
    with backend("vllm") as load, pytest.raises(InputError, match="--beams"):
        load("no such folder", None, Decoding(beams=3))
    lost = Served(f"http://127.0.0.1:{stub.server_port}/nowhere", "tiny", tokenizer, "digest")
    with pytest.raises(ServerError, match="gave no answer") as raised:
        lost.write_many([Ask("flat", messages) for messages in PROMPTS])
    lost.close()
    assert str(raised.value).count("\n") == 0


def test_what_is_no_checkpoint_is_one_sentence(tmp_path):
    for source in (tmp_path, tmp_path / "planner" / "checkpoint-9", "nowhere"):
        with backend("vllm") as load, pytest.raises(CheckpointError, match="is not a checkpoint that can be loaded") as raised:
            load(source, None, GREEDY)
        assert str(raised.value).count("\n") == 0


def test_transformers_is_the_default_and_a_server_goes_with_its_context(monkeypatch, stub, model, tokenizer, tmp_path):
    with backend("transformers") as load:
        assert load is None
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    up = []

    @contextmanager
    def serving(name, *, flags):
        up.append((name, flags))
        yield f"http://127.0.0.1:{stub.server_port}/v1"
        up.clear()

    monkeypatch.setattr("sgd_hf.corpus.serving.serving", serving)
    with backend("vllm") as load:
        one = load(tmp_path, None, GREEDY)
        [(name, flags)] = up
        assert name == str(tmp_path) and flags[flags.index("--max-model-len") + 1] == "4096"
        assert one.digest == f"{weights_digest(tmp_path)}-vllm" and one.write(ask(PROMPTS[0]))
    assert not up


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.skipif(not (vllm_home() / "bin" / "vllm").exists(), reason="there is no environment with vLLM")
def test_a_real_server_answers_as_transformers_does(tokenizer, tmp_path):
    """In float32, where nothing hangs on the last digits; heads as wide as vLLM's kernels want them."""
    torch.manual_seed(0)
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 64}
    config = AutoConfig.for_model("llama", **shape, vocab_size=len(tokenizer), max_position_embeddings=1024, initializer_range=0.4, **ids)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    decoder = Decoder.from_pretrained(tmp_path)
    asks = [Ask("planner", messages, never=decoder.write(ask(messages))) for messages in PROMPTS]
    asks += [Ask("executor", messages, among=ACTIONS[:2]) for messages in PROMPTS]
    asks += [
        Ask("planner", messages, pattern=r"(?:pick_up|open)\((?:orange|red box)(?:, (?:orange|red box)){0,2}\)") for messages in PROMPTS
    ]
    asks += [Ask("flat", prompt(f"task: {i} {text}")) for i in range(6) for text in ("boil water", "find a plant", "open the door")]
    with backend("vllm") as load:
        assert load(tmp_path, None, GREEDY).write_many(asks) == decoder.write_many(asks)
