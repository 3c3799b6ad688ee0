"""The metric loads offline from its folder, scores what the simulator scores, and lets an agent play."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from recorded import GOLD_MINI, gold_paths

from sgd_hf.agent.policy import Act
from sgd_hf.core.errors import InputError, SimulatorError
from sgd_hf.core.prompts import State, Transcript
from sgd_hf.metrics import path
from sgd_hf.scienceworld.environment import provenance
from sgd_hf.scienceworld.protocols import Protocol, protocol

HARNESS = Path(__file__).parents[1] / "harness"
TASKS = ("find-non-living-thing", "lifespan-longest-lived", "find-plant", "power-component")
GOLDS = [gold for gold in gold_paths() if gold.episode.task in TASKS]
REFERENCES = [{"task": g.episode.task, "variation": g.episode.variation, "simplification": g.episode.simplification} for g in GOLDS]


@pytest.fixture
def metric():
    from sgd_hf.metrics.scienceworld_score.scienceworld_score import ScienceworldScore

    return ScienceworldScore(keep_in_memory=True)


@pytest.fixture(scope="module")
def child(tmp_path_factory):
    """What a script in a process of its own gets, offline and with an empty cache."""
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home)}
    command = [sys.executable, HARNESS / "score_gold.py", GOLD_MINI, *TASKS]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.fixture(scope="module")
def results(child):
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout.splitlines()[-1])


@pytest.mark.slow
def test_gold_paths_score_100(results):
    whole = results["whole"]
    assert (whole["score"], whole["success_rate"], whole["n_episodes"], whole["n_errors"]) == (100, 1, len(TASKS), 0)
    assert {task: row["score"] for task, row in whole["per_task"].items()} == dict.fromkeys(TASKS, 100)


def test_without_their_last_action_none_is_solved(results):
    cut = results["cut"]
    assert cut["success_rate"] == 0 and cut["score"] < 100
    assert cut["score"] == sum(row["score"] for row in cut["per_task"].values()) / len(TASKS)


def test_a_wrong_task_is_one_sentence_and_the_module_can_be_used_again(results):
    assert results["wrong"] == "InputError: Unknown task 'find-plont'; the nearest of the 30 tasks is 'find-plant'."


def test_a_script_without_a_main_guard_runs_once(child):
    assert child.stderr.count("begun") == 1 and "Traceback" not in child.stderr


def test_the_result_names_its_protocol_and_its_simulator(results):
    whole = results["whole"]
    assert whole["protocol"] == {"digest": Protocol("", tuple(g.episode for g in GOLDS)).digest, "limit": 100, "patience": 50}
    assert provenance().items() <= whole["versions"].items()


@pytest.mark.slow
def test_an_agent_plays_instead(metric):
    class Reciter:
        """Knows the gold path of each description."""

        def policy(self, description, look, inventory):
            [actions] = [gold.actions for gold in GOLDS[:2] if gold.description == description]
            return Transcript(description, State(look, inventory)), (Act(action) for action in actions)

        def modules(self):
            return {}

    result = metric.compute(references=REFERENCES[:2], agent=Reciter())
    assert (result["score"], result["n_errors"]) == (100, 0)
    assert metric.compute(predictions=[[], []], references=REFERENCES[:2])["score"] < 100


@pytest.mark.slow
def test_the_limits_are_those_of_a_protocol(metric):
    [gold] = [gold for gold in GOLDS if gold.episode.task == "power-component"]
    reference = {"task": gold.episode.task, "variation": gold.episode.variation, "simplification": "easy"}
    waited = metric.compute(predictions=[["look around"] * 3 + list(gold.actions)], references=[reference], patience=2)
    limited = metric.compute(predictions=[list(gold.actions)], references=[reference], limit=0)
    assert waited["score"] == 0 and limited["score"] < 100
    assert len({waited["protocol"]["digest"], limited["protocol"]["digest"]}) == 2


def test_crashes_count_0_and_the_digest_is_that_of_the_protocol_whose_episodes_are_referenced(metric, monkeypatch):
    smoke = protocol("smoke")
    module = sys.modules[type(metric).__module__]
    died = SimulatorError("It died; try again.")
    monkeypatch.setattr(module, "play_scripts", lambda scripts, workers: ((script, died) for script in scripts))
    references = [{"task": e.task, "variation": e.variation, "simplification": e.simplification} for e in smoke.episodes]
    result = metric.compute(predictions=[[] for _ in references], references=references)
    assert result["protocol"]["digest"] == smoke.digest
    assert (result["score"], result["n_errors"]) == (0, 4) and set(result["errors"].values()) == {"It died; try again."}


@pytest.mark.parametrize(
    ("references", "sentence"),
    [
        ([], "at least one"),
        ([REFERENCES[0]] * 2, "twice"),
        ([{"task": "boil", "variation": 0}], "'simplification'"),
        ([{"task": "boil", "variation": 30, "simplification": "easy"}], "no variation 30"),
        ([{"task": "boil", "variation": 0, "simplification": "easy,openDoors"}], "cannot be used"),
    ],
)
def test_references_that_cannot_be_played_are_refused_in_one_sentence(metric, references, sentence):
    with pytest.raises(InputError, match=sentence):
        metric.compute(predictions=[[] for _ in references], references=references)


@pytest.mark.slow
def test_the_folder_is_a_space_and_its_example_is_true(metric):
    import yaml

    folder = Path(path())
    front, card = (folder / "README.md").read_text().split("---\n", 2)[1:]
    front = yaml.safe_load(front)
    assert {"evaluate", "metric"} <= set(front["tags"]) and front["sdk"] == "gradio" and (folder / front["app_file"]).exists()
    call = card[card.index("scienceworld_score.compute(") : card.index('["score"]  # 100.0')]
    assert eval(call, {"scienceworld_score": metric})["score"] == 100.0
