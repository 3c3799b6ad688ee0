"""The rule teacher on recorded gold paths, one of each task, and on sequences that no task has."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import gold_paths

from sgd_hf.core.records import Episode, GoldPath, Step
from sgd_hf.core.subgoals import VERBS, grounded, parse, reached
from sgd_hf.corpus import rules
from sgd_hf.corpus.alignment import check_cover
from sgd_hf.corpus.rules import LONGEST, segment, views

PATHS = gold_paths()
each_task = pytest.mark.parametrize("gold", PATHS, ids=lambda gold: gold.episode.task)


def path(*actions: str, look: str = "This room is called the kitchen. In it, you see: \n\tthe agent") -> GoldPath:
    steps = tuple(Step(action, "", look, "", 0, i + 1, False) for i, action in enumerate(actions))
    return GoldPath(Episode("boil", 0, "train"), "", look, "", steps, len(steps), 100, (), "", "", "")


def cut(*actions: str, look: str = "This room is called the kitchen. In it, you see: \n\tthe agent") -> list[str]:
    return [s.subgoal for s in segment(path(*actions, look=look))]


def test_all_thirty_tasks_are_recorded() -> None:
    assert len({gold.episode.task for gold in PATHS}) == len(PATHS) == 30


@each_task
def test_segments_cover_the_path_and_are_of_useful_size(gold: GoldPath) -> None:
    segments = segment(gold)
    assert check_cover(segments, len(gold.steps))
    assert max(s.end - s.start for s in segments) <= LONGEST


@each_task
def test_subgoals_are_canonical_and_never_the_last_word(gold: GoldPath) -> None:
    for s in segment(gold):
        assert str(parse(s.subgoal)) == s.subgoal
        assert parse(s.subgoal).verb != "complete_task"


@each_task
def test_arguments_were_in_sight_when_the_segment_starts(gold: GoldPath) -> None:
    view = views(gold)
    hidden = [s.subgoal for s in segment(gold) if not grounded(parse(s.subgoal), view(s.start).seen)]
    assert hidden == []


@each_task
def test_no_segment_looks_ahead(gold: GoldPath) -> None:
    """Cut off after any segment, the path is cut the same way up to there."""
    segments = segment(gold)
    for i in range(0, len(segments), 3):
        shorter = GoldPath(**{**gold.__dict__, "steps": gold.steps[: segments[i].end]})
        assert segment(shorter)[:i] == segments[:i]


@each_task
def test_a_post_condition_is_not_met_before_the_segment_ends(gold: GoldPath) -> None:
    for s in segment(gold):
        before = 2 if s.subgoal.startswith("watch(") else 1  # the oracle looks once more where the block has come to its end
        states = [reached(parse(s.subgoal), step.look, step.inventory) for step in gold.steps[s.start : s.end - before]]
        assert True not in states, s.subgoal


def test_nearly_all_segments_with_a_post_condition_reach_it() -> None:
    """Those that do not tried a broken stove or sink."""
    ends = [reached(parse(s.subgoal), gold.steps[s.end - 1].look, gold.steps[s.end - 1].inventory) for gold in PATHS for s in segment(gold)]
    assert ends.count(True) > 0.95 * (ends.count(True) + ends.count(False))


def taken() -> list[str]:
    """A sub-goal of four things."""
    fruits = ("red apple", "banana", "orange", "potato")
    look = "This room is called the kitchen. In it, you see: \n\tthe agent" + "".join(f"\n\ta {fruit}" for fruit in fruits)
    return cut(*(f"pick up {fruit}" for fruit in fruits), look=look)


def test_same_path_same_cut_in_another_process() -> None:
    """Whose sets of text have another order."""
    assert taken() == ["pick_up(red apple, banana, orange, potato)"]
    for seed in "12":
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": seed}
        child = subprocess.run(
            [sys.executable, "-c", "import test_rules; print(test_rules.taken())"], env=env, capture_output=True, text=True
        )
        assert child.stdout == f"{taken()}\n", child.stderr


def test_hops_of_a_walk_merge_until_a_room_comes_again() -> None:
    assert cut("open door to hallway", "go to hallway", "open door to kitchen", "go to kitchen") == ["navigate_to(kitchen)"]
    assert cut("go to hallway", "go to kitchen", "go to hallway", "go to workshop") == ["navigate_to(kitchen)", "navigate_to(workshop)"]
    assert cut("teleport to foundry") == ["navigate_to(foundry)"]
    assert cut("look around", "go to hallway", "look around") == ["navigate_to(hallway)", "watch(room)"]
    assert cut("open door to hallway", "wait1") == ["open(door to hallway)", "wait(1)"]


def test_long_runs_are_chunked() -> None:
    assert cut(*["look at ramp"] * 23) == ["watch(ramp)"] * 3
    assert cut(*["wait1"] * 8) == ["wait(5)", "wait(3)"]
    assert cut(*["examine ice", "use thermometer in inventory on ice"] * 7) == ["measure(ice)"] * 2


def test_odd_referents_become_the_names_in_sight() -> None:
    look = "This outside location is called the outside. Here you see: \n\ta giant tortoise egg\n\ta red light bulb\n\ta baby wolf"
    steps = (
        Step("focus on egg giant tortoise", "You focus on the giant tortoise egg.", look, "", 50, 1, False),
        Step("drop light", "You move the red light bulb to the outside.", look, "", 50, 2, False),
        Step("pick up baby baby wolf", "You move the wolf to the inventory.", look, "", 50, 3, False),
    )
    gold = GoldPath(Episode("boil", 0, "train"), "", look, "", steps, 3, 100, (), "", "", "")
    assert [s.subgoal for s in segment(gold)] == ["focus_on(giant tortoise egg)", "drop(red light bulb)", "pick_up(baby wolf)"]


BEGINNINGS = ["", "0", "look around", "wait1", "wait", "open door to ", "go to ", "move ", "pour ", "connect ", "mix ", "read "]
BEGINNINGS += ["use thermometer in inventory on ", "use shovel on ", "pick up ", "drop ", "open ", "close ", "activate "]
BEGINNINGS += ["deactivate ", "focus on ", "examine ", "look at ", "flush "]
ENDS = ["", "kitchen", "jug to sink", "jug into flower pot 3", "a (b, c)", "sink", "stove", "ice in metal pot", "block to inclined plane a"]
action = st.tuples(st.sampled_from(BEGINNINGS), st.sampled_from(ENDS)).map("".join)


@given(st.lists(action | st.text("ab_()', \n", max_size=9) | st.text(max_size=20), max_size=40))
def test_any_actions_are_covered(actions: list[str]) -> None:
    segments = segment(path(*actions))
    assert check_cover(segments, len(actions))
    assert all(parse(s.subgoal).verb in VERBS for s in segments)


def test_the_rules_name_every_verb_of_the_grammar_and_no_other() -> None:
    assert {verb for verb, _, _ in rules._RULES} == set(VERBS) - {"complete_task"}
