"""Every episode has one label, that of the first rule that fits, and every rate is a share of what can be judged."""

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_hf.core.records import Rollout, Step, SubgoalTrace
from sgd_hf.core.subgoals import grounded, parse, plain
from sgd_hf.evaluation.diagnosis import CYCLE, LABELS, LATE, TURNS, label, looped, subgoal_metrics
from sgd_hf.evaluation.report import WENT
from sgd_hf.evaluation.scoring import summarise
from sgd_hf.scienceworld.tasks import episode

NO = "No known action matches that input."
KITCHEN = "This room is called the kitchen. In it, you see: \n\tthe agent\n\ta metal pot\n"
HALLWAY = "This room is called the hallway. In it, you see: \n\tthe agent\n"


def steps(*acted, scores=None, look=KITCHEN, inventory="In your inventory, you see:\n\ta thermometer\n"):
    """Steps of actions, each a string or a pair with its observation; one move each."""
    pairs = [(a, f"you {a}") if isinstance(a, str) else a for a in acted]
    values = scores or [0] * len(pairs)
    return tuple(Step(a, o, look, inventory, s, i, False) for i, ((a, o), s) in enumerate(zip(pairs, values, strict=True), 1))


def rollout(lived=(), stop="move_limit", goals=(), variation=0, arm="hierarchical", description="Find a(n) pea plant."):
    raw = -100 if stop == "failure" else lived[-1].score if lived else 0
    best = max((s.score for s in lived), default=0)
    return Rollout(episode("find-plant", variation), arm, description, tuple(lived), tuple(goals), max(raw, 0), raw, best, stop, 0, 0)


def distinct(n):
    return [f"pick up thing {i}" for i in range(n)]


def goals(*names, fate="ended"):
    """One action under each of these sub-goals."""
    return [SubgoalTrace(name, i, i + 1, fate) for i, name in enumerate(names)]


CASES = {
    "crashed": rollout(steps("focus on table"), stop="error"),
    "wrong_focus": rollout(steps("go to kitchen", "focus on table"), stop="failure"),
    "failed": rollout(steps("focus on table", "pick up table"), stop="failure"),
    "solved": rollout(steps(*["pick up pot"] * 9, scores=[0] * 8 + [100]), stop="success"),
    "gave_up": rollout(steps(*["pick up pot"] * 9), stop="gave_up"),
    "rejected": rollout(steps(*[("fly", NO)] * 11, *distinct(9)), stop="no_progress"),
    "loop": rollout(steps(*["open door", "close door"] * TURNS), stop="no_progress"),
    "stuck": rollout(steps(*distinct(4)), goals=[SubgoalTrace("pick_up(cup)", i, i + 2, "stalled") for i in (0, 2)]),
    "out_of_moves": rollout(steps(*distinct(30), scores=[5] * 29 + [9])),
    "no_progress": rollout(steps(*distinct(30), scores=[5] * 30)),
}


@pytest.mark.parametrize("name", CASES)
def test_an_episode_made_for_a_label_gets_it(name):
    assert label(CASES[name]) == name


def test_there_is_a_case_and_a_word_for_every_label():
    assert set(CASES) == set(LABELS) == set(WENT)


def test_the_first_rule_that_fits_decides():
    stuck = CASES["stuck"].subgoals
    everything = rollout(steps(*distinct(4), *[("fly", NO)] * 20), goals=[*stuck, SubgoalTrace("pick_up(cup)", 4, 24, "stalled")])
    assert label(everything) == "rejected", "it loops and is stuck because it is rejected"
    half = rollout(steps(*["pick up pot"] * 10, *[("fly", NO)] * 10), goals=stuck)
    assert label(half) == "loop", "half is not more than half"


def test_only_the_end_of_an_episode_explains_its_end():
    lived = [("fly", NO)] * 30 + distinct(LATE)
    stalled = [SubgoalTrace("pick_up(cup)", i, i + 2, "stalled") for i in (0, 2)]
    assert label(rollout(steps(*lived), goals=stalled)) == "no_progress"
    assert summarise([rollout(steps(*lived))])["hierarchical"]["looped"] == 1.0


def test_rising_late_is_progress_only_where_the_limit_ended_it():
    assert label(dataclasses.replace(CASES["out_of_moves"], stop="no_progress")) == "no_progress"
    assert label(rollout(steps(*distinct(30), scores=[9] * 9 + [5] * 20 + [7]))) == "no_progress", "it had been higher before"
    assert label(rollout(steps(*distinct(9), scores=[5] * 9))) == "no_progress", "a rise at the start of a short episode is not late"


@pytest.mark.parametrize("cycle", range(1, CYCLE + 1))
def test_a_cycle_is_a_loop_at_its_third_turn(cycle):
    turns = distinct(cycle) * TURNS
    assert looped(steps("go to hallway", *turns))
    assert not looped(steps("go to hallway", *turns[:-1]))


def test_a_change_of_score_or_of_the_reply_makes_no_loop():
    assert not looped(steps(*["pick up pot"] * 5, scores=[0, 0, 3, 3, 5]))
    assert not looped(steps(*(("pick up pot", f"{i}") for i in range(9))))


def test_waiting_and_measuring_are_no_loop_but_part_of_one():
    assert not looped(steps(*["wait1"] * 50))
    assert not looped(steps(*["examine water", "use thermometer on water"] * 9))
    assert looped(steps(*["look around", "open door"] * TURNS))


def test_a_subgoal_written_again_or_in_alternation_is_thrash():
    def thrash(*rooms):
        names = [f"navigate_to({room})" for room in rooms]
        return subgoal_metrics([rollout(steps(*distinct(len(names))), goals=goals(*names))])["thrash"]

    kitchen, hallway, outside = "kitchen", "hallway", "outside"
    assert thrash(kitchen, kitchen, hallway, hallway) == 2 / 4
    assert thrash(kitchen, hallway, kitchen) == 0, "coming back once is no alternation"
    assert thrash(kitchen, hallway, kitchen, hallway, outside) == 1 / 5


