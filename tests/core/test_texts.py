"""The simulator's looks, read: rooms, doors, things; and any other text without an exception."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import gold_paths

from sgd_hf.core.texts import ROOMS, carried, first_of_all, flatten, rejected, room, sights, sought, things

LOOKS = sorted({look for gold in gold_paths() for look in (gold.look, *(step.look for step in gold.steps))})
KITCHEN = (
    "This room is called the kitchen. In it, you see: \n\tthe agent\n\ta substance called air\n\ta chair. On the chair is: nothing.\n"
    "\ta counter. On the counter is: a bowl (containing a red apple, a banana, an orange, a potato), a drawer.\n"
    "\ta cupboard. The cupboard door is closed. \n\ta glass jar (containing a substance called sodium chloride)\n"
    "\ta sink, which is turned off. In the sink is: nothing.\n\ta stove, which is turned on. On the stove is: nothing.\n"
    "\ta thermometer, currently reading a temperature of 10 degrees celsius\n"
    "You also see:\n\tA door to the outside (that is closed)\n\tA door to the hallway (that is open)\n"
)


@pytest.mark.parametrize("number", range(0, len(LOOKS), 50))
def test_every_recorded_look_is_read(number):
    for look in LOOKS[number : number + 50]:
        check(look)


def check(look):
    assert room(look) in ROOMS
    seen = sights(look)
    doors = re.findall(r"door to the (.+?) \(that is (open|closed)\)", look)
    assert doors, "every room of the simulator has a door"
    assert seen[-1] == "doors: " + ", ".join(name if state == "open" else f"{name} (closed)" for name, state in doors)
    assert not {"the agent", "agent", "air", "a substance called air"} & set(seen)
    assert all(thing and "\n" not in thing and thing == flatten(thing) and not thing.endswith((".", " ")) for thing in seen)
    lines = [line for line in look.splitlines()[1:] if line.startswith("\t") and "door to the" not in line]
    assert len(seen) - 1 == len(lines) - sum(line.strip() in ("the agent", "a substance called air") for line in lines)


def test_sights_are_short_and_keep_what_matters():
    assert sights(KITCHEN) == [
        "chair",
        "counter: bowl (containing red apple, banana, orange, potato), drawer",
        "cupboard (closed)",
        "glass jar (containing sodium chloride)",
        "sink (off)",
        "stove (on)",
        "thermometer (10 degrees celsius)",
        "doors: outside (closed), hallway",
    ]
    assert things(KITCHEN) == sights(KITCHEN)[:-1]


def test_carried_lists_the_inventory():
    assert carried("In your inventory, you see:\n\tan orange\n\ta tin cup (containing nothing)\n") == ["orange", "tin cup"]


@given(st.text() | st.sampled_from(LOOKS).flatmap(lambda look: st.integers(0, len(look)).map(lambda cut: look[:cut] + "?" + look[cut:])))
def test_no_text_raises(text):
    assert isinstance(room(text), str) and isinstance(rejected(text), bool)
    for thing in (*sights(text), *carried(text)):
        assert thing == flatten(thing)


def test_rejections_are_those_of_the_simulator():
    steps = [step for gold in gold_paths() for step in gold.steps]
    assert not any(rejected(step.observation) for step in steps)
    assert rejected("No known action matches that input.")
    assert rejected("Unknown action.  Type 'help' for a list of actions, and 'objects' for a list of possible object referents. ")


def test_every_focus_of_a_gold_path_is_sought():
    focuses = [
        (step.action.lower()[9:], gold.description) for gold in gold_paths() for step in gold.steps if step.action.startswith("focus on ")
    ]
    assert len(focuses) > 30 and [(name, task) for name, task in focuses if not sought(name, task)] == []


@pytest.mark.parametrize(
    "task, right, wrong",
    [
        ("create orange paint. When you are done, focus on the orange paint.", "orange paint", "yellow paint"),
        ("create orange paint. When you are done, focus on the orange paint.", "orange paint", "orange"),
        ("create yellow-orange paint. When done, focus on the orange paint.", "yellow-orange paint", "yellow paint"),
        ("create green-blue paint. When done, focus on the green paint.", "green-blue paint in jug", "red-blue paint"),
        (
            "grow a apple. Seeds can be found in the bedroom. To complete the task, focus on the grown apple.",
            "red apple in apple tree",
            "apple seed",
        ),
        ("use the thermometer. First, focus on the thermometer.", "thermometer", "glass cup"),
    ],
)
def test_a_task_that_says_what_to_focus_on_means_nothing_else(task, right, wrong):
    assert sought(right, task) and not sought(wrong, task)


@pytest.mark.parametrize(
    "task", ["find a(n) animal. First, focus on the thing.", "focus on the 3 life stages of the frog", "boil water", ""]
)
def test_a_task_that_leaves_the_focus_open_may_mean_anything(task):
    assert sought("giant tortoise", task)


@pytest.mark.parametrize(
    "task, names",
    [
        (
            "first, focus on the thermometer. next, focus on the solid unknown substance c. if it",
            ["thermometer", "solid unknown substance c"],
        ),
        ("first, focus on the red light bulb. then, create a circuit that powers it on.", ["red light bulb"]),
        ("first, focus on the thing. then, move it to the red box. first, focus on a seed.", []),
        ("when you are done, focus on the green paint.", []),
    ],
)
def test_what_is_focused_on_first_is_what_a_task_says_by_name(task, names):
    assert first_of_all(task) == names
