"""Which episodes a student learns from, and how often: the same everywhere, nested, and in the shares that were asked for."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgd_hf.core.errors import InputError
from sgd_hf.training.recipe import Student
from sgd_hf.training.rows import data_folder, episode_times, learnt_rows

sizes = st.lists(st.integers(1, 60), min_size=1, max_size=5)


def episodes(sizes):
    return [(f"task-{i}", variation) for i, size in enumerate(sizes) for variation in range(size)]


def shares(times):
    counts = Counter()
    for (task, _), n in times.items():
        counts[task] += n
    return counts


@given(sizes, st.integers(0, 20))
def test_a_cap_is_kept_and_nested(sizes, cap):
    every = episodes(sizes)
    capped = episode_times(every, cap)
    assert set(capped.values()) == {1} and set(capped) <= set(every)
    assert shares(capped) == {f"task-{i}": min(size, cap or size) for i, size in enumerate(sizes)}
    if cap:
        assert set(capped) <= set(episode_times(every, cap + 1))


@given(sizes)
def test_a_choice_does_not_depend_on_the_order_of_the_rows(sizes):
    assert episode_times(reversed(episodes(sizes)), 3, 0.5) == episode_times(episodes(sizes) * 2, 3, 0.5)


@given(sizes, st.sampled_from([0.0, 0.5, 1.0]))
def test_a_power_gives_each_task_its_share(sizes, power):
    times = episode_times(episodes(sizes), power=power)
    total, weight = sum(sizes), sum(size**power for size in sizes)
    for i, size in enumerate(sizes):
        assert abs(shares(times)[f"task-{i}"] - max(1, total * size**power / weight)) <= 0.5 + 1e-9
        own = {n for (task, _), n in times.items() if task == f"task-{i}"}
        assert max(own) - min(own) <= 1 and min(own) >= 1, "no episode is repeated twice before another is once"


def test_the_first_variations_are_nothing_special():
    """The simulator numbers its variations by what they contain: the first ten are alike."""
    assert sorted(v for _, v in episode_times(episodes([400]), 10)) != list(range(10))


def rows(data, role, **keys):
    return learnt_rows(data, Student(role, model="some", **keys))


def contents(part):
    return Counter(str(messages) for messages in part["messages"])


def test_without_a_choice_all_rows_are_learnt_in_their_order(data):
    from datasets import load_dataset

    assert rows(data, "executor")["train"]["messages"] == load_dataset(str(data), "executor", split="train")["messages"]


def test_a_shared_student_learns_the_rows_of_both_roles(data):
    both = [rows(data, role) for role in ("planner", "executor")]
    for split, part in rows(data, "shared").items():
        assert contents(part) == contents(both[0][split]) + contents(both[1][split])


def test_a_planner_of_the_first_sub_goal_learns_an_episode_a_row(data):
    from datasets import load_dataset

    there = load_dataset(str(data), "planner", split="train")
    first = rows(data, "first")["train"]
    assert len(first) == len(set(zip(there["task"], there["variation"], strict=True)))
    assert all("last: none" in asked["content"] for asked, _ in first["messages"])


def test_a_row_cap_spreads_over_the_verbs_of_an_executor_and_the_tasks_of_others(data):
    from datasets import load_dataset

    for role, kind in (("executor", lambda row: row["subgoal"].split("(")[0]), ("flat", lambda row: row["task"])):
        kinds = {str(row["messages"]): kind(row) for row in load_dataset(str(data), role, split="train")}
        all_of = Counter(kinds[str(messages)] for messages in rows(data, role)["train"]["messages"])
        capped = rows(data, role, row_cap=2)
        assert Counter(kinds[str(messages)] for messages in capped["train"]["messages"]) == {k: min(2, n) for k, n in all_of.items()}
        assert len(capped["validation"]) == len(rows(data, role)["validation"])


def test_held_out_tasks_are_neither_learnt_nor_validated_on(data):
    from datasets import load_dataset

    there = {split: load_dataset(str(data), "planner", split=split) for split in ("train", "validation")}
    out = there["validation"]["task"][0]
    kept = rows(data, "planner", held_out=[out])
    for split, part in kept.items():
        assert contents(part) == contents(there[split].filter(lambda task: task != out, input_columns="task"))
    with pytest.raises(InputError, match="no-such-task"):
        rows(data, "planner", held_out=["no-such-task"])
    with pytest.raises(InputError, match="every task"):
        rows(data, "planner", held_out=sorted(set(there["train"]["task"])))


def test_a_renaming_of_an_earlier_version_is_not_answered_from_a_cache(data, monkeypatch):
    """Nor is what is made of its rows. What is drawn stands for whatever a later version does otherwise."""

    def learnt():
        part = rows(data, "planner", renamings=1)["train"]
        return part["messages"], part.map(lambda messages: {"text": str(messages)}, input_columns="messages")["text"]

    before, _ = learnt()
    monkeypatch.setattr(random, "Random", lambda key, drawn=random.Random: drawn(f"later {key}"))
    messages, texts = learnt()
    assert list(messages) != list(before) and list(texts) == [str(some) for some in messages]


def test_a_folder_is_itself_and_what_is_neither_is_refused(data):
    assert data_folder(str(data)) == (data, {})
    assert data_folder("no/such/folder")[1] == {}, "the manifest's reader says what is wrong with it"
    with pytest.raises(InputError, match="neither a folder nor a data set on the Hub") as refused:
        data_folder("someone/no-such-data@v1")
    assert "\n" not in str(refused.value)


def test_a_hub_data_set_is_fetched_at_its_revision(data, monkeypatch):
    """The Hub's client is its own test; here it finds the data set in its cache, where a snapshot is named by its commit."""
    asked = {}
    snapshot = data.parent / "snapshots" / "0123abc"
    snapshot.parent.mkdir()
    snapshot.symlink_to(data)

    def download(name, **given):
        asked.update(given, name=name)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert data_folder("someone/data@v1") == (snapshot, {"id": "someone/data", "revision": "0123abc"})
    assert (asked["name"], asked["revision"], asked["repo_type"]) == ("someone/data", "v1", "dataset")
    assert "manifest.json" in asked["allow_patterns"]
    assert data_folder("someone/data")[0] == snapshot and asked["revision"] is None
