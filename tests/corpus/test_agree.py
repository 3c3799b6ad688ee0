"""Agreement: perfect with oneself, symmetric but for precision and recall, and what hand-made cases say it is."""

import dataclasses
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import gold_paths

from sgd_hf.cli import main
from sgd_hf.core.errors import InputError
from sgd_hf.core.records import Annotation, Segment, to_row
from sgd_hf.core.store import Store
from sgd_hf.corpus.agree import agree

GOLDS = [gold for gold in gold_paths() if len(gold.steps) <= 10]
SUBGOALS = ["navigate_to(kitchen)", "navigate_to(hallway)", "pick_up(seed)", "wait(2)", "focus_on(seed)"]


def annotation(gold, segments):
    return Annotation(gold, tuple(segments), "t", "", "")


@st.composite
def annotations(draw):
    """A random cut of some of the short recorded paths."""
    found = []
    for gold in draw(st.lists(st.sampled_from(GOLDS), unique_by=lambda g: g.key, min_size=1, max_size=4)):
        bounds = [
            0,
            *sorted(draw(st.sets(st.integers(1, max(1, len(gold.steps) - 1))) if len(gold.steps) > 1 else st.just(set()))),
            len(gold.steps),
        ]
        found.append(annotation(gold, [Segment(draw(st.sampled_from(SUBGOALS)), i, j) for i, j in zip(bounds, bounds[1:], strict=False)]))
    return found


@given(annotations())
def test_whoever_agrees_with_himself_agrees_entirely(a):
    found = agree(a, a)
    assert {found[key] for key in ("precision", "recall", "f1", "verbs", "subgoals", "exact", "kappa")} == {1.0}
    assert found["paths"] == len(a) and found["only_a"] == found["only_b"] == found["other_actions"] == 0


@given(annotations(), annotations())
def test_exchanging_the_two_exchanges_precision_and_recall_alone(a, b):
    if not {x.key for x in a} & {x.key for x in b}:
        with pytest.raises(InputError, match="no gold path in common"):
            agree(a, b)
        return
    one, other = agree(a, b), agree(b, a)
    assert (one["precision"], one["recall"], one["only_a"]) == (other["recall"], other["precision"], other["only_b"])
    for key in ("f1", "verbs", "subgoals", "exact", "kappa", "alike", "paths"):
        assert one[key] == other[key]
        assert -1 <= one[key] <= 1 or key in ("alike", "paths")
    assert sum(row["paths"] for row in one["tasks"].values()) == one["paths"]
    low, high = sorted((one["precision"], one["recall"]))
    assert low - 1e-4 <= one["f1"] <= high + 1e-4


def test_a_case_counted_by_hand():
    gold = next(g for g in GOLDS if len(g.steps) == 5)
    a = annotation(gold, [Segment("navigate_to(kitchen)", 0, 1), Segment("pick_up(seed)", 1, 3), Segment("wait(2)", 3, 5)])
    b = annotation(gold, [Segment("navigate_to(hallway)", 0, 1), Segment("pick_up(seed)", 1, 5)])
    found = agree([a], [b])
    assert (found["precision"], found["recall"], found["f1"]) == (1.0, 0.5, 0.6667)  # boundary 1 of 1 and 3
    assert (found["alike"], found["verbs"], found["subgoals"], found["exact"]) == (1, 1.0, 0.0, 0.0)
    # Verbs alike on 3 of 5 actions; chance is 1/5·1/5 (navigate_to) + 2/5·4/5 (pick_up) = 0.36.
    assert found["kappa"] == pytest.approx((0.6 - 0.36) / (1 - 0.36), abs=1e-4)


def test_other_actions_under_the_same_key_are_not_compared():
    one, two = GOLDS[:2]
    other = dataclasses.replace(one, steps=one.steps[:-1])
    a = [annotation(one, [Segment("use(x)", 0, len(one.steps))]), annotation(two, [Segment("use(x)", 0, len(two.steps))])]
    found = agree(a, [annotation(other, [Segment("use(x)", 0, len(other.steps))]), a[1]])
    assert (found["paths"], found["other_actions"]) == (1, 1)


def test_the_command_says_it_as_a_table_or_as_json(tmp_path, sgd, capsys, monkeypatch):
    gold = GOLDS[0]
    for name, subgoal in (("a", "use(x)"), ("b", "wait(1)")):
        with Store(tmp_path / name, "annotate", {"teacher": name}) as store:
            store.append(gold.key, to_row(annotation(gold, [Segment(subgoal, 0, len(gold.steps))])))
            store.finish({})
    monkeypatch.setattr(sys, "argv", ["sgd", "agree", str(tmp_path / "a"), str(tmp_path / "b"), "--json"])
    main()
    found = json.loads(capsys.readouterr().out)
    assert (found["paths"], found["f1"], found["verbs"], found["kappa"]) == (1, 1.0, 0.0, 0.0)
    monkeypatch.setattr(sys, "argv", sys.argv[:-1])
    main()
    assert "precision 1.00, recall 1.00; 1 segments cut alike" in capsys.readouterr().out
    assert sgd("agree", tmp_path / "a", tmp_path / "none")[0] == 2
