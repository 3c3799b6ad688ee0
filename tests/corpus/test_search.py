"""Search paths: the simulator's own texts, a thing that was nowhere in sight before, and rows that end with the focus on it."""

import pytest

from sgd_hf.core.errors import InputError
from sgd_hf.core.records import GoldPath, from_row, to_row
from sgd_hf.core.store import Store
from sgd_hf.core.subgoals import names, plain
from sgd_hf.core.texts import room
from sgd_hf.corpus.alignment import check_cover
from sgd_hf.corpus.annotate import annotation
from sgd_hf.corpus.build import build, search_rows
from sgd_hf.corpus.collect import gold_row
from sgd_hf.corpus.search import ORDER, read_searches, search
from sgd_hf.corpus.teachers import RuleTeacher, written
from sgd_hf.scienceworld import tasks
from sgd_hf.scienceworld.environment import ScienceWorld, play
from sgd_hf.training.recipe import Student
from sgd_hf.training.rows import learnt_rows

THINGS = {"boil/6/easy": "orange juice", "melt/4/easy": "ice", "freeze/14/easy": "ice cream"}


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """Annotations of two train episodes and one of dev, whose gold paths open things until they see what the task names."""
    folder = tmp_path_factory.mktemp("cut") / "cut"
    with ScienceWorld() as env, Store(folder, "annotate", {"teacher": "rules"}) as store:
        for key in THINGS:
            task, variation, _ = key.split("/")
            gold = from_row(GoldPath, gold_row(env, (tasks.episode(task, int(variation)), True))["gold"])
            store.append(gold.key, to_row(annotation(gold, written(gold), RuleTeacher())))
        store.finish({})
    return folder


@pytest.fixture(scope="module")
def folder(cut):
    search(cut, cut.parent / "search", targets=20, workers=1)
    return cut.parent / "search"


@pytest.fixture(scope="module")
def searches(folder):
    return list(read_searches(folder))


def test_a_search_replays_in_another_jvm_and_only_its_description_is_hindsight(searches):
    assert {found.episode.key for found in searches} == {"boil/6/easy", "melt/4/easy"}  # no row comes of a dev episode
    with ScienceWorld() as env:
        for found in searches[::5]:
            start, steps = play(env, found.episode, [step.action for step in found.steps])
            assert (start["look"], start["inventory"], tuple(steps)) == (found.look, found.inventory, found.steps)
            assert start["description"].replace(THINGS[found.episode.key], found.target) == found.description


def test_the_thing_comes_into_sight_at_the_end_and_not_before(searches):
    late = 0
    for found in searches:
        assert names(plain(found.description), found.target) and check_cover(found.segments, len(found.steps))
        assert names(plain(found.steps[-1].look), found.target)
        if found.segments[-1].subgoal.startswith(("open(", "navigate_to(")):
            late += 1
            before = [found.look, *(step.look for step in found.steps[: found.segments[-1].start])]
            assert not any(names(plain(look), found.target) for look in before)
    assert late > len(searches) / 2


def test_rooms_are_searched_in_one_order_and_the_first_one_before_any_other(searches):
    for found in searches:
        rooms = list(dict.fromkeys(room(step.look) for step in found.steps))
        assert rooms == ["kitchen", *ORDER][: len(rooms)]
        if len(rooms) > 1:
            opened = {step.action for step in found.steps if step.action.startswith("open ")}
            assert {"open freezer", "open fridge", "open oven"} <= opened


@pytest.mark.parametrize(("role", "focus"), [("planner", "focus_on({})"), ("flat", "focus on {}")])
def test_a_row_is_what_the_role_reads_and_ends_with_the_focus(searches, role, focus):
    for found in searches:
        steps = {"planner": [s.subgoal for s in found.segments], "flat": [s.action.lower() for s in found.steps]}[role]
        rows = list(search_rows(found, role))
        assert [m["content"] for messages, _, _ in rows for m in messages if m["role"] == "assistant"] == [
            *steps,
            focus.format(found.target),
        ]
        assert all(found.description.lower() in messages[0]["content"] for messages, _, _ in rows)


def test_planner_and_flat_learn_from_them_and_a_cap_takes_them_as_a_kind(cut, folder, searches, tmp_path):
    plain_rows, more = build([cut], tmp_path / "plain")["rows"], build([cut], tmp_path / "more", searches=[folder])["rows"]
    for role in ("planner", "flat"):
        added = more[role]["train"] - plain_rows[role]["train"]
        assert added == sum(len(list(search_rows(found, role))) for found in searches) >= len(searches)
        assert more[role]["validation"] == plain_rows[role]["validation"]
    assert {**more, "planner": 0, "flat": 0} == {**plain_rows, "planner": 0, "flat": 0}
    rows = learnt_rows(tmp_path / "more", Student(role="planner", row_cap=3))["train"]
    assert sum(row["messages"][-1]["content"].startswith("focus_on(") for row in rows) == 3


def test_the_same_call_gives_the_same_paths_and_another_seed_others(cut, searches, tmp_path):
    search(cut, tmp_path / "again", targets=20, workers=1)
    search(cut, tmp_path / "other", targets=20, workers=1, seed=1)
    assert list(read_searches(tmp_path / "again")) == searches != list(read_searches(tmp_path / "other"))


def test_bad_input_is_one_sentence(cut, folder, tmp_path):
    with pytest.raises(InputError, match="opens things to find one"):
        search(cut, tmp_path / "out", tasks=["find-animal"])
    with pytest.raises(InputError, match="at least 1"):
        search(cut, tmp_path / "out", targets=0)
    with pytest.raises(InputError, match="--prompts turns"):
        build([cut], tmp_path / "data", style="paper", searches=[folder])
