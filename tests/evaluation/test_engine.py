"""The engine: every episode gives its row, whatever happens to a simulator, to this process, or in another shard."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recorded import gold_paths
from said import Said

from sgd_hf.agent.policy import Act, Ask
from sgd_hf.core.errors import InputError, StoreError
from sgd_hf.core.prompts import State, Transcript
from sgd_hf.core.store import read_manifest
from sgd_hf.evaluation import rollouts
from sgd_hf.evaluation.arms import Arm, arm
from sgd_hf.evaluation.flights import Flight
from sgd_hf.evaluation.rollouts import evaluate, play_all, read_rollouts
from sgd_hf.scienceworld.protocols import Protocol, first

HARNESS = Path(__file__).parents[1] / "harness"
SHORT = sorted((path.episode for path in gold_paths() if len(path.steps) <= 10), key=lambda episode: episode.key)
RECORDED = Protocol("recorded", tuple(SHORT[:6]))


def plain(rollout):
    """A rollout without its timings."""
    return dataclasses.replace(rollout, simulator_seconds=0.0, model_seconds=0.0, waiting_seconds=0.0)


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid):
    """Process ids of all that a process started, directly or not."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [other for child in found for other in descendants(child)]


def strike(monkeypatch, when, sign):
    """Send a signal to the JVM of an episode when it is about to act for the n-th time (``when[key] == n``), in its
    first attempt only. Returns the JVMs that were struck."""
    send, struck = Flight._send, []

    def _send(self, function, item):
        self.turn = getattr(self, "turn", -1) + 1
        if self.retries == 0 and when.get(self.episode.key) == self.turn:
            struck.append(self.worker._jvm.value)
            assert struck[-1]
            os.kill(struck[-1], sign)
        send(self, function, item)

    monkeypatch.setattr(Flight, "_send", _send)
    return struck


@pytest.mark.slow
def test_episodes_whose_simulator_is_killed_are_retried_and_marked(tmp_path, monkeypatch):
    episodes = first("train", 10, ["find-plant", "find-animal", "lifespan-longest-lived", "lifespan-shortest-lived"])
    protocol = Protocol("kill", episodes, limit=60)
    draw = random.Random(0)
    doomed = {episode.key: draw.randint(1, 5) for episode in draw.sample(episodes, 10)}
    unharmed = {r.key: r for r in play_all([e for e in episodes if e.key in doomed][:4], arm("do-nothing"), protocol, 1)}
    struck = strike(monkeypatch, doomed, signal.SIGKILL)
    found = evaluate(tmp_path / "out", protocol, arm("do-nothing"))
    assert len(struck) == 10
    assert [r.episode for r in found] == list(episodes) and len(read_rollouts(tmp_path / "out")) == 40
    assert {r.episode.key for r in found if r.retries == 1} == set(doomed) and {r.retries for r in found} == {0, 1}
    assert {r.stop for r in found} == {"move_limit"}
    for r in found:
        if r.key in unharmed:
            assert plain(r) == dataclasses.replace(plain(unharmed[r.key]), retries=1)


@pytest.mark.slow
def test_a_simulator_that_stands_still_is_replaced_within_its_time_limit(monkeypatch):
    episodes = first("train", 2, ["find-plant"])
    struck = strike(monkeypatch, {episodes[0].key: 2}, signal.SIGSTOP)
    begin, last = time.monotonic(), {}
    hear = Flight.hear

    def timed(self):
        last.setdefault("struck", time.monotonic()) if struck else None
        ended = not self.worker.connection.poll()
        hear(self)
        if ended:
            last["replaced"] = time.monotonic()

    monkeypatch.setattr(Flight, "hear", timed)
    found = {r.episode: r for r in play_all(episodes, arm("do-nothing"), Protocol("hang", episodes, limit=60), 1, timeout_s=12.0)}
    assert [found[e].retries for e in episodes] == [1, 0] and {r.stop for r in found.values()} == {"move_limit"}
    assert last["replaced"] - begin < 60 and not running(struck[0])


@pytest.mark.slow
def test_a_simulator_that_always_dies_is_an_error_row_and_counts_0(monkeypatch):
    episodes = first("train", 2, ["find-plant"])
    send = Flight._send

    def _send(self, function, item):
        if self.episode == episodes[0] and self.steps:
            os.kill(self.worker._jvm.value, signal.SIGKILL)
        send(self, function, item)

    monkeypatch.setattr(Flight, "_send", _send)
    found = {r.episode: r for r in play_all(episodes, arm("do-nothing"), Protocol("die", episodes, limit=60), 1)}
    assert (found[episodes[0]].stop, found[episodes[0]].retries, found[episodes[0]].score) == ("error", 1, 0)
    assert "JVM" in found[episodes[0]].error and found[episodes[1]].stop == "move_limit"


