"""The annotate stage: one checked row a gold path, resumable after SIGKILL, with its teacher's text."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

import pytest
from annotate_endpoint import gold_folder
from recorded import GOLD_MINI, gold_paths

from sgd_hf.core.errors import InputError, ServerError, StoreError
from sgd_hf.core.records import Segment, to_row
from sgd_hf.core.store import Store, read_manifest
from sgd_hf.corpus.alignment import check_cover
from sgd_hf.corpus.annotate import annotate, read_annotations
from sgd_hf.corpus.quality import print_summary
from sgd_hf.corpus.recorded import RecordedTeacher, reparse
from sgd_hf.corpus.teachers import RuleTeacher, RuleTemplate

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


class Confused(RuleTeacher):
    """Writes nothing of use for every second path, unless asked again."""

    name, revision = "confused", "1"

    def __init__(self):
        self.asked = []

    @asynccontextmanager
    async def session(self):
        async with super().session() as ask:

            async def confused(question):
                self.asked.append((question.about, question.attempt))
                found = await ask(question)
                odd = len({about for about, _ in self.asked}) % 2 == 0
                return replace(found, text="I am a teapot") if odd and question.attempt == 0 else found

            yield confused


class Counting(RuleTeacher):
    """The rules, and what they were asked."""

    def __init__(self):
        self.asked = []

    @asynccontextmanager
    async def session(self):
        async with super().session() as ask:

            async def counted(question):
                self.asked.append(question.about)
                return await ask(question)

            yield counted


class Stubborn(Confused):
    """Writes nothing of use, ever."""

    @asynccontextmanager
    async def session(self):
        async with super().session() as ask:

            async def stubborn(question):
                return replace(await ask(question), text=f"no {question.attempt}")

            yield stubborn


class Fallen(RuleTeacher):
    """Its server is gone after five answers, and its session knows why."""

    @asynccontextmanager
    async def session(self):
        answered = 0
        async with super().session() as ask:

            async def fallen(question):
                nonlocal answered
                if answered == 5:
                    raise ServerError("127.0.0.1 did not answer.")
                answered += 1
                return await ask(question)

            try:
                yield fallen
            except ServerError as error:
                raise ServerError("vLLM ended while it was used: out of memory.") from error


class Forgiving(RuleTemplate):
    """Has a fallback: the whole path as one sub-goal."""

    name, version = "forgiving", "1"

    def fallback(self, gold, text):
        return (Segment("wait(1)", 0, len(gold.steps)),)


def test_every_path_gets_one_row_with_an_exact_cover(gold: Path, tmp_path: Path) -> None:
    found = annotate(gold, tmp_path / "out", RuleTeacher())
    rows = list(read_annotations(tmp_path / "out"))
    assert len(rows) == found["accepted"] == 30 and found["rejected"] == 0
    for row in rows:
        assert check_cover(row.segments, len(row.gold.steps))
        assert (row.teacher, row.teacher_revision, row.prompt_version) == ("rules", RuleTeacher.revision, "none")
        assert all(f". {segment.subgoal}\n" in row.raw for segment in row.segments)


def test_a_notebook_can_annotate(gold: Path, tmp_path: Path) -> None:
    async def cell() -> int:
        return annotate(gold, tmp_path / "out", RuleTeacher())["accepted"]

    assert asyncio.run(cell()) == 30


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


def test_a_server_that_is_gone_is_told_of_by_its_session(gold: Path, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="^25 of 30 gold paths .* because vLLM ended while it was used: out of memory; "):
        annotate(gold, tmp_path / "out", Fallen())
    assert annotate(gold, tmp_path / "out", RuleTeacher())["accepted"] == 30


def test_rejected_rows_keep_reason_and_text(gold: Path, tmp_path: Path) -> None:
    found = annotate(gold, tmp_path / "out", Confused())
    assert (found["accepted"], found["rejected"]) == (15, 15)
    assert list(found["reasons"].values()) == [15]
    lines = (tmp_path / "out" / "rows.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["raw"] == "I am a teapot" and json.loads(line)["segments"] == [] for line in lines) == 15
    assert len(list(read_annotations(tmp_path / "out"))) == 15


def test_a_wrong_answer_is_asked_again_and_told_why(gold: Path, tmp_path: Path) -> None:
    teacher = Confused()
    found = annotate(gold, tmp_path / "out", teacher, repairs=2)
    assert (found["accepted"], found["rejected"], found["repaired"]) == (30, 0, {"re-ask": 15})
    assert len(teacher.asked) == len(set(teacher.asked)) == 45 == found["usage"]["answers"] and found["usage"]["re_asks"] == 15
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert sum(row.get("repaired") == "re-ask" for row in rows) == 15
    assert {annotation.key: annotation.segments for annotation in read_annotations(tmp_path / "out")} == {
        annotation.key: annotation.segments for annotation in rules(gold, tmp_path)
    }


def rules(gold, tmp_path):
    annotate(gold, tmp_path / "rules", RuleTeacher())
    return list(read_annotations(tmp_path / "rules"))


def test_re_asks_are_bounded_and_then_the_fallback_decides(gold: Path, tmp_path: Path) -> None:
    teacher = Stubborn()
    found = annotate(gold, tmp_path / "out", teacher, repairs=3)
    assert (found["accepted"], found["rejected"], found["repaired"]) == (0, 30, {}) and len(teacher.asked) == 120
    assert all(json.loads(line)["raw"] == "no 3" for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines())

    teacher = Stubborn()
    teacher.template = Forgiving()
    found = annotate(gold, tmp_path / "mended", teacher, repairs=1)
    assert (found["accepted"], found["repaired"], found["coverage"]) == (30, {"fallback": 30}, 1.0) and len(teacher.asked) == 60


def test_a_recording_gives_the_same_rows_again_without_a_question(gold: Path, tmp_path: Path) -> None:
    annotate(gold, tmp_path / "out", Confused(), repairs=2)
    teacher = RecordedTeacher(tmp_path / "out", RuleTemplate())
    assert (teacher.name, teacher.revision, teacher.repairs) == ("confused", "1", 2)
    annotate(gold, tmp_path / "again", teacher, repairs=teacher.repairs)
    for name in ("rows", "answers"):
        assert (tmp_path / "again" / f"{name}.jsonl").read_bytes() == (tmp_path / "out" / f"{name}.jsonl").read_bytes()


def test_a_recording_of_other_paths_is_one_sentence(gold: Path, tmp_path: Path) -> None:
    annotate(gold, tmp_path / "out", RuleTeacher())
    path, *_ = gold_paths()
    other = gold_folder(tmp_path / "other", [replace(path, episode=replace(path.episode, variation=7))])
    with pytest.raises(InputError, match="holds no answer about boil/7/easy; give the gold paths"):
        annotate(other, tmp_path / "again", RecordedTeacher(tmp_path / "out", RuleTemplate()))


def test_other_paths_of_the_same_configuration_are_not_mixed_in(gold: Path, tmp_path: Path) -> None:
    annotate(gold, tmp_path / "out", RuleTeacher())
    before = (tmp_path / "out" / "rows.jsonl").read_bytes()
    other = gold_folder(tmp_path / "other", gold_paths()[:1])
    with pytest.raises(StoreError, match="out holds .*, which is not among the gold paths of .*other; choose another --out"):
        annotate(other, tmp_path / "out", RuleTeacher())
    assert (tmp_path / "out" / "rows.jsonl").read_bytes() == before


def test_reparse_reads_the_stored_answers_by_the_present_parser(gold: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    annotate(gold, out, Stubborn(), repairs=1)
    answers = (out / "answers.jsonl").read_bytes()
    took = read_manifest(out, "annotate")["summary"]["usage"]
    found = reparse(gold, out, Forgiving())
    assert (found["accepted"], found["rejected"], found["usage"]) == (30, 0, took)
    assert {(a.prompt_version, a.teacher, a.raw) for a in read_annotations(out)} == {("forgiving-1", "confused", "no 1")}
    manifest = read_manifest(out, "annotate", complete=True)
    assert manifest["config"]["prompt_version"] == "forgiving-1" and manifest["summary"] == found
    assert (out / "answers.jsonl").read_bytes() == answers and not (out / ".reparse").exists()


def test_reparse_of_other_gold_paths_is_refused_before_anything_is_read(gold: Path, tmp_path: Path) -> None:
    annotate(gold, tmp_path / "out", RuleTeacher())
    with Store(tmp_path / "other", "collect", {"split": "dev"}) as store:
        store.finish({"accepted": 0})
    with pytest.raises(StoreError, match="other gold paths"):
        reparse(tmp_path / "other", tmp_path / "out", RuleTemplate())
    assert not (tmp_path / "out" / ".reparse").exists()


def test_shards_merge_to_what_one_run_gives(gold: Path, tmp_path: Path) -> None:
    whole = annotate(gold, tmp_path / "whole", Confused(), repairs=1)
    teachers = [Confused() for _ in range(4)]
    for index in (1, 3):
        annotate(gold, tmp_path / "out", teachers[index], repairs=1, shard=(index, 3))
    found = annotate(gold, tmp_path / "out", teachers[0], repairs=1)  # the second share is still owed
    assert found["accepted"] == whole["accepted"] == 30
    assert not teachers[2].asked and len({about for about, _ in teachers[0].asked}) == 10
    assert {a.key: a.segments for a in read_annotations(tmp_path / "out")} == {
        a.key: a.segments for a in read_annotations(tmp_path / "whole")
    }
    assert found["usage"]["answers"] == sum(len(teacher.asked) for teacher in teachers)
    assert annotate(gold, tmp_path / "out", teachers[2], repairs=1) == found and not teachers[2].asked


def test_a_folder_of_shards_that_was_read_anew_goes_on(gold: Path, tmp_path: Path) -> None:
    out, teacher = tmp_path / "out", Confused()
    for index in (1, 2):
        annotate(gold, out, Confused(), shard=(index, 2))
    annotate(gold, out, teacher)
    teacher.template = Forgiving()
    found = reparse(gold, out, teacher.template)
    assert annotate(gold, out, teacher) == found and not teacher.asked


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


@pytest.mark.parametrize("subgoal", ["I am a teapot", "boil(water)", "Open(the cupboard)", ""])
def test_a_row_with_what_is_no_sub_goal_is_refused(gold: Path, tmp_path: Path, subgoal: str) -> None:
    annotate(gold, tmp_path / "out", RuleTeacher())
    rows = tmp_path / "out" / "rows.jsonl"
    first, rest = rows.read_text().split("\n", 1)
    row = json.loads(first)
    row["segments"][-1]["subgoal"] = subgoal
    rows.write_text(json.dumps(row) + "\n" + rest)
    with pytest.raises(StoreError, match="is no sub-goal"):
        list(read_annotations(tmp_path / "out"))


@pytest.mark.slow
def test_an_answer_torn_at_every_byte_is_asked_for_again_and_no_other(tmp_path: Path) -> None:
    few = sorted(gold_paths(), key=lambda path: len(json.dumps(to_row(path))))[:2]
    gold, out = gold_folder(tmp_path / "gold", few), tmp_path / "out"
    annotate(gold, out, RuleTeacher())
    answers, rows = (out / "answers.jsonl").read_bytes(), (out / "rows.jsonl").read_bytes()
    for path, whole in ((out / "answers.jsonl", answers), (out / "rows.jsonl", rows)):
        last = whole.rindex(b"\n", 0, -1) + 1
        ends = range(last, len(whole)) if path.name == "answers.jsonl" else [*range(last, len(whole), 211), len(whole) - 1]
        for end in ends:
            path.write_bytes(whole[:end])
            if path.name == "answers.jsonl":  # an answer is on disk before its row
                (out / "rows.jsonl").write_bytes(rows[: rows.rindex(b"\n", 0, -1) + 1])
            teacher = Counting()
            annotate(gold, out, teacher)
            assert (out / "rows.jsonl").read_bytes() == rows
            assert teacher.asked == ([few[-1].key] if path.name == "answers.jsonl" else [])


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
