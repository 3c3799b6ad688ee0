"""Evaluation on the real simulator: recorded scores again, every episode one row whatever dies, the same rows each time."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from said import Said

from sgd_hf.agent.policy import Act, Ask, Reply, Valid
from sgd_hf.core.errors import InputError, SimulatorError, StoreError
from sgd_hf.core.prompts import State, Transcript
from sgd_hf.corpus.collect import read_gold
from sgd_hf.evaluation import rollouts as module
from sgd_hf.evaluation.arms import Arm, arm
from sgd_hf.evaluation.rollouts import evaluate, play_all, read_rollouts
from sgd_hf.scienceworld.environment import ScienceWorld, play
from sgd_hf.scienceworld.protocols import Protocol
from sgd_hf.scienceworld.workers import Worker

HARNESS = Path(__file__).parents[1] / "harness" / "evaluate_recorded.py"
sys.path.insert(0, str(HARNESS.parent))
from evaluate_recorded import recorded  # noqa: E402

pytestmark = pytest.mark.slow


def timeless(rollouts):
    """Rollouts by key without what a clock wrote."""
    return {r.key: dataclasses.replace(r, simulator_seconds=0.0, model_seconds=0.0, waiting_seconds=0.0) for r in rollouts}


def acting(name, policy):
    """An arm of a generator of requests, which is given the episode."""
    return Arm(name, lambda episode, *state: (Transcript(state[0], State(*state[1:])), policy(episode)))


def test_the_oracle_reaches_the_recorded_scores_step_by_step(gold_folder, tmp_path):
    golds = {gold.key: gold for gold in read_gold(gold_folder)}
    protocol = recorded(gold_folder, 12)
    played = evaluate(tmp_path / "out", protocol, arm("oracle", gold=gold_folder))
    assert [r.episode for r in played] == list(protocol.episodes)
    for rollout in played:
        gold = golds[rollout.episode.key]
        assert rollout.steps == gold.steps and rollout.description == gold.description
        assert (rollout.score, rollout.raw_score, rollout.best_score, rollout.stop) == (100, 100, 100, "success")
        assert (rollout.rejected, rollout.retries, rollout.error) == (0, 0, "") and rollout.simulator_seconds > 0
    assert timeless(read_rollouts(tmp_path / "out")) == timeless(played)


def test_a_killed_evaluation_ends_with_the_rows_of_an_unkilled_one(gold_folder, tmp_path):
    whole = evaluate(tmp_path / "whole", recorded(gold_folder), arm("oracle", gold=gold_folder), workers=1)
    rows = tmp_path / "out" / "rows.jsonl"
    for owed in (2, 5):
        child = subprocess.Popen([sys.executable, HARNESS, gold_folder, tmp_path / "out"])
        deadline = time.monotonic() + 120
        while not rows.exists() or rows.read_bytes().count(b"\n") < owed:
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
        child.wait()
    with pytest.raises(StoreError, match="not complete"):
        read_rollouts(tmp_path / "out")
    again = evaluate(tmp_path / "out", recorded(gold_folder), arm("oracle", gold=gold_folder))
    assert timeless(again) == timeless(whole)
    assert rows.read_bytes().count(b"\n") == len(whole)
    with pytest.raises(StoreError, match="arm"):
        evaluate(tmp_path / "out", recorded(gold_folder), arm("do-nothing"))


@pytest.fixture
def workers(monkeypatch):
    """Every worker that an evaluation starts."""
    started = []

    class Seen(Worker):
        def __init__(self):
            super().__init__()
            started.append(self)

    monkeypatch.setattr(module, "Worker", Seen)
    return started


def stopped(pid):
    """Whether no thread of a process runs; where the system does not say, yes."""
    return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in Path(f"/proc/{pid}/task").glob("*/stat"))


@pytest.mark.parametrize("fault", ["jvm", "worker", "hang"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_simulator_that_dies_costs_one_more_try(gold_folder, workers, monkeypatch, fault, times):
    protocol = recorded(gold_folder, 2)
    paths = {gold.key: gold.actions for gold in read_gold(gold_folder)}
    unlucky = protocol.episodes[1]
    faults = [fault] * times
    flights = []

    class Seen(module.Flight):
        def __post_init__(self):
            flights.append(self)
            super().__post_init__()

    monkeypatch.setattr(module, "Flight", Seen)

    def policy(episode):
        for number, action in enumerate(paths[episode.key]):
            if number == 1 and episode == unlucky and faults:
                worker, kind = workers[-1], faults.pop()
                pid = worker._process.pid if kind == "worker" else worker._jvm.value
                os.kill(pid, signal.SIGSTOP if kind == "hang" else signal.SIGKILL)
                if kind == "hang":
                    flights[-1].timeout_s = 1.0
                    while not stopped(pid):  # a thread that still runs on another core may answer
                        time.sleep(0.01)
            yield Act(action)

    played = {r.episode: r for r in play_all(protocol.episodes, acting("test", policy), protocol, 1)}
    assert len(played) == 2 and played[protocol.episodes[0]].retries == 0
    rollout = played[unlucky]
    assert rollout.retries == 1
    if times == 1:
        assert (rollout.stop, rollout.score, rollout.error) == ("success", 100, "")
        assert tuple(step.action for step in rollout.steps) == paths[unlucky.key]
    else:
        assert (rollout.stop, rollout.score) == ("error", 0) and rollout.error
    assert not any(worker.alive for worker in workers)


def test_a_java_that_starts_nothing_is_no_episodes_result(gold_folder, tmp_path, monkeypatch):
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nexit 1\n")
    java.chmod(0o755)
    with monkeypatch.context() as patched, pytest.raises(SimulatorError, match="did not start ScienceWorld"):
        patched.delenv("JAVA_HOME", raising=False)
        patched.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        evaluate(tmp_path / "out", recorded(gold_folder, 2, limit=8), arm("do-nothing"))
    found = evaluate(tmp_path / "out", recorded(gold_folder, 2, limit=8), arm("do-nothing"))
    assert [rollout.stop for rollout in found] == ["move_limit"] * 2


def test_no_simulator_is_one_sentence(gold_folder):
    with pytest.raises(InputError, match="at least one simulator"):
        list(play_all(recorded(gold_folder, 1).episodes, arm("do-nothing"), recorded(gold_folder, 1), 0))


@pytest.mark.parametrize("name", ["do-nothing", "random-valid"])
def test_baselines_are_the_same_for_a_seed(gold_folder, tmp_path, name):
    protocol = recorded(gold_folder, 3, limit=8, patience=6)
    once = evaluate(tmp_path / "1", protocol, arm(name, seed=3))
    again = evaluate(tmp_path / "2", protocol, arm(name, seed=3), workers=1)
    assert timeless(once) == timeless(again)
    with pytest.raises(StoreError, match="seed"):
        evaluate(tmp_path / "2", protocol, arm(name, seed=4))
    if name == "random-valid":
        assert timeless(evaluate(tmp_path / "3", protocol, arm(name, seed=4))) != timeless(once)


def test_every_end_has_its_name(gold_folder):
    """One episode an end; "wait1" lets a tick pass, and what is rejected lets none."""
    ends = {
        "gave_up": [],
        "move_limit": ["wait1"] * 9,
        "no_progress": ["fly to the moon"] * 9,
        "failure": ["focus on agent", "focus on air", "focus on hallway"],
    }
    protocol = recorded(gold_folder, len(ends), limit=4, patience=5)
    script = dict(zip(protocol.episodes, ends, strict=True))
    tested = acting("test", lambda episode: (Act(action) for action in ends[script[episode]]))
    for rollout in play_all(protocol.episodes, tested, protocol, 1):
        assert rollout.stop == script[rollout.episode] and not rollout.error
        assert rollout.score == max(0, rollout.raw_score) and (rollout.raw_score == -100) == (rollout.stop == "failure")
        assert rollout.rejected == len(rollout.steps) * (rollout.stop == "no_progress")


def test_rollouts_replay_to_their_score(gold_folder):
    """Contract 6, for a policy that asks a model and answers every kind of reply."""
    protocol = recorded(gold_folder, 3, limit=12)

    def policy(episode):
        for number in range(10):
            text = yield Ask("flat", [{"role": "user", "content": str(number)}])
            reply = yield Act(text if number % 2 else "wait1")
            assert isinstance(reply, Reply) and reply.look.startswith("This ")

    tested = acting("test", policy)
    tested.modules["flat"] = Said(lambda ask: ask.among[0] if ask.among else "open door")
    with ScienceWorld() as env:
        for rollout in play_all(protocol.episodes, tested, protocol, 2):
            _, steps = play(env, rollout.episode, [step.action for step in rollout.steps])
            assert [s.score for s in steps] == [s.score for s in rollout.steps] and tuple(steps)[:-1] == rollout.steps[:-1]


def test_a_mistake_of_the_user_ends_the_evaluation_and_its_simulators(gold_folder, tmp_path, workers):
    def policy(episode):
        yield Act("wait1")
        raise InputError("made up")

    with pytest.raises(InputError, match="made up"):
        evaluate(tmp_path / "out", _other(), acting("test", policy))
    assert workers and not any(worker.alive for worker in workers)


def test_what_an_arm_cannot_play_is_said_before_anything_is_played(gold_folder, tmp_path, workers):
    with pytest.raises(InputError, match=r"1 of the 1 episodes of other, such as boil/0/easy"):
        evaluate(tmp_path / "out", _other(), arm("oracle", gold=gold_folder))
    assert not workers and not (tmp_path / "out").exists()


def test_an_episode_that_a_limit_ended_is_stored_before_the_model_writes_for_another(gold_folder, monkeypatch):
    """A model may take minutes, and what is finished must not be lost meanwhile."""
    protocol = recorded(gold_folder, 6, limit=3)
    flights, stored = [], []

    class Seen(module.Flight):
        def __post_init__(self):
            flights.append(self)
            super().__post_init__()

    def answer(ask):
        waiting.extend(flight.episode for flight in flights if flight.rollout and flight.rollout not in stored)
        return "wait1"

    def policy(episode):
        while True:
            yield Act((yield Ask("flat", [{"role": "user", "content": "?"}])))

    monkeypatch.setattr(module, "Flight", Seen)
    waiting = []
    tested = acting("test", policy)
    tested.modules["flat"] = Said(answer)
    for rollout in play_all(protocol.episodes, tested, protocol, 3):
        stored.append(rollout)
    assert len(stored) == 6 and {rollout.stop for rollout in stored} == {"move_limit"} and not waiting


def test_another_folder_of_the_same_name_is_another_arm(gold_folder, tmp_path):
    (tmp_path / "other").mkdir()
    other = shutil.copytree(gold_folder, tmp_path / "other" / gold_folder.name)
    said = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(said | {"config": {**said["config"], "per_task": 99}}))
    protocol = recorded(gold_folder, 1, limit=2)
    evaluate(tmp_path / "out", protocol, arm("nearest", gold=gold_folder))
    with pytest.raises(StoreError, match="gold"):
        evaluate(tmp_path / "out", protocol, arm("nearest", gold=other))


def _other():
    from sgd_hf.scienceworld.tasks import episode

    return Protocol("other", (episode("boil", 0),))


def test_valid_actions_reach_the_policy(gold_folder):
    protocol = recorded(gold_folder, 1)
    heard = []

    def policy(episode):
        heard.extend((yield Valid()))
        yield Act(heard[0])

    (rollout,) = play_all(protocol.episodes, acting("test", policy), protocol, 1)
    assert len(heard) > 50 and all(isinstance(action, str) for action in heard) and len(rollout.steps) == 1


def test_a_trained_agent_plays(run, gold_folder, tmp_path):
    protocol = recorded(gold_folder, 2, limit=10, patience=8)
    for name, folder in (("hierarchical", run), ("flat", run / "flat")):
        for rollout in evaluate(tmp_path / name, protocol, arm(name, folder)):
            assert rollout.stop in ("move_limit", "no_progress", "gave_up", "success", "failure") and not rollout.error
            assert all(0 <= trace.start <= trace.end <= len(rollout.steps) for trace in rollout.subgoals)
            assert rollout.model_seconds > 0 and 0 <= rollout.score <= 100
