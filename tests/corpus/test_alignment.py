"""Alignment is total: whatever a teacher writes becomes an exact cover or a rejection with a reason."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import gold_paths

from sgd_hf.core.records import Segment
from sgd_hf.core.subgoals import parse
from sgd_hf.corpus.alignment import Rejected, absorb, align, answer, check_cover, ground, parse_items

GOLD = ("teleport to kitchen", "open cupboard", "pick up metal pot", "wait1", "wait1", "focus on ice")
ITEMS = [
    ("navigate_to(kitchen)", ["teleport to kitchen"]),
    ("pick_up(metal pot)", ["open cupboard", "pick up metal pot"]),
    ("wait(2)", ["wait1", "wait1"]),
    ("focus_on(ice)", ["focus on ice"]),
]
CUT = (Segment("navigate_to(kitchen)", 0, 1), Segment("pick_up(metal pot)", 1, 3), Segment("wait(2)", 3, 5), Segment("focus_on(ice)", 5, 6))

subgoal = st.sampled_from([text for text, _ in ITEMS] + ["Wait( 3 )", "fly(away)", "complete_task()", ""]) | st.text(max_size=12)
action = st.sampled_from(GOLD) | st.text(max_size=8)
items = st.lists(st.tuples(subgoal, st.lists(action, max_size=8)), max_size=8)


@given(items, st.lists(action, max_size=12))
def test_exact_cover_or_rejected(items: list[tuple[str, list[str]]], gold: list[str]) -> None:
    found = align(items, gold)
    if isinstance(found, Rejected):
        assert found.reason.endswith(".")
        return
    assert check_cover(found, len(gold))
    assert [s.subgoal for s in found] == [str(parse(s.subgoal)) for s in found]
    written = [str(parse(text)) for text, _ in items]
    assert all(s.subgoal in written for s in found)


@given(st.text())
def test_any_text_parses(text: str) -> None:
    assert isinstance(align(parse_items(text), GOLD), tuple | Rejected)


@given(st.lists(st.lists(st.sampled_from(GOLD), min_size=1, max_size=6), min_size=1, max_size=10))
def test_what_repeats_the_path_word_for_word_is_kept_as_it_is(groups: list[list[str]]) -> None:
    gold = [action for group in groups for action in group]
    bounds = [sum(map(len, groups[:k])) for k in range(len(groups) + 1)]
    expected = tuple(Segment(f"wait({k})", bounds[k], bounds[k + 1]) for k in range(len(groups)))
    assert align([(f"wait({k})", group) for k, group in enumerate(groups)], gold) == expected


@given(st.sets(st.integers(0, 5), max_size=3))
def test_skipped_actions_are_given_to_a_neighbour(skipped: set[int]) -> None:
    kept = iter(range(6))
    items = [(text, [a for a in actions if next(kept) not in skipped]) for text, actions in ITEMS]
    found = align(items, GOLD)
    assert not isinstance(found, Rejected) and check_cover(found, 6)


def test_text_round_trip() -> None:
    raw = "Sure!\n" + "\n".join(f"{n}) {text}\n" + "\n".join(f"  * {a}" for a in actions) for n, (text, actions) in enumerate(ITEMS, 1))
    assert parse_items(raw) == ITEMS
    assert align(parse_items(raw), GOLD) == CUT


def test_spelling_of_actions_and_subgoals_does_not_matter() -> None:
    assert align([(text.upper(), [f" {a.upper()}." for a in actions]) for text, actions in ITEMS], GOLD) == CUT


def test_a_skipped_first_and_last_action_are_covered() -> None:
    items = [("navigate_to(kitchen)", []), ITEMS[1], ("wait(2)", ["wait1", "wait1"])]
    assert align(items, GOLD) == (Segment("pick_up(metal pot)", 0, 3), Segment("wait(2)", 3, 6))


def test_paraphrases_keep_their_subgoal() -> None:
    items = [
        ("navigate_to(kitchen)", ["walk to the kitchen"]),
        ITEMS[1],
        ("wait(2)", ["wait1", "wait"]),
        ("focus_on(ice)", ["stare at ice"]),
    ]
    assert align(items, GOLD) == CUT


def test_invented_actions_and_empty_subgoals_are_dropped() -> None:
    items = [ITEMS[0], ("open(fridge)", ["open fridge"]), ("read(recipe)", []), *ITEMS[1:], ("complete_task()", [])]
    assert align(items, GOLD) == CUT


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([], "no numbered sub-goal"),
        ([("fly(kitchen)", list(GOLD))], "outside the grammar"),
        ([("complete_task()", list(GOLD))], "complete_task has actions"),
        ([("wait(2)", ["wait1", "wait1"])], "only 2 of 6"),
        ([("wait(2)", ["wait1"] * 1000)], "1000 actions"),
        ([("wait(2)", ["wait1"])] * 1000, "1000 sub-goals"),
    ],
)
def test_what_cannot_be_used_is_rejected_with_its_reason(items: list[tuple[str, list[str]]], reason: str) -> None:
    found = align(items, GOLD)
    assert isinstance(found, Rejected) and reason in found.reason


def test_an_empty_path_has_no_annotation() -> None:
    assert isinstance(align(ITEMS, ()), Rejected)


@pytest.mark.parametrize(
    ("bounds", "covers"),
    [
        ([(0, 2), (2, 6)], True),
        ([(0, 2), (3, 6)], False),
        ([(0, 3), (2, 6)], False),
        ([(0, 0), (0, 6)], False),
        ([(0, 5)], False),
        ([(1, 6)], False),
        ([], False),
    ],
)
def test_cover(bounds: list[tuple[int, int]], covers: bool) -> None:
    assert check_cover([Segment("wait(1)", start, end) for start, end in bounds], 6) is covers


# What the reference code of the paper gets wrong, as it must not be here.


def numbered(groups: list[tuple[str, list[str]]]) -> str:
    return "\n".join(f"{n}- {text}\n" + "\n".join(f"- {a}" for a in actions) for n, (text, actions) in enumerate(groups, 1))


def test_a_number_is_the_lines_own_and_not_a_part_of_another() -> None:
    """There "3-" is also found in "13-", and "1-" in the name of a thing."""
    gold = [f"focus on jar 1- {k}" for k in range(1, 14)]
    cut = align(parse_items(numbered([(f"focus_on(jar 1- {k})", [action]) for k, action in enumerate(gold, 1)])), gold)
    assert cut == tuple(Segment(f"focus_on(jar 1- {k})", k - 1, k) for k in range(1, 14))


def test_there_may_be_more_than_39_subgoals() -> None:
    gold = [f"examine pot {k}" for k in range(60)]
    found = align(parse_items(numbered([(f"examine(pot {k})", [action]) for k, action in enumerate(gold)])), gold)
    assert not isinstance(found, Rejected) and len(found) == 60


def test_an_action_with_a_comma_or_a_brace_is_one_action_and_keeps_its_end() -> None:
    gold = ["pick up salt, and sugar", "move {it}'", "read 'note': \"x\"}."]
    items = [("pick_up(salt)", gold[:1]), ("use(note)", gold[1:])]
    assert parse_items(numbered(items)) == items
    assert align(items, gold) == (Segment("pick_up(salt)", 0, 1), Segment("use(note)", 1, 3))


@pytest.mark.parametrize(
    "raw", ["", "1.", "1-", "1. \n- ", '{"1": ["teleport to kitchen"]}', "[]", "3- a(", "1- f(x) : {'a', 'b'}", "- wait1"]
)
def test_an_answer_in_another_form_is_rejected_with_a_reason(raw: str) -> None:
    """There it is an IndexError, or the actions of the item before."""
    assert isinstance(align(parse_items(raw), GOLD), Rejected)


def test_the_last_action_is_compared_as_any_other() -> None:
    """There it is never looked at, and takes whatever sub-goal was said last."""
    items = [*ITEMS[:3], ("focus_on(ice)", ["focus on ice"]), ("read(recipe)", ["read recipe"])]
    assert align(items, GOLD) == CUT
    assert align([*ITEMS[:3], ("focus_on(ice)", [])], GOLD) == (*CUT[:2], Segment("wait(2)", 3, 6))


def test_what_was_skipped_is_put_in_once_however_often_it_occurs() -> None:
    """There the same action is inserted again and again, and the check may call itself without end."""
    gold = ["look around", *["wait1"] * 30, "focus on ice"]
    found = align([("watch(room)", ["look around"]), ("wait(1)", ["wait1"] * 14), ("focus_on(ice)", ["focus on ice"])], gold)
    assert found == (Segment("watch(room)", 0, 1), Segment("wait(1)", 1, 31), Segment("focus_on(ice)", 31, 32))


def test_equal_subgoals_are_equal_and_unknown_verbs_are_named() -> None:
    """There "navigate_to(kitchen) " differs from "navigate_to(kitchen)", and "chek(ice)" is a sub-goal."""
    for text in ("navigate_to(kitchen) ", "Navigate_To( the Kitchen )", "`navigate to(kitchen)`:", "**navigate_to(kitchen)**"):
        assert align(parse_items(numbered([(text, list(GOLD[:1])), *ITEMS[1:]])), GOLD) == CUT
    found = align(parse_items(numbered([*ITEMS[:3], ("chek(ice)", ["focus on ice"])])), GOLD)
    assert isinstance(found, Rejected) and "'chek' is not a verb" in found.reason


# Arguments.


@pytest.fixture(scope="module")
def path():
    """A recorded path with a thermometer and a metal pot in it, that waits at its end."""
    gold = next(gold for gold in gold_paths() if gold.episode.task == "boil")
    step = gold.steps[-1]
    return dataclasses.replace(gold, steps=(*gold.steps, *(dataclasses.replace(step, action=a) for a in ("wait1", "wait1", "wait"))))


def test_arguments_occur_in_the_trajectory_or_are_rejected(path) -> None:
    whole = len(path.steps)
    assert ground([Segment("pick_up(metal pot)", 0, whole)], path) == (Segment("pick_up(metal pot)", 0, whole),)
    assert ground([Segment("pick_up(the Large metal pot)", 0, whole)], path) == (Segment("pick_up(metal pot)", 0, whole),)
    assert ground([Segment("pick_up(shiny new metal pot)", 0, whole)], path) == (Segment("pick_up(metal pot)", 0, whole),)
    found = ground([Segment("pick_up(thermometer)", 0, 3), Segment("heat(water, ceramic dragon, stove)", 3, whole)], path)
    assert isinstance(found, Rejected) and "'ceramic dragon', an argument of heat" in found.reason


@pytest.mark.parametrize("subgoal", [
    "pick_up(magic wand in kitchen)", "pick_up(magic wand 3)", "focus_on(answer box a)", "focus_on(answer box b)",
    "heat(dragon substance, metal pot, stove)",
])  # fmt: skip
def test_what_is_left_of_an_invented_name_is_no_name(path, subgoal) -> None:
    assert isinstance(ground([Segment(subgoal, 0, len(path.steps))], path), Rejected)


def test_wait_says_how_long_its_segment_waits(path) -> None:
    whole = len(path.steps)
    assert ground([Segment("wait(99)", whole - 3, whole)], path) == (Segment("wait(12)", whole - 3, whole),)
    assert ground([Segment("wait(7)", 0, 2)], path) == (Segment("wait(7)", 0, 2),)


def test_the_fallback_strikes_unusable_subgoals_unless_they_are_most(path) -> None:
    items = [("fly(away)", ["a"]), ("pick_up(metal pot)", ["b", "c"]), ("open(dragon)", ["d"]), ("complete_task()", []), ("wait(3)", ["e"])]
    assert absorb(items, path) == [("pick_up(metal pot)", ["a", "b", "c", "d"]), ("wait(3)", ["e"])]
    assert absorb([("fly(away)", ["a", "b"]), ("wait(3)", ["c"])], path) == []


def test_an_answer_is_what_follows_the_thinking_and_has_a_bound(path) -> None:
    assert answer("<think>1. wait(3)\n- wait1</think>\n 2. x ", path) == "2. x"
    assert isinstance(answer("x" * 100_000, path), Rejected) and isinstance(answer("</think>" * 2_000_000, path), Rejected)
