"""Reasons: given where a task leaves a choice, true of what was found, and apart from the sub-goal again when read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgd_hf.core.reasons import heard, reason, spoken
from sgd_hf.core.subgoals import parse
from sgd_hf.corpus.build import planner_rows

BOXES = "if it is electrically conductive, place it in the red box. if it is electrically nonconductive, place it in the green box."
COLD = "if the wax temperature is above -10.5 degrees celsius, place it in the red box. if the wax temperature is below -10.5 degrees celsius, place it in the blue box."
STEEP = "task: determine which of the two inclined planes (b, wood) has the steepest angle"
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

    assert why("put(comb, red box)") == f"{found}, it is electrically conductive"
    assert why("focus_on(green box)") == f"{found}, it is electrically nonconductive"
    assert why("put(comb, yellow box)") == why("pick_up(red box)") == why("focus_on(comb)") == ""


def test_a_box_is_the_answer_to_the_last_reading():
    past = [(f"measure(wax{i})", f"the thermometer measures a temperature of {i} degrees celsius") for i in (4, -11)]
    assert reason(parse("put(wax, blue box)"), COLD, "", past) == "-11 degrees celsius, the wax temperature is below -10.5 degrees celsius"
    assert reason(parse("put(wax, red box)"), COLD, "", []) == "the wax temperature is above -10.5 degrees celsius"


@pytest.mark.parametrize(("second", "verdict"), [(9, "wood is faster"), (31, "b is faster"), (24, "both are as fast")])
def test_a_plane_is_the_answer_to_two_times(second, verdict):
    past = []
    for plane, ticks in (("inclined plane b", 99), ("inclined plane b", 24), ("inclined plane with a wood surface", second)):
        assert reason(parse("focus_on(inclined plane b)"), STEEP, "", past) == ""
        past += [(f"time(block, {plane})", ""), ("watch(it)", ""), ("read_time(stopwatch)", f"the time reads {ticks} ticks.")]
    assert reason(parse("focus_on(inclined plane b)"), STEEP, "", past) == f"b 24, wood {second}, {verdict}"


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
        if "faster" in why:
            faster = re.search(r", ([\w ]+) is faster", why)[1]
            assert (f" {faster} surface)" in subgoal or f" {faster})" in subgoal) == bool(re.search("steepest|least", task))
        elif "degrees" in why:
            read, limit = (float(number) for number in re.findall(r"(-?[\d.]+) degrees celsius", why))
            assert (read > limit) == (" above " in why)
        elif "electrically" in why:
            assert why.startswith("nothing is on") == ("nonconductive" in why)


def test_a_row_without_a_question_is_the_bare_sub_goals(annotations):
    boil = next(a for a in annotations if a.gold.episode.task == "boil")
    said = [m["content"] for messages, *_ in planner_rows(boil) for m in messages if m["role"] == "assistant"]
    assert said == [*(segment.subgoal for segment in boil.segments), "complete_task()"]
