"""Scores are what a reader computes by hand, every episode counts, and neither order nor luck changes them."""

import dataclasses
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_hf.core.errors import InputError
from sgd_hf.core.records import Rollout, Step, SubgoalTrace
from sgd_hf.evaluation.scoring import interval, summarise, within
from sgd_hf.scienceworld.tasks import TASKS, episode

NAMES = ("find-plant", "use-thermometer", "boil", "grow-fruit")


def rollout(task="find-plant", variation=0, value=0, arm="flat", stop="move_limit", best=None, actions=("wait1",), **other):
    steps = tuple(Step(a, "…", "", "", value, 2 * i, False) for i, a in enumerate(actions, 1))
    raw = -100 if stop == "failure" else value
    return Rollout(episode(task, variation), arm, "…", steps, (), value, raw, value if best is None else best, stop, 0, 0, **other)


rollouts = st.lists(
    st.builds(
        rollout,
        st.sampled_from(NAMES),
        st.integers(0, 9),
        st.integers(0, 100),
        stop=st.sampled_from(["move_limit", "no_progress", "failure", "error", "success"]),
    ),
    min_size=1,
    max_size=25,
    unique_by=lambda r: r.key,
)


def test_macro_is_the_mean_of_task_means_and_micro_the_mean_of_episodes():
    scored = [("find-plant", 100), ("find-plant", 50), ("boil", 3), ("use-thermometer", 27)]
    arm = summarise(rollout(task, i, value) for i, (task, value) in enumerate(scored))["flat"]
    assert arm["macro"] == pytest.approx((75 + 3 + 27) / 3)
    assert arm["micro"] == pytest.approx((100 + 50 + 3 + 27) / 4)
    assert arm["success"] == 0.25
    assert arm["classes"] == {"short": 75.0, "medium": 27.0, "long": 3.0}
    assert arm["tasks"]["find-plant"] == {"episodes": 2, "score": 75.0, "success": 0.5}


def test_a_class_without_a_task_has_no_score_rather_than_zero():
    assert summarise([rollout("boil", value=9)])["flat"]["classes"] == {"short": None, "medium": None, "long": 9.0}


@pytest.mark.parametrize("stop", ["failure", "error"])
def test_a_failed_or_crashed_episode_is_a_row_that_counts_zero(stop):
    arm = summarise([rollout(value=80), rollout(variation=1, value=60, stop=stop)])["flat"]
    assert arm["macro"] == arm["micro"] == 40.0
    assert arm["episodes"] == 2
    assert arm["stops"] == {stop: 1, "move_limit": 1}
    assert (arm["errors"], arm["failures"]) == ((1, 0) if stop == "error" else (0, 1))


def test_the_best_score_before_a_failure_is_kept_apart():
    arm = summarise([rollout(value=0, best=66, stop="failure", actions=("go to kitchen", "focus on table"))])["flat"]
    assert (arm["macro"], arm["best_macro"]) == (0.0, 66.0)


def test_an_interval_without_width_is_not_shown():
    assert within([16.5, 19.3]) == "16.5–19.3" and within([0.0, 0.0]) == within([48.1, 48.1]) == ""


def test_only_a_failure_by_a_focus_is_a_wrong_focus():
    ends = [("focus on table", "failure"), ("pick up table", "failure"), ("focus on plant", "move_limit")]
    arm = summarise(rollout(variation=i, stop=stop, actions=("wait1", action)) for i, (action, stop) in enumerate(ends))["flat"]
    assert (arm["failures"], arm["focus_failures"]) == (2, 1)


def test_rates_are_over_actions_and_moves_are_ticks():
    first = dataclasses.replace(rollout(actions=("a", "b", "c")), rejected=2, repaired=1)
    arm = summarise([first, rollout(variation=1, actions=())])["flat"]
    assert arm["rejected_share"] == pytest.approx(2 / 3)
    assert (arm["repaired"], arm["mean_actions"], arm["mean_moves"]) == (1, 1.5, 3.0)


def test_an_arm_that_never_acts_has_rates_of_zero():
    arm = summarise([rollout(arm="do-nothing", actions=())])["do-nothing"]
    assert (arm["rejected_share"], arm["mean_moves"], arm["macro"]) == (0.0, 0.0, 0.0)


def test_subgoals_are_counted_by_fate_and_length():
    traces = (SubgoalTrace("navigate_to(kitchen)", 0, 3, "reached"), SubgoalTrace("pick_up(cup)", 3, 4, "stalled"))
    arms = summarise([dataclasses.replace(rollout(arm="hierarchical", actions=("a", "b", "c", "d")), subgoals=traces), rollout()])
    found = arms["hierarchical"]["subgoals"]
    assert (found["per_episode"], found["actions_each"], found["fates"]) == (2.0, 2.0, {"reached": 1, "stalled": 1})
    assert arms["flat"]["subgoals"] is None


@settings(max_examples=40, deadline=None)
@given(rollouts, st.randoms())
def test_order_does_not_matter_and_the_same_seed_gives_the_same_numbers(some, shuffler: random.Random):
    other = list(some)
    shuffler.shuffle(other)
    assert summarise(some, seed=5, resamples=200) == summarise(other, seed=5, resamples=200)


@settings(max_examples=40, deadline=None)
@given(rollouts)
def test_the_interval_holds_the_mean_and_all_numbers_are_plain_json(some):
    arm = summarise(some, resamples=400)["flat"]
    low, high = arm["interval"]
    assert 0 <= low <= arm["macro"] + 1e-9 and arm["macro"] - 1e-9 <= high <= 100
    assert sum(arm["stops"].values()) == sum(arm["diagnosis"].values()) == arm["episodes"] == len(some)
    assert json.loads(json.dumps(arm)) == arm


def test_the_interval_resamples_within_tasks_only():
    apart = [rollout("boil", v, 0) for v in range(5)] + [rollout("find-plant", v, 100) for v in range(5)]
    assert summarise(apart)["flat"]["interval"] == [50.0, 50.0], "tasks differ, episodes of one task do not"
    mixed = [rollout("boil", v, 100 * (v % 2)) for v in range(10)]
    low, high = summarise(mixed)["flat"]["interval"]
    assert 10 <= low < 40 and 60 < high <= 90, "ten coin flips: 50 ± 31"


def test_an_interval_of_three_episodes_a_task_is_wide_enough():
    """Nominal 95 %; n draws of n would hold the mean in fewer than 90 of 100 cases."""
    chance = np.random.default_rng(0)
    bounds = [interval(chance.normal(size=(30, 3)).tolist(), seed, 500) for seed in range(300)]
    assert 0.91 <= np.mean([low <= 0 <= high for low, high in bounds]) <= 0.98


def test_another_seed_draws_other_samples():
    mixed = [rollout("boil", v, 7 * v) for v in range(10)]
    assert summarise(mixed, seed=1)["flat"]["interval"] != summarise(mixed, seed=2)["flat"]["interval"]


def test_a_task_of_no_class_is_refused():
    strange = dataclasses.replace(rollout(), episode=dataclasses.replace(episode("boil", 0), task="bake-a-cake"))
    with pytest.raises(InputError):
        summarise([strange])
    assert {task.length for task in TASKS.values()} == {"short", "medium", "long"}
