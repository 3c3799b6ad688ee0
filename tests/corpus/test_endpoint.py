"""A teacher over HTTP, against a real server on loopback: faults, kills, budgets, canary, and a key that is nowhere."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

import pytest
from annotate_endpoint import CONCURRENCY, clones, gold_folder, recording, run
from recorded import gold_paths
from teacher_server import TeacherServer, obedient

from sgd_hf.core.errors import InputError, ServerError
from sgd_hf.core.store import read_manifest
from sgd_hf.corpus import endpoint
from sgd_hf.corpus.annotate import annotate, read_annotations
from sgd_hf.corpus.endpoint import EndpointTeacher
from sgd_hf.corpus.spending import Budget
from sgd_hf.corpus.templates import TEMPLATES

KEY = "sk-secret-1234567890"


@pytest.fixture(scope="module")
def golds():
    return sorted(gold_paths(), key=lambda path: len(path.steps))


@pytest.fixture
def folder(golds, tmp_path):
    """Twelve paths."""
    return gold_folder(tmp_path / "gold", list(clones(golds[:6], 12)))


def teacher(server, template="labels", **more):
    return EndpointTeacher(server.url, "tiny", TEMPLATES[template], **more)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_answer_is_paid_once_and_kept_whole_whatever_goes_wrong(folder, golds, tmp_path):
    with TeacherServer(faults=0.7, latency=0.05, slow=0.1) as server:
        found = annotate(folder, tmp_path / "out", teacher(server, concurrency=4))
    assert found["accepted"] == 12 and 2 <= server.most_open <= 4
    assert len(server.paid) == len(set(server.paid)) == found["usage"]["answers"] == 13 < server.requests  # one is the canary
    answers = lines(tmp_path / "out" / "answers.jsonl")
    assert sum(answer["prompt_tokens"] for answer in answers) == found["usage"]["prompt_tokens"] > 0
    assert {answer["finish"] for answer in answers} == {"stop"} and all(answer["seconds"] > 0 for answer in answers)
    assert found["usage"]["cached_tokens"] > 0


@pytest.mark.slow
def test_twenty_kills_lose_nothing_double_nothing_and_pay_little_twice(golds, tmp_path):
    paths = list(clones(golds, 200))
    folder = gold_folder(tmp_path / "gold", paths)
    answers = recording(paths, TEMPLATES["paper"], wrong=lambda number: number % 20 == 7)
    with TeacherServer(answers) as server:
        run(folder, tmp_path / "whole", server.url)
        asked = len(server.paid)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["annotate_endpoint", "openai"])
    draw = random.Random(4)
    before = b""
    with TeacherServer(answers, faults=0.2, latency=0.01, slow=0.1, seed=4) as server:
        for _ in range(20):
            child = context.Process(target=run, args=(folder, tmp_path / "out", server.url))
            goal = len(server.paid) + draw.randint(1, 9)
            child.start()
            while len(server.paid) < goal:
                assert child.is_alive()
                time.sleep(0.002)
            time.sleep(draw.random() * 0.02)
            child.kill()
            child.join()
            assert child.exitcode == -signal.SIGKILL
            stored = tmp_path / "out" / "answers.jsonl"
            now = stored.read_bytes() if stored.exists() else b""
            assert now.startswith(before[: before.rfind(b"\n") + 1])
            before = now
        assert before.count(b"\n") < asked
        run(folder, tmp_path / "out", server.url)
    assert asked <= len(server.paid) <= asked + 20 * CONCURRENCY
    kept = lines(tmp_path / "out" / "answers.jsonl")
    assert len(kept) == len({answer["key"] for answer in kept}) == asked
    whole, found = (sorted(lines(tmp_path / name / "rows.jsonl"), key=lambda row: row["key"]) for name in ("whole", "out"))
    assert found == whole and len(found) == 200
    assert sum(row.get("repaired") == "re-ask" for row in found) == 10


def test_a_budget_stops_in_time_and_a_larger_one_goes_on(folder, tmp_path):
    prices = {"price_in": 1.0, "price_out": 10.0}
    out = tmp_path / "out"
    with TeacherServer() as server:
        whole = annotate(folder, tmp_path / "whole", teacher(server), budget=Budget(**prices))["usage"]
        assert whole["cost"] == pytest.approx((whole["prompt_tokens"] + 10 * whole["completion_tokens"]) / 1e6, abs=1e-6)
        spent, rows = 0.0, 0
        for share in (0.0, 0.55, 0.8):
            found = annotate(folder, out, teacher(server, concurrency=3), budget=Budget(whole["cost"] * share, **prices))
            assert found["owed"] == 12 - found["accepted"] > 0 and spent <= found["usage"]["cost"] <= whole["cost"] * share
            spent, rows = found["usage"]["cost"], max(rows, found["accepted"])
            assert len(lines(out / "rows.jsonl")) == found["accepted"] == rows
            assert "summary" not in read_manifest(out, "annotate")
        assert rows > 0
        found = annotate(folder, out, teacher(server), budget=Budget(max_tokens=10**6, **prices))
        assert "owed" not in found and found["usage"]["cost"] == whole["cost"]
    assert len(server.paid) == 26 == 2 * len(set(server.paid))


def test_a_budget_needs_prices_and_a_server_that_counts(folder, tmp_path):
    with pytest.raises(InputError, match="--price-in"):
        Budget(max_cost=1.0)
    with TeacherServer() as server:
        server._body = lambda request, prompt, shared, found: {
            "id": "x", "object": "chat.completion", "created": 0, "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": found}}],
        }  # fmt: skip
        with pytest.raises(InputError, match="how many tokens"):
            annotate(folder, tmp_path / "out", teacher(server), budget=Budget(max_tokens=10**9))


@pytest.mark.parametrize("answer", ["yes", '{"word": "yes"}', (400, {"error": {"message": "no response_format here"}})])
def test_a_server_that_ignores_schemas_is_found_out_before_anything_is_paid(folder, tmp_path, answer):
    with (
        TeacherServer(lambda request: answer) as server,
        pytest.raises(InputError, match=r"does not honour the JSON schema .*--template paper"),
    ):
        annotate(folder, tmp_path / "out", teacher(server))
    assert server.requests == 1
    with TeacherServer() as server:  # another server, another proof
        assert annotate(folder, tmp_path / "out", teacher(server))["accepted"] == 12


def test_a_server_that_was_mended_proves_itself_anew(folder, tmp_path):
    mended = False
    with TeacherServer(lambda request: obedient(request) if mended else "yes") as server:
        for _ in range(2):
            with pytest.raises(InputError, match="does not honour"):
                annotate(folder, tmp_path / "out", teacher(server))
        mended = True
        found = annotate(folder, tmp_path / "out", teacher(server))
        assert (found["accepted"], found["usage"]["re_asks"], server.requests) == (12, 0, 3 + 12)


@pytest.mark.parametrize("template", ["paper", "labels"])
def test_a_server_that_refuses_everything_rejects_no_path(folder, tmp_path, template):
    with TeacherServer(lambda request: (400, {"error": {"message": "seed is not supported"}})) as server:
        with pytest.raises(InputError, match=r"test question .*seed is not supported"):
            annotate(folder, tmp_path / "out", teacher(server, template))
        assert server.requests == 1
    assert not lines(tmp_path / "out" / "rows.jsonl")


def test_free_text_asks_for_no_structure_and_a_grammar_goes_to_vllm_only(folder, golds, tmp_path):
    seen = []

    def answer(request):
        seen.append(request)
        grammar = request.get("structured_outputs", {}).get("grammar")
        return json.dumps({"word": "xylograph-7"}) if grammar and "xylograph" in grammar else "?"

    with TeacherServer(answer) as server:
        annotate(folder, tmp_path / "paper", teacher(server, "paper"))
        assert len(seen) == 1 + 12 and not any("response_format" in request or "structured_outputs" in request for request in seen)
        seen.clear()
        annotate(folder, tmp_path / "labels", teacher(server, grammar=True))
    assert all("response_format" not in request and "root ::=" in request["structured_outputs"]["grammar"] for request in seen)


def test_a_question_that_the_server_does_not_take_is_a_rejected_row(folder, tmp_path):
    long = "a made-up model's context is too short"

    def answer(request):
        return (400, {"error": {"message": long}}) if "Number 3" in str(request["messages"]) else obedient(request)

    with TeacherServer(answer) as server:
        found = annotate(folder, tmp_path / "out", teacher(server), repairs=2)
        assert (found["accepted"], found["rejected"]) == (11, 1) and long in next(iter(found["reasons"]))
        requests = server.requests
        annotate(folder, tmp_path / "out", teacher(server), repairs=2)
    assert server.requests == requests == 13


def test_an_answer_that_was_cut_off_is_asked_again(folder, tmp_path):
    def answer(request):
        again = "earlier answer" in request["messages"][-1]["content"]
        text = obedient(request)
        return text if again or "xylograph" in text else (text, "length")

    with TeacherServer(answer) as server:
        found = annotate(folder, tmp_path / "out", teacher(server), repairs=1)
    assert found["repaired"] == {"re-ask": 12}


def test_what_stays_cut_off_is_not_taken_for_the_whole(golds, tmp_path):
    """The text of a free answer reads well up to where it was cut; the fallback would stretch its last sub-goal to the end."""
    folder = gold_folder(tmp_path / "gold", golds)
    whole = recording(golds, TEMPLATES["paper"])

    def answer(request):
        text = whole(request)
        return text[: len(text) * 2 // 3], "length"

    with TeacherServer(answer) as server:
        found = annotate(folder, tmp_path / "out", teacher(server, "paper"), repairs=1)
    assert (found["accepted"], found["rejected"]) == (0, len(golds)) and "token limit" in next(iter(found["reasons"]))


def test_a_server_that_fails_stops_the_run_and_what_was_answered_stays(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint, "RETRIES", 1)
    down = False

    def answer(request):
        return (503, {"error": {"message": "made-up maintenance"}}) if down and "xylograph" not in str(request) else obedient(request)

    class Failing(TeacherServer):
        def _serve(self, handler):
            nonlocal down
            down = down or len(self.paid) >= 6
            super()._serve(handler)

    with Failing(answer) as server:
        with pytest.raises(
            ServerError, match=r"of 12 gold paths are not annotated yet, because .*503.*made-up maintenance; .*same command"
        ):
            annotate(folder, tmp_path / "out", teacher(server, concurrency=1))
        kept = lines(tmp_path / "out" / "rows.jsonl")
        assert len(kept) == 5 and server.requests == 6 + 5 * 2  # a canary, five answers, five failures with their retry
    with TeacherServer() as server:
        assert annotate(folder, tmp_path / "out", teacher(server))["accepted"] == 12
        assert len(server.paid) == 1 + 7


@pytest.mark.parametrize("body", [{"error": {"message": "queue full"}}, [], "<html>", {"choices": []}])
def test_a_body_that_is_no_completion_is_no_answer(folder, tmp_path, body):
    with TeacherServer(lambda request: "?") as server:
        server._body = lambda *_: body
        with pytest.raises(ServerError, match="something else than a chat completion"):
            annotate(folder, tmp_path / "out", teacher(server, "paper", concurrency=1))


def test_nobody_there(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint, "RETRIES", 1)
    with TeacherServer() as server:
        pass
    with pytest.raises(ServerError, match=r"12 of 12 .*127\.0\.0\.1:\d+ did not answer: connection error, 2 times"):
        annotate(folder, tmp_path / "out", teacher(server))


def test_wrong_keys_and_models_are_one_sentence(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for status, words in ((401, "OPENAI_API_KEY"), (403, "may use tiny"), (404, "--model")):
        refusal = (status, {"error": {"message": f"wrong: {KEY}"}})
        with TeacherServer(lambda request, refusal=refusal: refusal) as server, pytest.raises(InputError, match=words) as caught:
            annotate(folder, tmp_path / "out", teacher(server))
        assert KEY not in str(caught.value) and server.requests == 1


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "http://user:password@host/v1",
        "http://:password@host/v1",
        "http://@host/v1",
        "https://host/v1?key=1",
        "ftp://host/v1",
        "http://[::1/v1",
        "http://host:80000/v1",
        "http://host:abc/v1",
    ],
)
def test_urls_that_cannot_be_used_or_could_hold_a_secret(url):
    with pytest.raises(InputError, match="--base-url"):
        EndpointTeacher(url, "tiny", TEMPLATES["paper"])


def test_the_hub_router_takes_the_hub_token(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(InputError, match="HF_TOKEN"):
        endpoint._key("https://router.huggingface.co/v1")
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    assert endpoint._key("https://router.huggingface.co/v1") == "hf_x"
    assert endpoint._key("https://router.huggingface.co.evil.example/v1") == endpoint._key("http://127.0.0.1:1/v1") == KEY


def test_a_key_is_sent_without_its_line_end_and_with_no_character_that_no_key_has(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    assert endpoint._key("http://127.0.0.1:1/v1") == KEY
    for wrong in (f"{KEY}…", f"{KEY}\n{KEY}", f"“{KEY}”"):
        monkeypatch.setenv("OPENAI_API_KEY", wrong)
        with pytest.raises(InputError, match=r"^The key in OPENAI_API_KEY holds a character that no key has; copy it again\.$"):
            endpoint._key("http://127.0.0.1:1/v1")


@pytest.mark.slow
def test_the_key_is_in_no_file_and_no_output(folder, tmp_path):
    env = {**os.environ, "OPENAI_API_KEY": KEY, "HF_TOKEN": KEY + "-hf", "OPENAI_LOG": "debug"}

    def answer(request):  # a server that tells the key back
        return (400, {"error": {"message": f"bad request by {KEY}"}}) if "Number 3" in str(request["messages"]) else obedient(request)

    with TeacherServer(answer) as server:
        command = [sys.executable, "-m", "sgd_hf.cli", "annotate", "--teacher", "endpoint", "--base-url", server.url, "--model", "tiny",
                   "--template", "labels", "--gold", folder, "--out", tmp_path / "out"]  # fmt: skip
        child = subprocess.run([*command, "--max-cost", "0.01", "--price-in", "1"], capture_output=True, env=env)
        assert child.returncode == 0 and b"The budget is used up" in child.stdout, child.stderr
        child = subprocess.run(command, capture_output=True, env=env)
    assert child.returncode == 0 and b"rejected 1" in child.stdout and b"HTTP Request" in child.stderr
    assert server.keys == {f"Bearer {KEY}"}
    texts = [child.stdout, child.stderr, *(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())]
    assert len(texts) >= 6 and not any(KEY.encode() in text for text in texts)
    assert len(list(read_annotations(tmp_path / "out"))) == 11
