"""Gold paths: every row replays, rewrites shorten, a killed run continues, and bad input is one sentence."""

import os
import signal
import subprocess
import sys
import time

import pytest

from sgd_hf.core.errors import InputError, SimulatorError, StoreError
from sgd_hf.core.records import GoldPath, Step, from_row
from sgd_hf.corpus.collect import collect, gold_row, read_gold, rewrite
from sgd_hf.scienceworld import tasks
from sgd_hf.scienceworld.environment import Lost, ScienceWorld, play
from sgd_hf.scienceworld.workers import Pool

TASKS = ["find-non-living-thing", "lifespan-longest-lived", "power-component", "identify-life-stages-2"]
ARGUMENTS = {"split": "train", "tasks": TASKS, "per_task": 2, "workers": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("gold") / "train"
    collect(out, **ARGUMENTS)
    return out


@pytest.fixture(scope="module")
def golds(folder):
    return {gold.key: gold for gold in read_gold(folder)}


def look(room):
    return f"This room is called the {room}. In it, you see: \n\tthe agent"


def walked(*steps):
    """Steps from (action, observation, room after it, moves after it)."""
    return [Step(action, observation, look(room), "", 0, moves, False) for action, observation, room, moves in steps]


def test_every_row_replays_to_its_score_with_the_same_text_in_another_jvm(golds):
    assert len(golds) == 8
    with ScienceWorld() as env:
        for gold in golds.values():
            start, steps = play(env, gold.episode, gold.actions)
            assert tuple(steps) == gold.steps and steps[-1].done and steps[-1].score == gold.oracle_score == 100
            assert (start["description"], start["look"], start["inventory"]) == (gold.description, gold.look, gold.inventory)


def test_rewrites_shorten_and_are_named(golds):
    short = golds["find-non-living-thing/1/easy"]
    assert {"noops", "teleport"} <= set(short.rewrites) and len(short.steps) < short.oracle_actions
    assert any(action.startswith("teleport to ") for action in short.actions)
    for gold in golds.values():
        if "teleport" in gold.rewrites:
            assert not any(action.startswith("go to ") for action in gold.actions)
        if "noops" in gold.rewrites:
            assert not any("already open" in step.observation for step in gold.steps)


def test_a_rewrite_that_spoils_the_path_is_not_kept(golds):
    gold = golds["identify-life-stages-2/0/easy"]  # fewer moves, and the plant has not grown yet
    assert "teleport" not in gold.rewrites and "noops" not in gold.rewrites and gold.steps[-1].score == 100


def test_without_teleport_the_walks_stay():
    with ScienceWorld() as env:
        row = gold_row(env, (tasks.episode("find-non-living-thing", 1), False))
    actions = [step["action"] for step in row["gold"]["steps"]]
    assert any(action.startswith("go to ") for action in actions) and not any(action.startswith("teleport") for action in actions)


def test_an_oracle_that_fails_is_a_row_with_its_reason():
    with ScienceWorld() as env:
        assert gold_row(env, (tasks.episode("freeze", 11), True)) == {"gold": None, "reason": "the oracle itself reaches 87"}


def test_a_path_that_the_machine_failed_is_tried_again_and_one_that_the_simulator_has_not_is_a_row(tmp_path, monkeypatch):
    outcomes = [Lost("A simulator worker died before it answered; see."), SimulatorError("The simulator has no gold path; leave it out.")]
    monkeypatch.setattr(Pool, "run", lambda self, function, items: zip(items, outcomes, strict=True))
    with pytest.raises(SimulatorError, match=r"^1 paths failed with the simulator \(A simulator worker died before it answered\); repeat"):
        collect(tmp_path, "train", ["boil"], 2)
    with pytest.raises(StoreError, match="not complete"):
        list(read_gold(tmp_path))
    del outcomes[0]
    found = collect(tmp_path, "train", ["boil"], 2)
    assert list(found["reasons"]) == ["boil/0/easy", "boil/1/easy"]


def test_the_summary_counts_the_rows(folder):
    found = collect(folder, **ARGUMENTS)
    assert (found["episodes"], found["accepted"], found["rejected"], found["reasons"]) == (8, 8, 0, {})
    assert list(found["tasks"]) == sorted(TASKS, key=list(tasks.TASKS).index)
    assert found["mean_actions"] < found["mean_oracle_actions"]


def test_a_walk_is_one_teleport_with_the_doors_on_its_way():
    steps = walked(
        ("open door to hallway", "The door is now open.", "kitchen", 1),
        ("go to hallway", "You move to the hallway.", "hallway", 2),
        ("open door to workshop", "The door is now open.", "hallway", 3),
        ("go to workshop", "You move to the workshop.", "workshop", 4),
        ("open door to hallway", "The door is already open.", "workshop", 5),
        ("open cupboard", "The cupboard is now open.", "workshop", 6),
    )
    actions, changed = rewrite(look("kitchen"), steps, ("teleport",))
    assert (actions, changed) == (["teleport to workshop", "open door to hallway", "open cupboard"], ("teleport",))


def test_a_walk_that_ends_where_it_began_disappears():
    steps = walked(
        ("go to hallway", "You move to the hallway.", "hallway", 1),
        ("look around", look("hallway"), "hallway", 1),
        ("go to kitchen", "You move to the kitchen.", "kitchen", 2),
        ("wait1", "You decide to wait for 1 iterations.", "kitchen", 4),
    )
    assert rewrite(look("kitchen"), steps, ("free", "teleport")) == (["wait1"], ("free", "teleport"))


def test_a_closed_door_stays_and_parts_two_walks():
    steps = walked(
        ("go to hallway", "You move to the hallway.", "hallway", 1),
        ("close door to kitchen", "The door is now closed.", "hallway", 2),
        ("go to workshop", "You move to the workshop.", "workshop", 3),
    )
    actions, _ = rewrite(look("kitchen"), steps, ("teleport",))
    assert actions == ["teleport to hallway", "close door to kitchen", "teleport to workshop"]


def test_what_does_nothing_is_told_by_its_reply_and_its_moves():
    steps = walked(
        ("0", "No known action matches that input.", "kitchen", 0),
        ("look around", look("kitchen"), "kitchen", 0),
        ("connect book to wire", "No known action matches that input.", "kitchen", 0),
        ("open freezer", "The freezer is already open.", "kitchen", 1),
        ("pour jug in jug", "You can't move something into itself.", "kitchen", 2),
        ("activate stove", "The stove appears broken, and can't be activated or deactivated.", "kitchen", 3),
    )
    assert rewrite(look("kitchen"), steps, ("answers", "free", "noops")) == (["activate stove"], ("answers", "free", "noops"))
    assert rewrite(look("kitchen"), steps, ("answers", "free"))[0] == ["open freezer", "pour jug in jug", "activate stove"]


def test_a_brief_path_looks_no_more_than_it_has_to():
    steps = walked(
        *((action, "a brick", "workshop", 0) for action in ["look at plane a"] * 12 + ["examine watch"] + ["look at plane b"] * 11)
    )
    actions, changed = rewrite(look("workshop"), steps, ("brief",))
    assert actions == ["look at plane a"] * 10 + ["examine watch"] + ["look at plane b"] * 10 and changed == ("brief",)


@pytest.mark.parametrize(
    ("phase", "readings", "kept"), [("solid", (3, 20, 30), 4), ("liquid", (30, 9, 3), 4), ("solid", (3, 4, 5), 6), ("", (3, 20, 30), 6)]
)
def test_a_brief_path_measures_until_the_side_of_the_limit_is_known(phase, readings, kept):
    task = "Your task is to measure. If the melting point of solid unknown substance B is above 10.0 degrees celsius, focus on the red box."
    measured = [("examine B", "B"), (f"use thermometer in inventory on {phase} B", "")]
    told = [(a, o or f"the thermometer measures a temperature of {t} degrees celsius") for t in readings for a, o in measured]
    steps = walked(*((*one, "kitchen", 0) for one in [("activate stove", ""), *told, ("focus on red box", "")]))
    actions, _ = rewrite(look("kitchen"), steps, ("brief",), task)
    assert actions == [step.action for step in steps[: 1 + kept]] + ["focus on red box"]


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_rows(tmp_path, golds):
    out = tmp_path / "gold"
    program = f"from sgd_hf.corpus.collect import collect\nif __name__ == '__main__':\n    collect({str(out)!r}, **{ARGUMENTS!r})\n"
    (tmp_path / "run.py").write_text(program)
    child = subprocess.Popen([sys.executable, tmp_path / "run.py"])
    deadline = time.monotonic() + 120
    while not (out / "rows.jsonl").exists() or (out / "rows.jsonl").read_bytes().count(b"\n") < 2:
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with pytest.raises(StoreError, match="not complete"):
        list(read_gold(out))
    before = (out / "rows.jsonl").read_bytes()
    collect(out, **ARGUMENTS)
    assert (out / "rows.jsonl").read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert {gold.key: gold for gold in read_gold(out)} == golds
    assert (out / "rows.jsonl").read_bytes().count(b"\n") == len(golds)


@pytest.mark.parametrize("change", [{"teleport": False}, {"per_task": 3}, {"split": "dev"}])
def test_a_changed_configuration_is_refused_with_its_key(folder, change):
    before = (folder / "rows.jsonl").read_bytes()
    with pytest.raises(StoreError, match=next(iter(change))):
        collect(folder, **{**ARGUMENTS, **change})
    assert (folder / "rows.jsonl").read_bytes() == before


def test_a_name_that_two_things_in_sight_share_is_not_taken():
    """Both planes hold the block in their turn: `move wood block to inclined plane`, as its answer has it, would mean the first."""
    with ScienceWorld() as env:
        gold = from_row(GoldPath, gold_row(env, (tasks.episode("inclined-plane-determine-angle", 9), True))["gold"])
    assert "names" in gold.rewrites
    for plane in ("inclined plane b", "inclined plane f"):
        seen = [step.observation for step in gold.steps if step.action.lower() == f"look at {plane}"]
        assert len(seen) == 10 and all("wood block" in one for one in seen)


def test_scattered_variations_are_a_choice_that_grows_and_lies_over_the_whole_split(tmp_path):
    scattered = collect(tmp_path / "gold", **{**ARGUMENTS, "tasks": TASKS[:1], "scatter": True})
    assert scattered["tasks"].keys() == {TASKS[0]}
    own = [(TASKS[0], v) for v in tasks.variations(TASKS[0], "train")]
    held = sorted((gold.episode.task, gold.episode.variation) for gold in read_gold(tmp_path / "gold"))
    assert held == sorted(tasks.scattered(own)[:2]) != own[:2]


BAD = [
    {"scatter": True, "per_task": None},
    {"tasks": ["find-nothing"]},
    {"split": "validation"},
    {"per_task": 0},
    {"workers": 0},
    {"simplification": "hard"},
]


@pytest.mark.parametrize("change", BAD)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, change):
    with pytest.raises(InputError):
        collect(tmp_path / "gold", **{**ARGUMENTS, **change})
    assert not (tmp_path / "gold").exists()
