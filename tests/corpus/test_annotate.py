"""The annotate stage: one checked row a gold path, resumable after SIGKILL, with its teacher's text."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from recorded import GOLD_MINI

from sgd_hf.core.errors import StoreError
from sgd_hf.core.records import GoldPath
from sgd_hf.core.store import Store
from sgd_hf.corpus.alignment import check_cover
from sgd_hf.corpus.annotate import annotate, print_summary, read_annotations
from sgd_hf.corpus.teachers import RuleTeacher

HARNESS = Path(__file__).parents[1] / "harness" / "annotate_slowly.py"


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    folder = tmp_path / "gold"
    rows = [json.loads(line) for line in GOLD_MINI.read_text().splitlines()]
    with Store(folder, "collect", {"split": "train"}) as store:
        for row in rows:
            store.append(row.pop("key"), row)
        store.finish({"accepted": len(rows)})
    return folder


class Confused:
    """Writes nothing of use for every second path."""

    name, revision, prompt_version = "confused", "1", "none"

    def complete(self, golds: Sequence[GoldPath]) -> list[str]:
        return ["I am a teapot" if i % 2 else raw for i, raw in enumerate(RuleTeacher().complete(golds))]


def test_every_path_gets_one_row_with_an_exact_cover(gold: Path, tmp_path: Path) -> None:
    found = annotate(gold, tmp_path / "out", RuleTeacher())
    rows = list(read_annotations(tmp_path / "out"))
    assert len(rows) == found["accepted"] == 30 and found["rejected"] == 0
    for row in rows:
        assert check_cover(row.segments, len(row.gold.steps))
        assert (row.teacher, row.teacher_revision, row.prompt_version) == ("rules", RuleTeacher.revision, "none")
        assert all(f". {segment.subgoal}\n" in row.raw for segment in row.segments)


def test_the_summary_adds_up(gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = annotate(gold, tmp_path / "out", RuleTeacher())
    rows = list(read_annotations(tmp_path / "out"))
    assert found["segments"] == sum(found["lengths"].values()) == sum(v["segments"] for v in found["verbs"].values())
    assert found["actions"] == sum(len(row.gold.steps) for row in rows) == sum(int(n) * c for n, c in found["lengths"].items())
    assert found["distinct_subgoals"] == len({s.subgoal for row in rows for s in row.segments})
    assert found["grounded"] == 1.0
    print_summary(found)
    printed = capsys.readouterr().out
    assert "navigate_to" in printed and "█" in printed and "boil" in printed


def test_rejected_rows_keep_reason_and_text(gold: Path, tmp_path: Path) -> None:
    found = annotate(gold, tmp_path / "out", Confused())
    assert (found["accepted"], found["rejected"]) == (15, 15)
    assert list(found["reasons"].values()) == [15]
    lines = (tmp_path / "out" / "rows.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["raw"] == "I am a teapot" and json.loads(line)["segments"] == [] for line in lines) == 15
    assert len(list(read_annotations(tmp_path / "out"))) == 15


def test_a_second_run_changes_nothing_and_another_teacher_is_refused(gold: Path, tmp_path: Path) -> None:
    annotate(gold, tmp_path / "out", RuleTeacher())
    before = (tmp_path / "out" / "rows.jsonl").read_bytes()
    annotate(gold, tmp_path / "out", RuleTeacher())
    assert (tmp_path / "out" / "rows.jsonl").read_bytes() == before
    with pytest.raises(StoreError, match="teacher"):
        annotate(gold, tmp_path / "out", Confused())


def test_a_folder_of_another_stage_is_refused(gold: Path, tmp_path: Path) -> None:
    annotate(gold, tmp_path / "out", RuleTeacher())
    with pytest.raises(StoreError, match="sgd collect"):
        annotate(tmp_path / "out", tmp_path / "again", RuleTeacher())
    with pytest.raises(StoreError, match="sgd annotate"):
        list(read_annotations(gold))
    with pytest.raises(StoreError):
        annotate(gold, gold, RuleTeacher())


def test_a_row_that_does_not_cover_is_refused(gold: Path, tmp_path: Path) -> None:
    annotate(gold, tmp_path / "out", RuleTeacher())
    rows = tmp_path / "out" / "rows.jsonl"
    first, rest = rows.read_text().split("\n", 1)
    row = json.loads(first)
    row["segments"].pop()
    rows.write_text(json.dumps(row) + "\n" + rest)
    with pytest.raises(StoreError, match="cover"):
        list(read_annotations(tmp_path / "out"))


def test_kill_9_loses_nothing_and_doubles_nothing(gold: Path, tmp_path: Path) -> None:
    annotate(gold, tmp_path / "whole", RuleTeacher())
    rows = tmp_path / "out" / "rows.jsonl"
    for owed in (4, 13):
        child = subprocess.Popen([sys.executable, HARNESS, gold, tmp_path / "out", "0.05"])
        deadline = time.monotonic() + 60
        while not rows.exists() or rows.read_bytes().count(b"\n") < owed:
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert rows.read_bytes().count(b"\n") < 30
    with open(rows, "ab") as torn:
        torn.write(b'{"key": "boil/')
    annotate(gold, tmp_path / "out", RuleTeacher())
    assert rows.read_bytes() == (tmp_path / "whole" / "rows.jsonl").read_bytes()
    assert list(read_annotations(tmp_path / "out")) == list(read_annotations(tmp_path / "whole"))
