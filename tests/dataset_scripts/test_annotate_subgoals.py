"""The script of a GPU box: gold paths from a folder or a data set, shares that merge by key."""

import sys
from pathlib import Path

import pytest

from sgd_hf.core.errors import InputError
from sgd_hf.corpus.annotate import read_annotations
from sgd_hf.corpus.collect import read_gold
from sgd_hf.corpus.teachers import RuleTeacher

sys.path.insert(0, str(Path(__file__).parents[2] / "dataset_scripts"))
import annotate_subgoals as script  # noqa: E402


@pytest.fixture
def called(monkeypatch):
    """The script as a function of its arguments; the rules stand in for the model, and what it was asked for is kept."""
    asked = []

    def appoint(*words, **options):
        asked.append((words, options))
        return RuleTeacher()

    monkeypatch.setattr(script, "make_vllm_environment", lambda: None)
    monkeypatch.setattr(script, "appoint", appoint)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["annotate_subgoals.py", "--model", "ORG/M", *map(str, arguments)])
        script.main()
        return asked[-1]

    return run


def rows(folder):
    return {a.key: a.segments for a in read_annotations(folder)}


def test_shares_merge_to_what_one_machine_makes(called, gold_folder, tmp_path):
    words, options = called("--gold", gold_folder, "--out", tmp_path / "one", "--server-flags", "--seed 7", "--revision", "abc")
    assert words == ("vllm", "grounded") and options["model"] == "ORG/M"
    assert (options["server_flags"], options["revision"]) == ("--seed 7", "abc")
    for shard in ("2/3", "1/3", "3/3"):
        called("--gold", gold_folder, "--out", tmp_path / "many", "--shard", shard)
    called("--gold", gold_folder, "--out", tmp_path / "many")
    whole = rows(tmp_path / "one" / "annotations" / "train")
    assert len(whole) == 30 and rows(tmp_path / "many" / "annotations" / "train") == whole


@pytest.mark.parametrize("gold", [(), ("--gold", "ORG/DATASET")])
def test_shares_do_not_collect(called, tmp_path, gold):
    """Each into the same folder, and all but one would find it locked."""
    with pytest.raises(InputError, match="run `sgd collect` once"):
        called("--out", tmp_path / "out", "--shard", "1/2", *gold)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_released_data_set_is_as_good_as_a_folder(called, data, annotations, tmp_path, split):
    script.download(str(data), None, split, tmp_path / "gold")
    found = list(read_gold(tmp_path / "gold"))
    assert found and all(gold.episode.split == split and gold.actions for gold in found)
    if split == "train":
        assert found == [a.gold for a in annotations if a.key in {gold.key for gold in found}]


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b"])
def test_a_share_that_is_none_is_refused(called, shard, tmp_path, capsys):
    with pytest.raises(SystemExit):
        called("--out", tmp_path, "--shard", shard)
    assert "invalid share value" in capsys.readouterr().err