@pytest.mark.slow
def test_a_killed_evaluation_leaves_no_process_and_its_rows_are_kept(tmp_path):
    parent = subprocess.Popen([sys.executable, HARNESS / "evaluation_parent.py", tmp_path / "out"], stderr=subprocess.DEVNULL)
    rows, deadline = tmp_path / "out" / "rows.jsonl", time.monotonic() + 120
    while not rows.exists() or rows.read_bytes().count(b"\n") < 3:
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.1)
    left = descendants(parent.pid)
    assert len(left) >= 4  # two workers and their JVMs
    parent.kill()
    parent.wait()
    stored = rows.read_bytes().count(b"\n")
    time.sleep(5)
    assert not any(map(running, left))
    protocol = Protocol("long", first("train", 100, ["find-plant"]), limit=40)
    with pytest.raises(StoreError, match="limit"):
        evaluate(tmp_path / "out", dataclasses.replace(protocol, limit=41), arm("do-nothing"))
    assert rows.read_bytes().count(b"\n") == stored


@pytest.mark.slow
def test_two_shards_merge_to_the_rows_of_one_run(tmp_path, gold_folder, monkeypatch):
    made = arm("oracle", gold=gold_folder)
    whole = evaluate(tmp_path / "whole", RECORDED, made)
    shares = [evaluate(tmp_path / "parts", RECORDED, made, workers=1, shard=(index, 2)) for index in (1, 2)]
    assert sorted(r.key for share in shares for r in share) == sorted(r.key for r in whole)
    with pytest.raises(StoreError):
        read_manifest(tmp_path / "parts", "evaluate")
    monkeypatch.setattr(rollouts, "Worker", None)  # nothing is left to play
    merged = evaluate(tmp_path / "parts", RECORDED, made)
    assert list(map(plain, merged)) == list(map(plain, whole)) and {r.score for r in whole} == {100}
    assert {r.key for r in read_rollouts(tmp_path / "parts")} == {r.key for r in whole}
    assert read_manifest(tmp_path / "parts", "evaluate", complete=True)["summary"] == {"episodes": len(whole), "errors": 0}


@pytest.mark.slow
def test_a_merge_plays_what_no_shard_has_played_and_refuses_another_configuration(tmp_path, gold_folder):
    made = arm("oracle", gold=gold_folder)
    [*_] = evaluate(tmp_path / "parts", RECORDED, made, shard=(2, 3))
    with pytest.raises(StoreError, match="shard-2-of-3 was begun with another configuration"):
        evaluate(tmp_path / "parts", RECORDED, arm("do-nothing"))
    other = tmp_path / "other"
    (tmp_path / "parts" / "shard-2-of-3").rename(tmp_path / "kept")
    other.mkdir()
    (tmp_path / "kept").rename(other / "shard-2-of-3")
    assert [r.episode for r in evaluate(other, RECORDED, made)] == list(RECORDED.episodes)


