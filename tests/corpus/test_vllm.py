"""A real vLLM, started by `sgd annotate` itself: whatever the model's wit, every answer is well formed and covers.

Needs the environment that `sgd doctor --make-vllm-env` makes; the model is a tiny llama with random weights.
"""

import json
import re

import pytest
from recorded import gold_paths

from sgd_hf.core.records import to_row
from sgd_hf.core.store import Store
from sgd_hf.corpus.alignment import Rejected
from sgd_hf.corpus.annotate import read_annotations
from sgd_hf.corpus.constraints import CONTINUE
from sgd_hf.corpus.serving import vllm_home
from sgd_hf.corpus.templates import TEMPLATES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.skipif(not (vllm_home() / "bin" / "vllm").exists(), reason="no vLLM here; `sgd doctor --make-vllm-env` makes it"),
]
GOLDS = [gold for gold in gold_paths() if len(gold.steps) <= 13]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A llama of 0.2 million random weights that reads 8,192 tokens, and a tokenizer of 2,000 pieces."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from sgd_hf.training.student import chat_template, scratch_tokenizer

    texts = [m["content"] for gold in GOLDS for template in TEMPLATES.values() for m in template.question(gold, 0, "").messages]
    tokenizer = scratch_tokenizer(texts, 2000)
    tokenizer.chat_template = chat_template()
    torch.manual_seed(0)
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(
        "llama", hidden_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, intermediate_size=64,
        tie_word_embeddings=True, vocab_size=len(tokenizer), max_position_embeddings=8192, initializer_range=0.4, **ids,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-llama"
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_model_without_wit_annotates_without_a_malformed_answer(checkpoint, sgd, tmp_path):
    with Store(tmp_path / "gold", "collect", {"split": "train"}) as store:
        for gold in GOLDS:
            store.append(gold.key, {"gold": to_row(gold), "reason": ""})
        store.finish({"accepted": len(GOLDS)})
    asked = ("annotate", "--teacher", "vllm", "--model", checkpoint, "--template", "labels", "--repairs", "0")
    code, said = sgd(*asked, "--gold", tmp_path / "gold", "--out", tmp_path / "out")
    assert code == 0, said
    found = list(read_annotations(tmp_path / "out"))
    assert {a.key for a in found} == {gold.key for gold in GOLDS} and {a.teacher for a in found} == {"tiny-llama"}
    for annotation in found:
        labels = json.loads(annotation.raw)
        assert all(re.fullmatch(r"a[1-9]\d*", key) for key in labels) and CONTINUE not in labels.values()


def test_every_grammar_and_schema_is_taken_and_obeyed(checkpoint, tmp_path):
    """Hot and with random weights, the worst case: by grammar and, as any other server would, by schema."""
    import openai

    from sgd_hf.corpus.serving import serving

    with serving(str(checkpoint), log=tmp_path / "serve.log") as url, openai.OpenAI(base_url=url, api_key="none") as client:
        for gold in GOLDS[:4]:
            for name in ("labels", "grounded"):
                template = TEMPLATES[name]
                question = template.question(gold, 0, "")
                schema = {"type": "json_schema", "json_schema": {"name": "answer", "schema": question.schema, "strict": True}}
                ways = [{"extra_body": {"structured_outputs": {"grammar": question.grammar}}}]
                ways += [{"response_format": schema}] if name == "labels" else []  # the strings of grounded have no bound in a schema
                for way in ways:
                    most = 200 * len(gold.steps) + 100
                    reply = client.chat.completions.create(
                        model=str(checkpoint), messages=question.messages, max_tokens=most, temperature=1.0, seed=1, **way
                    )
                    [choice] = reply.choices
                    assert choice.finish_reason == "stop"
                    answer = json.loads(choice.message.content)
                    read = template.segments(gold, choice.message.content)
                    if name == "labels":
                        assert not isinstance(read, Rejected), read
                    else:  # verbs and ranges are right by construction, names are not
                        assert [s["first"] for s in answer["segments"]] == [1, *(s["last"] + 1 for s in answer["segments"][:-1])]
                        assert not isinstance(read, Rejected) or "occurs nowhere" in read.reason