def test_a_subgoal_is_completed_by_acting_until_its_end():
    fates = [("ended", 1), ("ended", 0), ("reached", 1), ("stalled", 1), ("replaced", 1), ("open", 1), ("differs", 0)]
    found = [SubgoalTrace("wait(1)", 0, end, fate) for fate, end in fates]
    assert subgoal_metrics([rollout(steps("wait"), goals=found)])["completed"] == 2 / 7


def test_a_postcondition_is_judged_in_the_last_state_and_only_where_one_shows():
    lived = steps("go to kitchen", "pick up pot")
    judged = goals("navigate_to(kitchen)", "pick_up(metal pot)")
    assert subgoal_metrics([rollout(lived, goals=judged)])["held"] == 1 / 2
    unclear = [SubgoalTrace("navigate_to(kitchen)", 0, 0, "stalled"), *goals("wait(1)")]
    assert subgoal_metrics([rollout(lived, goals=unclear)])["held"] is None


def test_grounded_means_seen_before_the_subgoal_began():
    lived = steps("go to hallway", look=HALLWAY) + steps("go to kitchen", ("open cupboard", "inside is a blue jug"))

    def share(name, start):
        return subgoal_metrics([rollout(lived, goals=[SubgoalTrace(name, start, 3, "open")])])["grounded"]

    assert share("focus_on(pea plant)", 1) == 1, "from the description"
    assert (share("pick_up(metal pot)", 1), share("pick_up(metal pot)", 2)) == (0, 1), "from the look after the second action"
    assert (share("pick_up(blue jug)", 2), share("pick_up(blue jug)", 3)) == (0, 1), "from the third observation"
    assert share("pick_up(metal pot)", 0) == 0


def test_what_is_seen_and_carried_at_the_start_grounds_the_first_subgoal():
    def share(name, **first):
        return subgoal_metrics([dataclasses.replace(rollout(steps("wait"), goals=goals(name)), **first)])["grounded"]

    assert share("pick_up(metal pot)", look=KITCHEN) == share("drop(thermometer)", inventory="In it:\n\ta thermometer\n") == 1
    assert share("pick_up(metal pot)", look=HALLWAY) == 0


def test_parsed_is_the_share_of_all_answers_of_the_planner():
    def share(*counts):
        return subgoal_metrics([dataclasses.replace(CASES["loop"], planned=p, unusable=u) for p, u in counts])["parsed"]

    assert share((10, 1), (30, 0)) == 39 / 40 and share((3, 3)) == 0 and share((0, 0)) is None


stops = st.sampled_from(["success", "failure", "move_limit", "no_progress", "gave_up", "error"])
acted = st.sampled_from(["wait", "open door", "close door", "focus on table", ("fly", NO), ("look", "a blue jug")])
names = st.sampled_from(["navigate_to(kitchen)", "pick_up(metal pot)", "pick_up(blue jug)", "wait(3)", "focus_on(pea plant)"])
fates = st.sampled_from(["ended", "reached", "stalled", "replaced", "open"])


@st.composite
def episodes(draw):
    """Any episodes of one arm, with sub-goals that cover their actions."""
    found = []
    for variation in range(draw(st.integers(1, 6))):
        many = draw(st.lists(st.tuples(acted, st.sampled_from([0, 0, 0, 7, 50, 100])), max_size=45))
        cuts = sorted(draw(st.lists(st.integers(0, len(many)), max_size=6)))
        traces = [SubgoalTrace(draw(names), a, b, draw(fates)) for a, b in zip([0, *cuts], [*cuts, len(many)], strict=True)]
        found.append(rollout(steps(*(a for a, _ in many), scores=[s for _, s in many]), draw(stops), traces, variation))
    return found


@settings(max_examples=60, deadline=None)
@given(episodes(), st.randoms())
def test_labels_partition_the_episodes_and_order_does_not_matter(some, shuffler: random.Random):
    arm = summarise(some, resamples=20)["hierarchical"]
    assert sum(arm["diagnosis"].values()) == len(some) and set(arm["diagnosis"]) <= set(LABELS)
    assert arm["diagnosis"].get("crashed", 0) == arm["errors"] and arm["diagnosis"].get("wrong_focus", 0) == arm["focus_failures"]
    assert arm["diagnosis"].get("solved", 0) == round(arm["success"] * len(some))
    shuffler.shuffle(some)
    other = summarise(some, resamples=20)["hierarchical"]
    assert (other["diagnosis"], other["subgoals"], other["looped"]) == (arm["diagnosis"], arm["subgoals"], arm["looped"])


@settings(max_examples=60, deadline=None)
@given(episodes())
def test_rates_are_shares_and_grounding_is_that_of_the_grammar(some):
    found = subgoal_metrics(some)
    assert all(value is None or 0 <= value <= 1 for value in found.values())
    judged = []
    for r in some:
        for trace in r.subgoals:
            seen = [r.description, *(t for s in r.steps[: trace.start] for t in (s.look, s.inventory, s.observation))]
            judged.append(grounded(parse(trace.subgoal), plain("\n".join(seen))))
    assert found["grounded"] == (sum(judged) / len(judged) if judged else None)


def test_an_arm_without_subgoals_has_no_metrics_of_them():
    arms = summarise([rollout(steps("wait"), arm="flat"), rollout(steps("wait"), goals=goals("wait(1)"))])
    assert arms["flat"]["subgoals"] is None and arms["hierarchical"]["subgoals"]["completed"] == 1
