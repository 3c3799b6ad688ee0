"""A task's question is answered in time, after what comes first, and not against what was measured."""

import pytest
import regex
from test_verifier import twice

from sgd_hf.agent import answers
from sgd_hf.agent.verifier import alternatives
from sgd_hf.core.prompts import State, Transcript
from sgd_hf.core.subgoals import parse

MELTING = (
    "Your task is to measure the melting point of tin, which is located around the kitchen. First, focus on the thermometer. "
    "Next, focus on the tin. If the melting point of tin is above 50.0 degrees celsius, focus on the red box. If the melting "
    "point of tin is below 50.0 degrees celsius, focus on the green box. The boxes are located around the kitchen."
)
MENDEL = (
    "Your task is to determine whether tall plant height is a dominant or recessive trait in the pea plant. If the trait is "
    "dominant, focus on the red box. If the trait is recessive, focus on the green box."
)
LOOK = "This room is called the kitchen. In it, you see: \n\tthe agent\n\ta red box\n\ta green box\n\ta substance called tin\n"
HELD = "In your inventory, you see:\n\ta thermometer\n"


def transcript(task, *focused):
    kept = Transcript(task, State(LOOK, HELD))
    for name in focused:
        kept.begin(f"focus_on({name})")
        kept.act(f"focus on {name}", f"You focus on the {name}.", kept.state)
        kept.end("ended")
    return kept


def measure(kept, *readings, thing="tin"):
    kept.begin(f"measure({thing})")
    for degrees in readings:
        kept.act(
            f"use thermometer in inventory on {thing}", f"the thermometer measures a temperature of {degrees} degrees celsius", kept.state
        )
    kept.end("ended")


def asks(kept, answer):
    """How the planner is asked again about an answer: a pattern, None if it is taken."""
    asked, _ = twice(kept, answer)
    return regex.compile(asked[1].pattern) if len(asked) == 2 else None


@pytest.mark.parametrize("focused, due", [((), "thermometer"), (("thermometer",), "tin"), (("thermometer", "tin"), "")])
def test_an_answer_comes_after_what_has_to_be_focused_on_first(focused, due):
    kept = transcript(MELTING, *focused)
    measure(kept, 60)
    assert answers.due(kept) == due
    again = asks(kept, "focus_on(red box)")
    assert again is None if not due else again.fullmatch(f"focus_on({due})") and not again.fullmatch("wait(1)")


def test_a_thing_that_is_not_here_cannot_be_focused_on_first():
    kept = Transcript(MELTING, State(LOOK, "In your inventory, you see:\n\tan orange\n"))
    measure(kept, 60)
    assert asks(kept, "focus_on(red box)") is None


@pytest.mark.parametrize("readings, right, wrong", [((60,), "red", "green"), ((60, 40), "green", "red")])
def test_an_answer_is_on_the_side_of_the_last_reading(readings, right, wrong):
    kept = transcript(MELTING, "thermometer", "tin")
    measure(kept, *readings)
    assert asks(kept, f"focus_on({right} box)") is None
    again = asks(kept, f"focus_on({wrong} box)")
    assert again.pattern == alternatives(kept) and not again.fullmatch(f"focus_on({wrong} box)")


@pytest.mark.parametrize("readings, thing", [((), "tin"), ((50,), "tin"), ((60,), "metal pot")])
def test_nothing_is_answered_before_it_was_measured(readings, thing):
    kept = transcript(MELTING, "thermometer", "tin")
    measure(kept, *readings, thing=thing)
    assert asks(kept, "focus_on(red box)") and asks(kept, "focus_on(green box)")


def test_nothing_is_measured_on_when_the_limit_is_passed():
    kept = transcript(MELTING, "thermometer", "tin")
    measure(kept, 16, 40)
    assert asks(kept, "measure(tin)") is None
    measure(kept, 54)
    again = asks(kept, "measure(tin)")
    assert not again.fullmatch("measure(tin)") and not again.fullmatch("monitor(tin)") and again.fullmatch("wait(1)")
    answer = "54 degrees celsius, the melting point of tin is above 50.0 degrees celsius, focus on the red box: focus_on(red box)"
    assert again.fullmatch(answer) and not again.search("green box: ")
    assert asks(kept, answer) is None and asks(kept, "measure(thermometer)") is None


def test_a_question_is_answered_before_it_is_too_late():
    kept = transcript(MENDEL)
    for _ in range(answers.LATE // 10):
        assert asks(kept, "wait(10)") is None
        kept.begin("wait(10)")
        kept.act("wait", "You decide to wait for 10 iterations.", kept.state)
        kept.end("ended")
    again = asks(kept, "wait(10)")
    for trait, box in (("dominant", "red"), ("recessive", "green")):
        answer = f"the trait is {trait}, focus on the {box} box: focus_on({box} box)"
        assert again.fullmatch(answer) and asks(kept, answer) is None
    assert not again.fullmatch("wait(10)")
    elsewhere = State("This room is called the hallway. In it, you see: \n\tthe agent\n", HELD)
    kept.state = elsewhere
    assert asks(kept, "wait(10)") is None, "no box is here"


def test_only_a_box_of_the_question_is_an_answer():
    kept = transcript(MENDEL)
    assert answers.case(parse("focus_on(red box)"), kept).text == "the trait is dominant, focus on the red box"
    assert answers.case(parse("focus_on(tin)"), kept) is None and answers.case(parse("open(red box)"), kept) is None
