"""The annotate verb's teachers: what each needs is asked for, what it cannot use is refused, and each annotates."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

import pytest
from annotate_endpoint import clones, gold_folder
from recorded import gold_paths
from teacher_server import TeacherServer

from sgd_hf.core.errors import InputError
from sgd_hf.core.store import read_manifest
from sgd_hf.corpus.appoint import appoint, by_name
from sgd_hf.corpus.teachers import RuleTeacher


@pytest.fixture
def folder(tmp_path):
    """Four short paths."""
    return gold_folder(tmp_path / "gold", clones(sorted(gold_paths(), key=lambda path: len(path.steps)), 4))


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("endpoint", {"model": "m"}, "needs --base-url"),
        ("endpoint", {"base_url": "http://localhost/v1"}, "needs --model"),
        ("vllm", {}, "needs --model"),
        ("recorded", {}, "needs --recording"),
        ("rules", {"model": "m"}, "--model is of no use to --teacher rules"),
        ("vllm", {"model": "m", "base_url": "http://localhost/v1"}, "--base-url is of no use"),
        ("endpoint", {"model": "m", "base_url": "http://localhost/v1", "server_flags": "-tp 2"}, "--server-flags is of no use"),
        ("endpoint", {"model": "m", "base_url": "http://localhost/v1", "concurrency": 0}, "--concurrency"),
        ("endpoint", {"model": "m", "base_url": "http://localhost/v1", "template": "haiku"}, "one of paper, grounded, labels"),
    ],
)
def test_what_is_missing_or_of_no_use_is_named(name, given, words):
    with pytest.raises(InputError, match=words):
        appoint(name, **given)


@pytest.mark.parametrize(
    ("words", "useless"),
    [
        (["--repairs", "5"], "--repairs is of no use to --teacher rules"),
        (["--teacher", "rules", "--max-tokens-total", "9"], "--max-tokens-total is of no use to --teacher rules"),
        (["--teacher", "recorded", "--recording", "r", "--price-in", "1"], "--price-in is of no use to --teacher recorded"),
        (["--reparse", "--teacher", "rules"], "--teacher is of no use to --reparse"),
        (["--reparse", "--model", "m"], "--model is of no use to --reparse"),
        (["--reparse", "--max-cost", "3"], "--max-cost is of no use to --reparse"),
        (["--reparse", "--shard", "1/2"], "--shard is of no use to --reparse"),
    ],
)
def test_what_the_verb_has_no_use_for_is_refused(sgd, folder, tmp_path, words, useless):
    assert sgd("annotate", "--gold", folder, "--out", tmp_path / "out", *words) == (2, f"sgd: {useless}; leave it out.\n")


def test_every_teacher_of_the_command_line_can_be_appointed():
    assert isinstance(appoint("rules"), RuleTeacher)
    vllm = appoint("vllm", model="m", server_flags="--max-model-len 2048", revision="r")
    assert (vllm.name, vllm.revision, vllm.template.name, vllm.grammar) == ("m", "r", "grounded", True)
    assert not appoint("endpoint", "labels", model="m", base_url="http://localhost/v1").grammar
    assert by_name("none") is RuleTeacher.template


def test_folders_of_one_name_are_told_apart_by_their_weights(tmp_path):
    for run in ("one", "two"):
        (tmp_path / run / "merged").mkdir(parents=True)
        (tmp_path / run / "merged" / "model.safetensors").write_text(run)
    one, two = (appoint("vllm", model=str(tmp_path / run / "merged")) for run in ("one", "two"))
    assert one.name == two.name == "merged" and len(one.revision) == len(two.revision) == 12 and one.revision != two.revision
    assert appoint("vllm", model=str(tmp_path / "one" / "merged"), revision="r").revision == "r"


def test_the_verb_annotates_replays_reparses_and_merges(sgd, folder, tmp_path):
    out = tmp_path / "out"
    with TeacherServer() as server:
        asked = ("annotate", "--gold", folder, "--teacher", "endpoint", "--model", "tiny", "--template", "labels", "--base-url", server.url)
        assert sgd(*asked, "--out", out) == (0, "")
        assert "Annotations by tiny" in (out / "report.html").read_text()
        for index in (1, 2):
            assert sgd(*asked, "--out", tmp_path / "shards", "--shard", f"{index}/2") == (0, "")
        requests = server.requests
        assert sgd(*asked, "--out", tmp_path / "shards") == (0, "")
        rows = {name: sorted((tmp_path / name / "rows.jsonl").read_text().splitlines()) for name in ("out", "shards")}
        assert rows["out"] == rows["shards"]
        assert sgd("annotate", "--gold", folder, "--teacher", "recorded", "--recording", out, "--out", tmp_path / "again") == (0, "")
        assert sorted((tmp_path / "again" / "rows.jsonl").read_text().splitlines()) == rows["out"]
        assert sgd("annotate", "--gold", folder, "--reparse", "--template", "paper", "--out", out) == (0, "")
        assert server.requests == requests
    summary = read_manifest(out, "annotate", complete=True)["summary"]
    assert (summary["accepted"], summary["rejected"], summary["usage"]["answers"]) == (0, 4, 5)
    code, said = sgd(*asked, "--out", out)  # read as paper now
    assert code == 2 and "prompt_version" in said


@pytest.mark.slow
def test_an_interruption_keeps_what_was_answered(folder, tmp_path):
    with TeacherServer(latency=1.0) as server:
        command = [sys.executable, "-m", "sgd_hf.cli", "annotate", "--teacher", "endpoint", "--base-url", server.url, "--model", "tiny",
                   "--template", "labels", "--concurrency", "1", "--gold", folder, "--out", tmp_path / "out"]  # fmt: skip
        child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while len(server.paid) < 3:
            assert child.poll() is None
            time.sleep(0.01)
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate()
        assert child.returncode == 130 and said.count("\n") == 1 and "the same command resumes" in said
        assert subprocess.run(command, capture_output=True).returncode == 0
        assert len(server.paid) in (5, 6)  # a canary and four, and the one that was open
    keys = [json.loads(line)["key"] for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert len(keys) == len(set(keys)) == 5
