"""The environment keeps Gymnasium's contract, and the promises of its docstring."""

import os
import signal

import pytest

from sgd_hf.core.errors import InputError, SimulatorError
from sgd_hf.core.records import Episode
from sgd_hf.core.texts import room
from sgd_hf.scienceworld import tasks
from sgd_hf.scienceworld.environment import JVM_FLAGS, REJECTED, Lost, ScienceWorld, play, provenance

EPISODE = tasks.episode("find-non-living-thing", 3)
ROOMS = {"hallway", "kitchen", "bedroom", "bathroom", "living room", "art studio", "workshop", "greenhouse", "foundry", "outside"}


@pytest.fixture(scope="module")
def env():
    with ScienceWorld() as env:
        yield env


def test_reset_returns_the_first_look_and_a_full_info(env):
    observation, info = env.reset(EPISODE)
    assert set(info) == {"description", "look", "inventory", "score", "moves"}
    assert observation.strip() == info["look"].strip() and room(observation) == "outside"
    assert info["description"].startswith("Your task is to find a(n) non-living thing.")
    assert info["moves"] == 0


def test_rewards_sum_to_the_score_and_the_oracle_terminates_at_100(env):
    actions = env.gold_actions(EPISODE)
    _, info = env.reset(EPISODE)
    score = info["score"]
    for action in actions:
        _, reward, terminated, truncated, info = env.step(action)
        score += reward
        assert score == info["score"] and not truncated
        if terminated:
            break
    assert terminated and score == 100


def test_a_wrong_focus_terminates_at_minus_100_and_play_is_over(env):
    env.reset(EPISODE)
    _, reward, terminated, truncated, info = env.step("focus on dove egg")
    assert (terminated, truncated, info["score"]) == (True, False, -100) and reward < 0
    for action in ("look around", "reset task"):
        with pytest.raises(InputError, match="reset"):
            env.step(action)


def test_valid_actions_are_refused_after_the_end_too(env):
    env.reset(EPISODE)
    env.step("focus on dove egg")
    with pytest.raises(InputError, match="reset"):
        env.valid_actions()


def test_the_move_limit_truncates(env):
    env.reset(EPISODE, limit=2)
    assert [env.step("wait1")[2:4] for _ in range(2)] == [(False, False), (False, True)]
    with pytest.raises(InputError):
        env.step("wait1")


@pytest.mark.parametrize("action", ["reset task", "  RESET  Task ", "reset the task", "task", "help", "Objects", "no such thing", ""])
def test_commands_about_the_session_and_nonsense_are_rejected_without_effect(env, action):
    _, before = env.reset(EPISODE)
    observation, reward, terminated, truncated, info = env.step(action)
    assert observation == REJECTED and info["rejected"] and (reward, terminated, truncated) == (0, False, False)
    assert all(info[key] == before[key] for key in ("look", "inventory", "score", "moves"))


@pytest.mark.slow
def test_an_ambiguous_action_is_answered_within_its_step(env):
    episode = tasks.episode("grow-plant", 0)
    asked = []
    original = env._step
    env._step = lambda action: asked.append((action, original(action))) or asked[-1][1]
    try:
        _, steps = play(env, episode, env.gold_actions(episode))
    finally:
        del env._step
    prompts = [i for i, (_, observation) in enumerate(asked) if observation.startswith("Ambiguous request")]
    assert prompts and all(asked[i + 1][0] == "0" for i in prompts)
    assert not any("Ambiguous request" in step.observation for step in steps)
    assert steps[-1].score == 100


def test_every_room_is_named_in_its_look(env):
    for target in ROOMS:
        env.reset(tasks.episode("boil", 0))
        *_, info = env.step(f"teleport to {target}")
        assert room(info["look"]) == target


def test_valid_actions_are_the_simulators_list(env):
    env.reset(EPISODE)
    assert env.valid_actions() == sorted(env._server.getValidActionObjectCombinations())


@pytest.mark.parametrize("episode", [Episode("boil", 0, "test"), Episode("boil", 99, "test"), Episode("cook", 0, "train")])
def test_an_episode_that_does_not_exist_is_refused_and_nothing_is_loaded(env, episode):
    with pytest.raises(InputError):
        env.reset(episode)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "variation"), [("3-1", 0), ("6-3", 1), ("1-1", 1), ("2-1", 1)])
def test_the_same_actions_give_the_same_text_in_another_jvm(env, task, variation):
    episode = tasks.episode(task, variation)
    actions = env.gold_actions(episode)
    first = play(env, episode, actions)
    with ScienceWorld() as other:
        assert play(other, episode, actions) == first


@pytest.mark.slow
def test_the_gold_path_does_not_depend_on_what_was_loaded_before():
    episodes = [tasks.episode("3-3", v) for v in (0, 3)]
    with ScienceWorld() as env:
        forward = {episode.key: env.gold_actions(episode) for episode in episodes}
        assert {episode.key: env.gold_actions(episode) for episode in reversed(episodes)} == forward


def test_a_dead_jvm_is_an_error_and_not_a_score():
    with ScienceWorld() as env:
        env.reset(EPISODE)
        os.kill(env.pid, signal.SIGKILL)
        with pytest.raises(Lost, match="open a new ScienceWorld"):
            env.step("look around")
    env.close()


def test_an_error_of_the_simulator_is_an_error_and_not_a_score(env):
    env.reset(EPISODE)
    original = env._server.step
    env._server.step = lambda action: "java.lang.NullPointerException\n"
    try:
        with pytest.raises(SimulatorError, match="NullPointerException") as raised:
            env.step("wait1")
        assert not isinstance(raised.value, Lost)
    finally:
        env._server.step = original
    with pytest.raises(InputError):
        env.step("wait1")


def test_close_ends_the_jvm():
    env = ScienceWorld()
    pid = env.pid
    env.close()
    env.close()
    assert not os.path.exists(f"/proc/{pid}")


def test_provenance_is_that_of_the_running_jvm(env):
    assert provenance() == {"simulator": "scienceworld 1.2.3", "jar": provenance()["jar"], "jvm": JVM_FLAGS}
    assert len(provenance()["jar"]) == 16
    with open(f"/proc/{env.pid}/cmdline") as file:
        running = file.read().split("\0")
    assert set(JVM_FLAGS.split()) <= set(running)
