"""Properties of the sub-goal grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgd_hf.core.subgoals import VERBS, Subgoal, grounded, parse, plain, reached

LOOK = """This room is called the kitchen. In it, you see: 
\tthe agent
\ta substance called air
\ta counter. On the counter is: a bowl (containing a red apple, a banana), a drawer.
\ta cupboard. The cupboard door is open. In the cupboard is: a wood cup (containing a substance called soap).
\ta freezer. The freezer door is closed. 
\ta sink, which is turned off. In the sink is: nothing.
\ta stove, which is turned on. On the stove is: a metal pot (containing a substance called water).
\tan inclined plane A, with:  a wood block at the bottom of the plane
\tan inclined plane B, with:  a brick approximately 9% down the plane
\tan inclined plane with a unknown material A surface
You also see:
\tA door to the outside (that is closed)
"""  # noqa: W291
INVENTORY = (
    "In your inventory, you see:\n\tan orange\n\ta red wireits terminal 1 is connected to: nothing. \n\ta glass cup (containing milk)\n"
)

argument = st.text(st.characters(exclude_characters="(),", exclude_categories=("Cs",)), min_size=1).filter(
    lambda text: any(c.isalnum() for c in plain(text.replace("_", " ")))
)


@st.composite
def subgoals(draw: st.DrawFn) -> Subgoal:
    verb = draw(st.sampled_from(sorted(VERBS)))
    count = draw(st.integers(VERBS[verb].least, VERBS[verb].most))
    return Subgoal(verb, tuple(draw(argument) for _ in range(count)))


@given(subgoals())
def test_text_and_subgoal_are_one_to_one(subgoal: Subgoal) -> None:
    assert parse(str(subgoal)) == subgoal


@given(subgoals())
def test_normalising_twice_is_normalising_once(subgoal: Subgoal) -> None:
    assert Subgoal(subgoal.verb, subgoal.args) == subgoal


@given(st.text())
def test_any_text_is_a_subgoal_or_a_value_error(text: str) -> None:
    try:
        assert parse(str(parse(text))) == parse(text)
    except ValueError as error:
        assert str(error).endswith(".")


@pytest.mark.parametrize(
    "text",
    ["put(chocolate, metal pot)", "Put( The Chocolate ,metal_pot )", " put(\"chocolate\", 'a metal  pot'). ", "PUT (chocolate,METAL POT)"],
)
def test_spelling_does_not_matter(text: str) -> None:
    assert str(parse(text)) == "put(chocolate, metal pot)"


@pytest.mark.parametrize(
    "text", ["", "put", "put(a)", "put(a, )", "put(a, b, c)", "fly(kitchen)", "pick_up(book (Beowulf))", "complete_task(x)"]
)
def test_what_is_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        parse(text)


def test_every_example_is_canonical() -> None:
    for verb, kind in VERBS.items():
        assert str(parse(kind.example)) == kind.example
        assert parse(kind.example).verb == verb


@pytest.mark.parametrize(
    "text", ["put(red apple, bowl)", "focus_on(wood cup containing soap)", "wait(5)", "navigate_to(foundry)", "open(drawer in counter)",
             "focus_on(substance in metal pot)", "watch(inclined plane a)", "watch(inclined plane with a unknown material a surface)",
             "pick_up(red wire)"],
)  # fmt: skip
def test_what_is_in_sight_is_grounded(text: str) -> None:
    assert grounded(parse(text), plain(LOOK + INVENTORY))


@pytest.mark.parametrize(
    "text", ["pick_up(thermometer)", "pick_up(green apple)", "watch(inclined plane c)", "put(apple, red box)", "open(door in roof)"]
)
def test_what_is_not_in_sight_is_not_grounded(text: str) -> None:
    assert not grounded(parse(text), plain(LOOK + INVENTORY))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("navigate_to(kitchen)", True), ("navigate_to(hallway)", False),
        ("pick_up(orange, red wire)", True), ("pick_up(orange, banana)", False),
        ("drop(banana)", True), ("drop(orange)", False),
        ("put(banana, bowl)", True), ("put(drawer, bowl)", False), ("put(drawer, counter)", True),
        ("pour(soap, wood cup)", True), ("pour(jug, wood cup)", None),
        ("open(cupboard)", True), ("open(freezer)", False), ("open(drawer)", None),
        ("close(door to outside)", True), ("close(cupboard)", False),
        ("heat(water, metal pot, stove)", True), ("heat(milk, glass cup, stove)", False),
        ("cool(water, metal pot, freezer)", False), ("fill(glass cup)", False),
        ("watch(inclined plane a)", True), ("watch(inclined plane b)", None), ("watch(counter)", None),
        ("measure(water)", None), ("focus_on(orange)", None),
    ],
)  # fmt: skip
def test_post_conditions_are_read_off_the_state(text: str, expected: bool | None) -> None:
    assert reached(parse(text), LOOK, INVENTORY) is expected
