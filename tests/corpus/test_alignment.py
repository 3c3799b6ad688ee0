"""Alignment is total: whatever a teacher writes becomes an exact cover or a rejection with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgd_hf.core.records import Segment
from sgd_hf.core.subgoals import parse
from sgd_hf.corpus.alignment import Rejected, align, check_cover, parse_items

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