@pytest.mark.slow
def test_a_process_of_accelerate_plays_its_share(tmp_path, sgd, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _ = sgd("evaluate", "--arm", "do-nothing", "--protocol", "smoke", "--out", tmp_path)
    assert code == 0 and [path.name for path in tmp_path.iterdir()] == ["shard-2-of-2"]
    assert len(read_rollouts(tmp_path / "shard-2-of-2")) == 2


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/-2", "1/"])
def test_a_share_that_does_not_exist_is_refused(tmp_path, sgd, text):
    code, said = sgd("evaluate", "--arm", "do-nothing", "--protocol", "smoke", "--out", tmp_path / "out", "--shard", text)
    assert code == 2 and "--shard takes I/N" in said and not (tmp_path / "out").exists()


class Writer:
    """A module that writes "wait1" in one pass or "look around" in two, by the number of turns so far; slowly."""

    def __init__(self, pause):
        self.pause = pause
        self.passes = []

    def advance(self, writings):
        assert len({writing.slot for writing in writings}) == len({id(writing.draw) for writing in writings}) == len(writings)
        self.passes.append(len(writings))
        time.sleep(self.pause)
        for writing in writings:
            if len(writing.ask.messages) % 2 and not writing.awaits:
                writing.awaits = "another pass"
            else:
                writing.answer = ("wait1", "look around")[len(writing.ask.messages) % 2]


@pytest.mark.slow
def test_a_rollout_says_what_was_there_first_and_how_often_the_planner_said_nothing_usable():
    path = next(path for path in gold_paths() if path.episode == SHORT[0])
    answers = ["navigate_to(kitchen)", "and now?", "fly()"]

    def policy():
        for _ in answers:
            yield Ask("planner", [])

    said = iter(answers)
    made = Arm(
        "asking",
        lambda episode, d, look, inventory: (Transcript(d, State(look, inventory)), policy()),
        {"planner": Said(lambda ask: next(said))},
    )
    [found] = play_all(SHORT[:1], made, RECORDED, 1)
    assert (found.look, found.inventory, found.description) == (path.look, path.inventory, path.description)
    assert (found.planned, found.unusable) == (3, 2)


def talking(module):
    """An arm that asks its module before every action."""

    def policy():
        for turns in range(8):
            action = yield Ask("talker", [{"role": "user", "content": ""}] * turns)
            yield Act(action)

    return Arm("talking", lambda episode, d, look, inventory: (Transcript(d, State(look, inventory)), policy()), {"talker": module})


@pytest.mark.slow
def test_episodes_side_by_side_give_the_same_rows_in_fewer_passes():
    episodes = first("train", 3, ["find-plant"])
    protocol = Protocol("beside", episodes)
    alone, beside = Writer(0.02), Writer(0.4)
    one = sorted(play_all(episodes, talking(alone), protocol, 1), key=lambda r: r.key)
    begin = time.perf_counter()
    many = sorted(play_all(episodes, talking(beside), protocol, 3), key=lambda r: r.key)
    wall = time.perf_counter() - begin
    assert list(map(plain, one)) == list(map(plain, many)) and {len(r.steps) for r in one} == {8}
    assert set(alone.passes) == {1} and sum(alone.passes) == sum(beside.passes) == 36
    assert max(beside.passes) > 1 and len(beside.passes) < 36
    for r in many:
        assert r.model_seconds > 0 and r.simulator_seconds > 0 and r.waiting_seconds > 0
        assert r.model_seconds + r.simulator_seconds + r.waiting_seconds < wall
    assert sum(r.model_seconds for r in many) == pytest.approx(0.4 * len(beside.passes), rel=0.2)


@pytest.mark.slow
def test_a_worker_is_replaced_after_so_many_episodes(monkeypatch):
    made = []

    class Counted(rollouts.Worker):
        def __init__(self):
            super().__init__()
            made.append(self)

    monkeypatch.setattr(rollouts, "Worker", Counted)
    monkeypatch.setattr(rollouts, "WORKER_EPISODES", 2)
    episodes = first("train", 5, ["find-plant"])
    assert len(list(play_all(episodes, arm("do-nothing"), Protocol("many", episodes, limit=20), 1))) == 5
    assert len(made) == 3 and not any(worker.alive for worker in made)


@pytest.mark.slow
def test_study_arms_are_made_of_what_they_need_and_named_for_what_they_are(run):
    folder = run / "annotations" / "train"
    assert set(arm("oracle-subgoals", run, annotations=folder).modules) == {"executor"}
    assert set(arm("planner-oracle", run, annotations=folder).modules) == {"planner"}
    assert arm("every-step", run).name == "every-step"
    assert arm("hierarchical", run, noise=0.25, noise_kind="argument").name == "hierarchical+argument:0.25"
    noisy = arm("oracle-subgoals", run, annotations=folder, noise=1.0, noise_kind="shuffled")
    assert noisy.name == "oracle-subgoals+shuffled:1"
    path = next(path for path in gold_paths() if path.episode in SHORT)
    state = (path.description, path.look, path.inventory)

    def first_subgoal(made):
        transcript, policy = made.begin(path.episode, *state)
        next(policy)
        return transcript.subgoal

    assert first_subgoal(noisy) == first_subgoal(noisy) != first_subgoal(arm("oracle-subgoals", run, annotations=folder))
    with pytest.raises(InputError, match="no accepted one of boil/0/easy"):
        noisy.begin(first("train", 1, ["boil"])[0], *state)


def test_what_a_study_lacks_is_said():
    for name, more in (("oracle-subgoals", {}), ("planner-oracle", {}), ("hierarchical", {"noise": 0.1})):
        with pytest.raises(InputError, match="--annotations"):
            arm(name, "agent", **more)
    for more in ({"noise": 1.5}, {"noise": -0.1}, {"noise": 0.5, "noise_kind": "pink"}):
        with pytest.raises(InputError, match="--noise"):
            arm("hierarchical", "agent", **more)
    with pytest.raises(InputError, match="--noise"):
        arm("every-step", "agent", noise=0.5, noise_kind="argument")
