"""A comparison pairs episodes, and tells a regression from luck; a ranking keeps protocols apart."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from sgd_hf.core.errors import InputError
from sgd_hf.core.records import Rollout, to_row
from sgd_hf.core.store import Store
from sgd_hf.evaluation.compare import compare, leaderboard, print_comparison, print_leaderboard
from sgd_hf.scienceworld.tasks import TASKS, episode

NAMES = tuple(TASKS)[:4]


def run(scores, arm="flat"):
    """A rollout of each (task, variation) with this score."""
    return [Rollout(episode(t, v), arm, "…", (), (), s, s, s, "move_limit", 0, 0) for (t, v), s in scores.items()]


scores = st.dictionaries(st.tuples(st.sampled_from(NAMES), st.integers(0, 5)), st.integers(0, 100), min_size=1)
pairs = scores.flatmap(lambda a: st.tuples(st.just(a), st.fixed_dictionaries({key: st.integers(0, 100) for key in a})))


@settings(deadline=None, max_examples=50)
@given(pairs)
def test_the_difference_is_that_of_the_macro_means_and_changes_sign_with_the_order(pair):
    a, b = pair
    found, back = compare(run(a), run(b), resamples=200), compare(run(b), run(a), resamples=200)
    tasks = {task for task, _ in a}
    means = [sum(b[k] - a[k] for k in a if k[0] == task) / sum(k[0] == task for k in a) for task in tasks]
    assert found["difference"] == pytest.approx(sum(means) / len(means)) == pytest.approx(-back["difference"])
    assert found["interval"] == pytest.approx([-bound for bound in reversed(back["interval"])], abs=1e-9)
    assert found["interval"][0] <= found["interval"][1]
    if len(a) == 1:
        assert found["interval"] == pytest.approx([found["difference"]] * 2)
    assert (found["wins"], found["losses"]) == (back["losses"], back["wins"])
    assert found["wins"] + found["ties"] + found["losses"] == found["episodes"] == len(a)
    assert {task: row["difference"] for task, row in found["tasks"].items()} == pytest.approx(
        {task: row["b"] - row["a"] for task, row in found["tasks"].items()}
    )


@settings(deadline=None, max_examples=20)
@given(pairs, st.randoms())
def test_the_order_of_the_rollouts_does_not_matter(pair, luck):
    a, b = map(run, pair)
    found = compare(a, b, resamples=50)
    luck.shuffle(a)
    luck.shuffle(b)
    assert compare(a, b, resamples=50) == found


def test_a_run_ties_with_itself_exactly():
    a = run({(task, v): 10 * v for task in NAMES for v in range(8)})
    found = compare(a, a)
    assert (found["difference"], found["interval"], found["ties"], found["regression"]) == (0, [0, 0], 32, False)


def test_pairing_tells_a_small_constant_loss_from_the_spread_of_the_episodes():
    draw = random.Random(0)
    old = {(task, v): draw.randrange(5, 100) for task in NAMES for v in range(10)}
    found = compare(run(old), run({key: value - 3 for key, value in old.items()}))
    assert found["difference"] == pytest.approx(-3) and found["interval"] == pytest.approx([-3, -3]) and found["regression"]


def test_one_episode_a_task_tells_no_regression_and_no_number_is_cut(capsys):
    old = {("power-component-renewable-vs-nonrenewable-energy", 0): 100, **{(task, 0): 100 for task in NAMES}}
    found = compare(run(old), run(dict.fromkeys(old, 0)))
    assert found["difference"] == -100 and not found["regression"]
    print_comparison(found, Path("a"), Path("b"), Console(width=80))
    said = capsys.readouterr().out
    assert "one episode a task cannot tell luck" in said and "95 %" not in said
    assert said.count("-100.0") == len(old) + 2 and "…" not in said


def test_a_loss_within_luck_is_no_regression():
    draw = random.Random(1)
    keys = [(task, v) for task in NAMES for v in range(10)]
    old, new = ({key: draw.randrange(0, 101) for key in keys} for _ in range(2))
    low, high = compare(run(old), run(new))["interval"]
    assert low < 0 < high and not compare(run(old), run(new))["regression"]


def test_a_failed_episode_counts_0_on_both_sides():
    failed = [Rollout(episode(NAMES[0], 0), "flat", "…", (), (), 0, -100, 60, "failure", 0, 0)]
    assert compare(run({(NAMES[0], 0): 40}), failed)["difference"] == -40


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        ({(NAMES[0], 0): 1}, {(NAMES[0], 1): 1}, "same episodes"),
        ({(NAMES[0], 0): 1, (NAMES[0], 1): 1}, {(NAMES[0], 1): 1}, "same episodes"),
        ({}, {}, "no episode"),
    ],
)
def test_other_episodes_are_refused(a, b, sentence):
    with pytest.raises(InputError, match=sentence):
        compare(run(a), run(b))


def test_two_arms_in_one_run_are_refused():
    a = run({(NAMES[0], 0): 1})
    with pytest.raises(InputError, match="twice"):
        compare(a, [*a, *run({(NAMES[0], 0): 2}, arm="oracle")])


def folder(path, scores, arm="flat", digest="aaaaaaaaaaaa", **origin):
    config = {"protocol": {"name": "p", "digest": digest, "limit": 100, "patience": 50}, "arm": arm, **origin}
    config = {"simulator": "s", "jar": "j", "jvm": "-v"} | config
    with Store(path, "evaluate", config) as store:
        for rollout in run(scores, arm):
            store.append(rollout.key, to_row(rollout))
        store.finish({"episodes": len(scores)})
    return path


OLD = {(task, v): 60 + v for task in NAMES for v in range(4)}
WORSE = {key: value - 20 for key, value in OLD.items()}


def test_the_verb_exits_1_on_a_regression_only(tmp_path, sgd):
    old, worse = folder(tmp_path / "old", OLD), folder(tmp_path / "worse", WORSE)
    assert sgd("compare", old, worse) == (1, "")
    assert sgd("compare", worse, old) == (0, "")
    assert sgd("compare", old, old) == (0, "")


def test_the_verb_refuses_another_protocol_in_one_sentence(tmp_path, sgd):
    old, other = folder(tmp_path / "old", OLD), folder(tmp_path / "other", OLD, digest="bbbbbbbbbbbb")
    code, said = sgd("compare", old, other)
    assert code == 2 and said.count("\n") == 1 and "aaaaaaaaaaaa" in said and "bbbbbbbbbbbb" in said


def test_the_verb_refuses_another_simulator_in_one_sentence(tmp_path, sgd):
    old, other = folder(tmp_path / "old", OLD), folder(tmp_path / "other", OLD, jar="another")
    code, said = sgd("compare", old, other)
    assert code == 2 and said.count("\n") == 1 and "different simulators" in said


def test_a_leaderboard_ranks_by_macro_mean_and_says_what_a_run_was_made_of(tmp_path):
    worse, old = folder(tmp_path / "worse", WORSE), folder(tmp_path / "old", OLD, agent="mine", planner="1234")
    [table] = leaderboard([worse, old])
    assert [row["run"] for row in table["rows"]] == [str(old), str(worse)]
    assert table["rows"][0]["origin"] == "agent=mine planner=1234" and table["rows"][1]["origin"] == "none"
    assert table["rows"][0]["summary"]["macro"] == 61.5


def test_protocols_are_ranked_apart_under_one_warning(tmp_path):
    folders = [folder(tmp_path / name, OLD, digest=digest * 12) for name, digest in (("x", "a"), ("y", "b"), ("z", "a"))]
    tables = leaderboard(folders)
    assert [len(table["rows"]) for table in tables] == [2, 1]
    console = Console(record=True, width=200, file=open("/dev/null", "w"))
    print_leaderboard(tables, console)
    shown = console.export_text()
    assert shown.count("Warning") == 1 and "p aaaaaaaaaaaa" in shown and "p bbbbbbbbbbbb" in shown
    print_leaderboard(tables[:1], console)
    assert "Warning" not in console.export_text()


def test_runs_are_named_from_the_folder_that_they_share(tmp_path, monkeypatch):
    once = {(task, 0): 60 for task in NAMES}
    one, two = (folder(tmp_path / "a-long-way-down" / "evaluations" / name, once) for name in ("one", "two"))
    monkeypatch.chdir(one)
    console = Console(record=True, width=80, file=open("/dev/null", "w"))
    print_leaderboard(leaderboard([Path("."), two]), console)
    table = console.export_text()
    assert "\n1 one " in table and "\n2 two " in table and "60.0–" not in table, "an interval of one episode a task is none"
