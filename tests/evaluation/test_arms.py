"""Arms: each plays what its name says, and says in one sentence what it lacks."""

import dataclasses

import pytest

from sgd_hf.agent.decoding import Decoding
from sgd_hf.agent.policy import Act, Valid
from sgd_hf.core.errors import CheckpointError, InputError, StoreError
from sgd_hf.core.records import Episode, to_row
from sgd_hf.core.store import Store
from sgd_hf.corpus.collect import read_gold
from sgd_hf.evaluation.arms import ARMS, arm
from sgd_hf.evaluation.rollouts import _config
from sgd_hf.scienceworld.protocols import protocol


def actions(made, episode, gold, most=300):
    """What an arm does in an episode that begins like a gold path, without a simulator."""
    _, policy = made.begin(episode, gold.description, gold.look, gold.inventory)
    done, answer = [], None
    while len(done) < most:
        try:
            request = policy.send(answer)
        except StopIteration:
            break
        answer = ["a", "b", "c", "d"] if isinstance(request, Valid) else None
        if isinstance(request, Act):
            done.append(request.action)
    return tuple(done)


@pytest.fixture(scope="module")
def golds(gold_folder):
    return list(read_gold(gold_folder))


def test_oracle_replays_the_episodes_own_path_and_names_a_missing_one(gold_folder, golds):
    made = arm("oracle", gold=gold_folder)
    for gold in golds:
        assert actions(made, gold.episode, gold) == gold.actions
    with pytest.raises(InputError, match="boil/29/easy"):
        actions(made, Episode("boil", 29, "test"), golds[0])


def test_nearest_replays_a_train_path_of_the_most_similar_description(gold_folder, golds):
    made = arm("nearest", gold=gold_folder)
    for gold in golds:
        assert actions(made, Episode(gold.episode.task, 0, "test"), gold) == gold.actions, "the most similar to itself is itself"


def test_nearest_looks_at_train_paths_only(golds, tmp_path):
    with Store(tmp_path / "gold", "collect", {}) as store:
        other = dataclasses.replace(golds[0], episode=Episode("boil", 20, "dev"))
        store.append(other.key, {"gold": to_row(other), "reason": ""})
        store.finish({})
    with pytest.raises(InputError, match="--split train"):
        arm("nearest", gold=tmp_path / "gold")


def test_random_valid_depends_on_seed_and_episode_alone(golds):
    def played(seed, variation):
        return actions(arm("random-valid", seed=seed), Episode("boil", variation, "train"), golds[0], 40)

    assert played(0, 0) == played(0, 0)
    assert len({played(0, 0), played(1, 0), played(0, 1)}) == 3 and set(played(0, 0)) == set("abcd")


def test_do_nothing_waits(golds):
    assert set(actions(arm("do-nothing"), golds[0].episode, golds[0])) == {"wait"}


@pytest.mark.slow
def test_agents_arms_say_what_they_are_made_of(run):
    made = arm("hierarchical", run)
    said = _config(protocol("smoke"), made)
    assert set(made.modules) == {"planner", "executor"} and said["teacher"] == "rules"
    assert said["planner"] == made.modules["planner"].digest != said["executor"]
    made = arm("flat", run / "flat")
    said = _config(protocol("smoke"), made)
    assert said["flat"] == made.modules["flat"].digest and said["agent"] == "flat"


@pytest.mark.slow
def test_a_checkpoint_of_another_role_is_refused_as_flat(run):
    with pytest.raises(CheckpointError, match="planner"):
        arm("flat", run / "planner")


@pytest.mark.parametrize("name", ["nearest", "oracle", "random-valid", "do-nothing", "flat"])
def test_what_an_arm_has_no_use_for_is_said(name, tmp_path):
    given = {"agent": "a", "gold": tmp_path, "annotations": tmp_path, "decoding": Decoding(beams=5)}
    used = {"agent", "decoding"} if name == "flat" else {"gold"} if name in ("nearest", "oracle") else set()
    for key in given.keys() - used:
        with pytest.raises(InputError, match=f"The arm {name} has no use for --"):
            arm(name, **{key: given[key]})


def test_noise_needs_another_sub_goal(run, tmp_path):
    with Store(tmp_path / "cut", "annotate", {"teacher": "rules"}) as store:
        store.finish({"accepted": 0})
    with pytest.raises(InputError, match="fewer than two different sub-goals"):
        arm("hierarchical", run, annotations=tmp_path / "cut", noise=0.5)
    arm("hierarchical", run, annotations=tmp_path / "cut")


def test_what_an_arm_lacks_is_said(gold_folder, tmp_path):
    for name, lacks in (("hierarchical", "--agent"), ("flat", "--agent"), ("nearest", "--gold"), ("oracle", "--gold")):
        with pytest.raises(InputError, match=lacks):
            arm(name)
    with pytest.raises(InputError, match=", ".join(ARMS)):
        arm("lucky")
    with pytest.raises(CheckpointError):
        arm("hierarchical", tmp_path)
    with pytest.raises(CheckpointError):
        arm("flat", tmp_path)
    with pytest.raises(StoreError):
        arm("oracle", gold=tmp_path)
