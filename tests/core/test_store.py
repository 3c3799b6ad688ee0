"""A stage folder survives what happens to it: SIGKILL, a torn line, a full disk, another configuration, another writer."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sgd_hf.core import store as module
from sgd_hf.core.errors import StoreError, guarded
from sgd_hf.core.store import Store, read_manifest, read_rows

HARNESS = Path(__file__).parents[1] / "harness" / "append_rows.py"
CONFIG = {"split": "train", "tasks": ["boil"]}


def filled(folder, count=3, complete=True):
    with Store(folder, "collect", CONFIG) as store:
        for number in range(count):
            store.append(f"k{number}", {"text": f"zweiundvierzig ü {number}\n", "n": number})
        if complete:
            store.finish({"rows": count})
    return folder


def test_rows_come_back_in_order_and_a_key_is_stored_once(tmp_path):
    folder = filled(tmp_path / "a")
    assert [row["n"] for row in read_rows(folder, "collect")] == [0, 1, 2]
    with Store(folder, "collect", CONFIG) as store:
        assert store.keys == {"k0", "k1", "k2"}
        with pytest.raises(ValueError, match="k1"):
            store.append("k1", {})


def test_a_tail_torn_at_every_byte_costs_that_row_only(tmp_path):
    folder = filled(tmp_path / "a")
    rows = folder / "rows.jsonl"
    whole = rows.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole)):
        rows.write_bytes(whole[:end])
        with Store(folder, "collect", CONFIG) as store:
            assert store.keys == {"k0", "k1"}
            store.append("k2", {"text": "zweiundvierzig ü 2\n", "n": 2})
        assert rows.read_bytes() == whole


def test_a_journal_beside_the_rows_is_kept_mended_and_closed_with_them(tmp_path):
    with Store(tmp_path / "a", "collect", CONFIG) as store:
        raw = store.journal("raw")
        raw.append("r0", {"text": "ü"}, sync=False)
        with pytest.raises(ValueError, match="r0"):
            raw.append("r0", {})
        raw.append("r1", {"text": ""})
        store.finish({})
    with pytest.raises(ValueError, match="closed"):
        raw.append("r2", {})
    path = tmp_path / "a" / "raw.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    assert not list(read_rows(tmp_path / "a", "collect"))
    with Store(tmp_path / "a", "collect", CONFIG) as store:
        assert store.journal("raw").keys == {"r0"}
    assert [row["text"] for row in read_rows(tmp_path / "a", "collect", journal="raw")] == ["ü"]


def test_a_manifest_that_a_full_disk_cut_short_does_not_block_its_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "manifest.json.part").write_text("{")
    assert len(list(read_rows(filled(tmp_path / "a"), "collect"))) == 3


def test_a_row_of_another_shape_is_named_by_file_and_line(tmp_path):
    def decode(row):
        if row["n"] == 1:
            raise StoreError("no such thing.")
        return row

    with pytest.raises(StoreError, match=r"line 2 of .*rows\.jsonl: no such thing"):
        list(read_rows(filled(tmp_path / "a"), "collect", decode))


def test_the_only_row_torn_leaves_an_empty_file(tmp_path):
    folder = filled(tmp_path / "a", 1)
    (folder / "rows.jsonl").write_bytes((folder / "rows.jsonl").read_bytes()[:-1])
    with Store(folder, "collect", CONFIG) as store:
        assert not store.keys
    assert (folder / "rows.jsonl").read_bytes() == b""


def test_a_torn_row_longer_than_a_block_is_cut(tmp_path):
    folder = filled(tmp_path / "a")
    with open(folder / "rows.jsonl", "ab") as file:
        file.write(b'{"key": "k3", "text": "' + b"x" * 200_000)
    with Store(folder, "collect", CONFIG) as store:
        assert store.keys == {"k0", "k1", "k2"}


@pytest.mark.slow
def test_sigkill_loses_no_row_that_was_appended(tmp_path):
    said: list[int] = []
    for wait in (0.02, 0.11, 0.23, 0.05, 0.17):
        child = subprocess.Popen([sys.executable, HARNESS, tmp_path / "a"], stdout=subprocess.PIPE, text=True)
        said.append(int(child.stdout.readline()))
        time.sleep(wait)
        child.kill()
        said += [int(line) for line in child.communicate()[0].splitlines() if line]
    with Store(tmp_path / "a", "collect", {"n": 1}) as store:
        rows = list(store.rows())
    assert [row["key"] for row in rows] == [str(n) for n in range(len(rows))]
    assert all(row["text"] == "x" * (int(row["key"]) * 37 % 500) for row in rows)
    assert set(map(str, said)) <= store.keys and len(said) >= 5


def test_a_changed_configuration_is_refused_with_the_keys_that_differ(tmp_path):
    folder = filled(tmp_path / "a")
    before = (folder / "rows.jsonl").read_bytes()
    with (
        pytest.raises(StoreError, match=r"split \('train' then, 'dev' now\), teleport \(None then, True now\)") as refused,
        Store(folder, "collect", {**CONFIG, "split": "dev", "teleport": True}),
    ):
        pass
    assert "tasks" not in str(refused.value)
    assert (folder / "rows.jsonl").read_bytes() == before
    with Store(folder, "collect", CONFIG):  # the refusal let go of the lock
        pass


def test_folders_of_something_else_are_refused(tmp_path):
    folder = filled(tmp_path / "a")
    with pytest.raises(StoreError, match="is the output of `sgd collect`, and `sgd annotate`'s is needed"), Store(folder, "annotate", {}):
        pass
    with pytest.raises(StoreError, match="`sgd annotate`'s is needed"):
        list(read_rows(folder, "annotate"))
    with pytest.raises(StoreError, match=r"no manifest\.json"):
        list(read_rows(tmp_path / "nowhere", "collect"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(StoreError, match="choose an empty folder"), Store(tmp_path / "mine", "collect", {}):
        pass
    with pytest.raises(StoreError, match="not complete"):
        list(read_rows(filled(tmp_path / "begun", complete=False), "collect"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"stage": "collect"}', '{"stage": "collect", "format": 0}', "\ufffd"])
def test_a_damaged_manifest_is_refused(tmp_path, content):
    folder = filled(tmp_path / "a")
    (folder / "manifest.json").write_text(content)
    with pytest.raises(StoreError):
        read_manifest(folder, "collect")
    with pytest.raises(StoreError), Store(folder, "collect", CONFIG):
        pass


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]", b'{"key": "k1", "n"', b"\xff\xfe", b"null"])
def test_a_damaged_line_is_named_with_its_number(tmp_path, line):
    folder = filled(tmp_path / "a")
    lines = (folder / "rows.jsonl").read_bytes().splitlines()
    (folder / "rows.jsonl").write_bytes(b"\n".join([lines[0], line, lines[2]]) + b"\n")
    with pytest.raises(StoreError, match="line 2 of"):
        list(read_rows(folder, "collect"))
    with pytest.raises(StoreError, match="line 2 of"), Store(folder, "collect", CONFIG):
        pass


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path):
    with Store(tmp_path / "a", "collect", CONFIG) as first:
        with pytest.raises(StoreError, match="another sgd process"), Store(tmp_path / "a", "collect", CONFIG):
            pass
        first.append("k0", {})
    with Store(tmp_path / "a", "collect", CONFIG) as second:
        assert second.keys == {"k0"}


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_full_disk_is_one_sentence_and_earlier_rows_stay(tmp_path, monkeypatch, capsys, call):
    def command():
        with Store(tmp_path / "a", "collect", CONFIG) as store:
            store.append("k0", {"n": 0})
            if call == "fsync":
                monkeypatch.setattr(module.os, "fsync", full)
            else:
                store._rows._file = open("/dev/full", "ab")
            store.append("k1", {"n": 1})

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if call == "write" and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with pytest.raises(SystemExit) as left:
        guarded(command)
    monkeypatch.undo()
    said = capsys.readouterr().err
    assert left.value.code == 2 and said.count("\n") == 1 and "No space left on device" in said
    with Store(tmp_path / "a", "collect", CONFIG) as store:
        assert "k0" in store.keys
        assert [row["n"] for row in store.rows()] == sorted(row["n"] for row in store.rows())


def test_the_manifest_says_what_made_the_rows(tmp_path):
    manifest = read_manifest(filled(tmp_path / "a"), "collect", complete=True)
    assert manifest["config"] == CONFIG and manifest["summary"] == {"rows": 3}
    assert {"python", "datasets", "scienceworld"} <= set(manifest["versions"])
    assert not list((tmp_path / "a").glob("*.part"))
    assert json.loads((tmp_path / "a" / "manifest.json").read_text()) == manifest


def test_a_folder_names_every_commit_that_made_its_rows_once(tmp_path, monkeypatch):
    def at(commit, folder, complete=True):
        monkeypatch.setattr(module, "versions", lambda: {"commit": commit})
        with Store(folder, "collect", CONFIG) as store:
            store.merge_shards()
            if complete:
                store.finish({})
        return read_manifest(folder, "collect")["versions"]["commit"]

    assert at("a", tmp_path / "shard-1-of-3", complete=False) == "a"
    assert at("b", tmp_path / "shard-1-of-3") == "a+b"
    assert at("b", tmp_path / "shard-2-of-3") == "b"
    assert at("c", tmp_path, complete=False) == "c+a+b"
    assert at("d", tmp_path / "shard-3-of-3") == "d"
    assert at("a", tmp_path) == "c+a+b+d" == at("e", tmp_path)


def test_a_folder_that_is_refused_is_left_as_it_was(tmp_path):
    (tmp_path / ".lock").write_text("of another program")
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StoreError, match="not of an sgd stage"), Store(tmp_path, "collect", CONFIG):
        pass
    assert (tmp_path / ".lock").read_text() == "of another program"


def test_no_lock_is_laid_into_what_is_of_another(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    filled(tmp_path / "gold")
    (tmp_path / "gold" / ".lock").unlink()
    for folder, stage in (("mine", "collect"), ("gold", "annotate")):
        with pytest.raises(StoreError), Store(tmp_path / folder, stage, CONFIG):
            pass
        assert not (tmp_path / folder / ".lock").exists()


def test_a_file_system_without_locks_is_no_other_process(tmp_path, monkeypatch):
    def missing(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(module.fcntl, "flock", missing)
    with pytest.raises(StoreError, match=r"cannot be locked .*not implemented"), Store(tmp_path, "collect", CONFIG):
        pass


def test_a_manifest_without_a_configuration_is_damaged(tmp_path):
    (tmp_path / "manifest.json").write_text('{"stage": "collect", "format": 1}')
    with pytest.raises(StoreError, match="damaged"), Store(tmp_path, "collect", CONFIG):
        pass
