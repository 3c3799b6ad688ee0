"""The table of tasks, against recorded splits and against the live simulator."""

import pytest

from sgd_hf.core.errors import InputError
from sgd_hf.core.records import SPLITS
from sgd_hf.scienceworld import tasks
from sgd_hf.scienceworld.environment import ScienceWorld


def test_totals_and_classes_are_those_of_the_paper():
    assert len(tasks.TASKS) == 30
    assert [sum(len(tasks.variations(name, split)) for name in tasks.TASKS) for split in SPLITS] == [3592, 1796, 1819]
    assert [sum(task.length == name for task in tasks.TASKS.values()) for name in ("short", "medium", "long")] == [10, 8, 12]
    ids = [[int(number) for number in task.id.split("-")] for task in tasks.TASKS.values()]
    assert ids == sorted(ids)


@pytest.mark.parametrize("name", tasks.TASKS)
def test_splits_cover_the_variations_once(name):
    covered = [v for split in SPLITS for v in tasks.variations(name, split)]
    assert covered == list(range(tasks.TASKS[name].variations))
    for split in SPLITS:
        assert {tasks.split_of(name, v) for v in tasks.variations(name, split)} == {split}


@pytest.mark.slow
def test_the_live_simulator_has_the_same_tasks_and_splits():
    with ScienceWorld() as env:
        server = env._server
        assert sorted(server.getTaskNames()) == sorted(tasks.TASKS)
        for name, task in tasks.TASKS.items():
            assert server.getTaskMaxVariations(name) == task.variations
            env.reset(tasks.episode(name, 0))
            theirs = [list(getattr(server, f"getVariations{split.capitalize()}")()) for split in SPLITS]
            assert theirs == [list(tasks.variations(name, split)) for split in SPLITS], name


def test_the_paper_id_is_an_alias():
    assert tasks.episode("4-2", 3) == tasks.episode("find-non-living-thing", 3)


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(InputError, match="'find-plant'"):
        tasks.variations("find-plants", "train")


def test_a_variation_out_of_range_names_the_range():
    with pytest.raises(InputError, match="0 to 29"):
        tasks.episode("boil", 30)
    with pytest.raises(InputError, match="0 to 29"):
        tasks.split_of("boil", -1)


@pytest.mark.parametrize(("task", "simplification"), [("1-1", "easy,openContainers"), ("1-1", "hard"), ("3-3", "noElectricalAction")])
def test_a_simplification_that_the_simulator_would_choke_on_is_refused(task, simplification):
    with pytest.raises(InputError):
        tasks.episode(task, 0, simplification)


def test_an_unknown_split_is_refused():
    with pytest.raises(InputError, match="train, dev, test"):
        tasks.variations("boil", "validation")


@pytest.mark.parametrize("name", ["mendelian-genetics-unknown-plant", "chemistry-mix-paint-secondary-color"])
def test_scattered_keeps_all_in_an_order_that_a_smaller_set_shares(name):
    train = [(name, v) for v in tasks.variations(name, "train")]
    order = tasks.scattered(train)
    assert sorted(order) == train != order
    assert tasks.scattered(reversed(train)) == order == tasks.scattered([*train, *train])
    assert tasks.scattered(train[::2]) == [one for one in order if one in train[::2]]
