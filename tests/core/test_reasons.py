"""Reasons: given where a task leaves a choice, true of what was found, and apart from the sub-goal again when read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgd_hf.core.reasons import Case, cases, heard, reason, spoken
from sgd_hf.core.subgoals import parse
from sgd_hf.corpus.build import planner_rows

BOXES = "if it is electrically conductive, place it in the red box. if it is electrically nonconductive, place it in the green box."
COLD = "if the wax temperature is above -10.5 degrees celsius, place it in the red box. if the wax temperature is below -10.5 degrees celsius, place it in the blue box."
CIRCUIT = "room: workshop; green light bulb (off); {}; table: battery"


@given(st.sampled_from(["put(comb, red box)", "complete_task()"]), st.text("abc ,.0123456789", max_size=40))
def test_a_reason_comes_off_again(subgoal, why):
    assert heard(spoken(subgoal, why)) == (subgoal, why)


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("violet light bulb (on)", "violet light bulb is on"),
        ("electric motor (on)", "electric motor is on"),
        ("violet light bulb (off)", "nothing is on"),
    ],
)
def test_a_box_is_the_answer_to_what_runs(part, found):
    def why(subgoal):
        return reason(parse(subgoal), f"determine if comb is electrically conductive. {BOXES}", CIRCUIT.format(part), [])

    assert why("put(comb, red box)") == f"{found}, it is electrically conductive, place it in the red box"
    assert why("focus_on(green box)") == f"{found}, it is electrically nonconductive, place it in the green box"
    assert why("put(comb, yellow box)") == why("pick_up(red box)") == why("focus_on(comb)") == ""


def test_a_box_is_the_answer_to_the_last_reading():
    past = [(f"measure(wax{i})", f"the thermometer measures a temperature of {i} degrees celsius") for i in (4, -11)]
    assert reason(parse("put(wax, blue box)"), COLD, "", past) == f"-11 degrees celsius, {COLD[COLD.rindex('the wax') : -1]}"
    assert reason(parse("put(wax, red box)"), COLD, "", []) == COLD[3 : COLD.index(". ")]


def test_the_cases_of_a_question_and_the_side_of_a_limit_that_each_is_on():
    above, below = COLD[3 : COLD.index(". ")], COLD[COLD.rindex("the wax") : -1]
    assert cases(COLD) == [Case(above, "red box", "wax", True, -10.5), Case(below, "blue box", "wax", False, -10.5)]
    melting = "if the melting point of solid tin is above 50 degrees celsius, focus on the red box."
    assert [(case.subject, case.above, case.limit, case.by_focus) for case in cases(melting)] == [("solid tin", True, 50.0, True)]
    assert [(case.box, case.subject, case.by_focus) for case in cases(BOXES)] == [("red box", "", False), ("green box", "", False)]
    assert cases("find a plant. then, move it to the red box in the kitchen.") == []


@pytest.mark.parametrize(
    ("second", "why"), [("approximately 9% down", "b is farther"), ("at the bottom of", "wood is farther"), ("approximately 24% down", "")]
)
@pytest.mark.parametrize("wanted", ["steepest angle", "shallowest angle", "least friction", "most friction"])
def test_a_plane_is_the_answer_to_how_far_a_block_slid_on_two(second, why, wanted):
    task, past = f"task: determine which of the two inclined planes (b, wood) has the {wanted}.", []
    for plane, slid in (("with a wood surface", second), ("b", "approximately 7% down"), ("b", "approximately 24% down")):
        if plane == "with a wood surface":
            assert reason(parse("focus_on(inclined plane b)"), task, "", past) == ""
        past += [(f"time(block, inclined plane {plane})", ""), (f"watch(inclined plane {plane})", f"with: a block {slid} the plane")]
    near = wanted in ("shallowest angle", "most friction")
    if why and near:
        why = f"{'b' if why.startswith('wood') else 'wood'} is nearer"
    percent = "".join(filter(str.isdigit, second)) or "100"
    sought = f"{wanted.split()[0]} is {'nearer' if near else 'farther'}, b 24, wood {percent}, "
    assert reason(parse("focus_on(inclined plane b)"), task, "", past) == (why and sought + why)


def test_the_reasons_of_gold_paths_are_true_and_there_for_every_kind_of_question(annotations):
    given = {}
    for annotation in annotations:
        for messages, *_ in planner_rows(annotation):
            for message in messages:
                subgoal, why = heard(message["content"]) if message["role"] == "assistant" else ("", "")
                if why:
                    given[annotation.gold.episode.task] = (why, subgoal, annotation.gold.description.lower())
    assert len(given) == 10, "two tasks of melting points, conductivity and Mendel's each, three of planes, one thermometer"
    for why, subgoal, task in given.values():
        if "inclined" in task:
            assert subgoal.replace(" surface", "").endswith(f" {re.search(r', ([a-z ]+) is [a-z]+er$', why)[1]})")
        elif "degrees" in why:
            read, limit = (float(number) for number in re.findall(r"(-?[\d.]+) degrees celsius", why))
            assert (read > limit) == (" above " in why)
        elif "electrically" in why:
            assert why.startswith("nothing is on") == ("nonconductive" in why)


def test_a_row_without_a_question_is_the_bare_sub_goals(annotations):
    boil = next(a for a in annotations if a.gold.episode.task == "boil")
    said = [m["content"] for messages, *_ in planner_rows(boil) for m in messages if m["role"] == "assistant"]
    assert said == [*(segment.subgoal for segment in boil.segments), "complete_task()"]
