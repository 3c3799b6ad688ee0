"""Another world of the same shape: what was one name stays one name, and what could be told apart still can be."""

import re

from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st

from sgd_hf.training.recipe import Student
from sgd_hf.training.renaming import renamed
from sgd_hf.training.rows import learnt_rows

CONDUCTIVITY = [
    ("user", "task: your task is to determine if paper clip is electrically conductive. first, focus on the paper clip. if it is "
     "electrically conductive, place it in the red box. if it is electrically nonconductive, place it in the green box.\n"
     "room: workshop; green box; green light bulb (off); paper clip; red box; table: black wire; wood cup (containing red paint)"),
    ("assistant", "connect(green light bulb, black wire, red wire)"),
    ("user", "last: connect paper clip terminal 1 to black wire terminal 2 -> connected\nnow: green light bulb (on)\ninventory: orange"),
    ("assistant", "put(paper clip, red box)"),
]  # fmt: skip
PLANES = [
    ("user", "task: your task is to determine which of the two inclined planes (f, d) has the steepest angle.\n"
     "room: workshop; inclined plane f; inclined plane d, with: steel block; unknown substance d"),
    ("assistant", "time(steel block, inclined plane f)"),
    ("user", "last: look at inclined plane d -> an inclined plane d, with: a steel block"),
    ("assistant", "focus_on(inclined plane d)"),
]  # fmt: skip
SURFACES = [
    ("user", "task: your task is to determine which of the two inclined planes (soapy water, wood) has the most friction.\n"
     "room: workshop; inclined plane with a soapy water surface; inclined plane with a wood surface; wood block"),
    ("assistant", "focus_on(inclined plane with a soapy water surface)"),
]  # fmt: skip
MELTING = [
    ("user", "task: if the melting point of lead is above 50.0 degrees celsius, focus on the red box. if the melting point of lead is "
     "below 50.0 degrees celsius, focus on the blue box.\nroom: kitchen; thermometer (20 degrees celsius)"),
    ("assistant", "measure(lead)"),
    ("user", "last: use thermometer on lead -> the thermometer measures a temperature of 7 degrees celsius"),
    ("assistant", "measure(lead)"),
    ("user", "last: use thermometer on lead -> the thermometer measures a temperature of 105 degrees celsius"),
    ("assistant", "105 degrees celsius, the melting point of lead is above 50.0 degrees celsius, focus on the red box: focus_on(red box)"),
]  # fmt: skip
WATCHED = [
    ("user", "last: look at inclined plane with a bronze surface -> a brick approximately 8% down the plane"),
    ("assistant", "time(brick, inclined plane with a wood surface)"),
    ("user", "last: look at inclined plane with a wood surface -> a brick approximately 47% down the plane"),
    ("assistant", "least is farther, bronze 8, wood 47, wood is farther: focus_on(inclined plane with a wood surface)"),
]  # fmt: skip
keys = st.text(max_size=4)


def row(turns):
    return [{"role": role, "content": content} for role, content in turns]


def texts(messages):
    return [message["content"] for message in messages]


@given(keys)
def test_the_light_that_is_on_still_decides_the_box(key):
    task, connect, state, put = texts(renamed(row(CONDUCTIVITY), key))
    thing = re.search(r"determine if (.+?) is electrically c", task)[1]
    conductive, other = re.findall(r"the (\w+) box", task)
    lamp = re.search(r"(\w+) light bulb \(on\)", state)[1]
    assert conductive != other and thing != "paper clip" and f"; {thing}; {conductive} box" in task
    assert put == f"put({thing}, {conductive} box)" and connect.startswith(f"connect({lamp} light bulb, ")
    assert f"last: connect {thing} terminal 1" in state
    assert "cup (containing red paint)" in task and "inventory: orange" in state, "a paint and a fruit are what they were"


@given(keys)
def test_letters_are_renamed_one_to_one(key):
    task, time, state, focus = texts(renamed(row(PLANES), key))
    f, d = re.search(r"planes \((\w), (\w)\) has", task).groups()
    assert f != d and f"inclined plane {f}; inclined plane {d}, with: steel block; unknown substance {d}" in task
    assert time == f"time(steel block, inclined plane {f})" and focus == f"focus_on(inclined plane {d})"
    assert state == f"last: look at inclined plane {d} -> an inclined plane {d}, with: a steel block"


@given(keys)
def test_surfaces_are_renamed_where_they_are_surfaces(key):
    task, focus = texts(renamed(row(SURFACES), key))
    first, second = re.search(r"planes \((.+), (.+)\) has", task).groups()
    assert first != second and task.endswith(f"plane with a {first} surface; inclined plane with a {second} surface; wood block")
    assert focus == f"focus_on(inclined plane with a {first} surface)"


@given(keys)
def test_what_was_measured_stays_on_its_side_of_the_limit(key):
    told = texts(renamed(row(MELTING), key))
    [limit] = {float(limit) for text in told for limit in re.findall(r"(?:above|below) (\S+) degrees", text)}
    assert 7 < limit < 105 and "(20 degrees" in told[0]
    assert "temperature of 7 degrees" in told[2] and "temperature of 105 degrees" in told[4] and told[5].startswith("105 degrees")


@given(keys)
def test_what_slid_farther_still_did(key):
    first, _, second, answer = texts(renamed(row(WATCHED), key))
    near, far = (re.search(r"approximately (\d+)% down", text)[1] for text in (first, second))
    name, down, other, farther, found = re.fullmatch(
        r"least is farther, (.+) (\d+), (.+) (\d+), (.+) is farther: focus_on\(inclined plane with a \5 surface\)", answer
    ).groups()
    assert int(near) < int(far) < 100 and (down, farther) == (near, far) and found == other != name


@given(keys)
def test_the_end_of_a_plane_stays_its_end(key):
    slid = [
        ("user", "a brick at the bottom of the plane, a brick approximately 99% down the plane"),
        ("assistant", "b 100, c 99, b is nearer: x"),
    ]
    state, answer = texts(renamed(row(slid), key))
    assert "at the bottom of the plane" in state and re.match(r"\w 100, \w \d\d?, ", answer)


def test_numbers_differ_from_key_to_key():
    assert len({texts(renamed(row(turns), str(k)))[-1].split(":")[0] for k in range(20) for turns in (MELTING, WATCHED)}) > 30


def test_names_differ_from_key_to_key_and_not_from_run_to_run():
    drawn = [texts(renamed(row(CONDUCTIVITY), str(k))) for k in range(20)]
    assert len({task for task, *_ in drawn}) > 15
    assert drawn == [texts(renamed(row(CONDUCTIVITY), str(k))) for k in range(20)]


def test_what_changes_its_name_by_itself_is_left_alone():
    messages = row([("user", "task: measure the temperature of ice, which is located around the kitchen")])
    assert renamed(messages, "0") == messages


def test_a_recipe_learns_every_row_as_often_as_it_says_and_validates_on_the_rows_as_they_are(data):
    plain, twice = (learnt_rows(data, Student("planner", model="some", renamings=n)) for n in (0, 2))
    assert twice["train"]["variation"] == [*plain["train"]["variation"]] * 2
    assert twice["train"]["messages"][: len(plain["train"])] != twice["train"]["messages"][len(plain["train"]) :]
    assert (
        twice["validation"]["messages"]
        == plain["validation"]["messages"]
        == load_dataset(str(data), "planner", split="validation")["messages"]
    )
