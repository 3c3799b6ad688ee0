"""Protocols are frozen: the same episodes, limits and digests for everybody."""

import dataclasses
from collections import Counter

import pytest

from sgd_hf.core.errors import InputError
from sgd_hf.scienceworld.protocols import QUICKSTART_TASKS, first, protocol
from sgd_hf.scienceworld.tasks import TASKS, split_of, variations

# A digest that changes makes every published score incomparable: add a protocol under a new name instead.
FROZEN = {
    "paper-271": ("test", 271, 100, "8f990181c81d"),
    "paper-271-300": ("test", 271, 300, "417fa13c0ee2"),
    "unseen-211": ("test", 211, 100, "0fc378b93def"),
    "test-1819": ("test", 1819, 100, "1edfb6f4c9e6"),
    "dev-mini": ("dev", 89, 100, "7e3a0094f505"),
    "dev-30": ("dev", 30, 100, "ac8f0308d58c"),
    "smoke": ("dev", 4, 100, "f9de8386395e"),
    "quickstart": ("test", 24, 100, "334fa118d1ff"),
}


@pytest.mark.parametrize("name", FROZEN)
def test_protocols_are_frozen(name):
    split, count, limit, digest = FROZEN[name]
    made = protocol(name)
    assert (len(made.episodes), made.digest) == (count, digest)
    assert {episode.split for episode in made.episodes} == {split} and made.simplification == "easy"
    assert len(set(made.episodes)) == count
    assert all(split_of(episode.task, episode.variation) == split for episode in made.episodes)
    assert (made.limit, made.patience) == (limit, 50)


def test_papers_protocol_has_ten_variations_of_a_task_or_all():
    counts = Counter(episode.task for episode in protocol("paper-271").episodes)
    assert counts == {name: min(10, len(variations(name, "test"))) for name in TASKS}


def test_only_the_small_protocols_leave_tasks_out():
    for name in ("paper-271", "test-1819", "dev-mini", "dev-30"):
        assert {episode.task for episode in protocol(name).episodes} == set(TASKS)
    assert {episode.task for episode in protocol("quickstart").episodes} == set(QUICKSTART_TASKS)


def test_a_digest_covers_what_decides_a_score_and_not_the_name():
    made = protocol("smoke")
    assert dataclasses.replace(made, name="other").digest == made.digest
    for change in ({"limit": 99}, {"patience": 49}, {"episodes": made.episodes[1:]}, {"episodes": first("dev", 1, ["boil"])}):
        assert dataclasses.replace(made, **change).digest != made.digest


def test_an_unknown_protocol_names_the_known_ones():
    with pytest.raises(InputError, match="paper-271, test-1819, dev-mini, dev-30, smoke, quickstart"):
        protocol("paper-270")
