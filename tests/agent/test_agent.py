"""A `SubgoalAgent` is its configuration: saved, loaded, refused where it would be played wrongly."""

import dataclasses
import json

import pytest

from sgd_hf.agent.agent import AgentConfig, SubgoalAgent
from sgd_hf.agent.policy import Ask, Patience
from sgd_hf.core.errors import CheckpointError
from sgd_hf.core.prompts import PROMPT_VERSION

MODULE = {"source": "someone/planner", "revision": "abc"}


def written(folder, name, **changes):
    (folder / name).mkdir(parents=True)
    said = {"role": name, "prompt_version": PROMPT_VERSION, "budget": 4000, "teacher": "rules", "training": {}, **changes}
    (folder / name / "sgd.json").write_text(json.dumps(said))


@pytest.fixture
def folder(tmp_path):
    for name in ("planner", "executor"):
        written(tmp_path / "run", name)
    return tmp_path / "run"


def test_a_runs_folder_is_an_agent(folder):
    agent = SubgoalAgent.from_pretrained(str(folder))
    assert (agent.config.budget, agent.config.teacher, agent.config.prompt_version) == (4000, "rules", PROMPT_VERSION)
    assert agent._locate(agent.config.planner) == (str(folder / "planner"), None)


def test_saved_and_loaded_it_is_the_same(folder, tmp_path):
    agent = SubgoalAgent.of(folder, beside="../run/")
    agent.save_pretrained(tmp_path / "agent")
    assert not list((tmp_path / "agent").glob("*.safetensors"))
    loaded = SubgoalAgent.from_pretrained(str(tmp_path / "agent"))
    assert loaded.config == agent.config
    path, revision = loaded._locate(loaded.config.executor)
    assert revision is None and (tmp_path / "agent" / path / "sgd.json").exists()


def test_a_word_that_patience_does_not_know_is_refused_when_the_agent_is_loaded(folder, tmp_path):
    SubgoalAgent.of(folder).save_pretrained(tmp_path / "agent")
    path = tmp_path / "agent" / "config.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"patience": {"actoins": 20}}))
    with pytest.raises(CheckpointError, match=r"config\.json is not the configuration of an agent"):
        SubgoalAgent.from_pretrained(str(tmp_path / "agent"))


def test_modules_elsewhere_keep_source_and_revision():
    agent = SubgoalAgent(AgentConfig(MODULE, MODULE))
    assert agent._locate(agent.config.planner) == ("someone/planner", "abc")


def test_its_policy_keeps_budget_and_patience():
    agent = SubgoalAgent(AgentConfig(MODULE, MODULE, budget=1234, patience=dataclasses.asdict(Patience(actions=2))))
    transcript, policy = agent.policy("Your task is to win.", "", "")
    assert transcript.budget == 1234
    assert isinstance(request := policy.send(None), Ask) and request.module == "planner"


def test_another_prompt_version_is_refused(folder, tmp_path):
    with pytest.raises(CheckpointError, match="prompt version 0"):
        SubgoalAgent(AgentConfig(MODULE, MODULE, prompt_version="0"))
    for name in ("planner", "executor"):
        written(tmp_path / "old", name, prompt_version="0")
    with pytest.raises(CheckpointError, match="prompt version 0"):
        SubgoalAgent.from_pretrained(str(tmp_path / "old"))


@pytest.mark.parametrize("change", [{"budget": 1}, {"teacher": "other"}, {"prompt_version": "0"}])
def test_modules_of_different_data_are_refused(tmp_path, change):
    written(tmp_path, "planner")
    written(tmp_path, "executor", **change)
    with pytest.raises(CheckpointError, match="different data"):
        SubgoalAgent.from_pretrained(str(tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[]",
        "{}",
        '{"planner": 1, "teapot": 2}',
        '{"planner": null, "executor": null}',
        '{"planner": {"path": "a"}, "executor": {"path": "b"}}',
    ],
)
def test_a_folder_that_is_no_agent_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError) as refused:
        SubgoalAgent.from_pretrained(str(tmp_path))
    assert "\n" not in str(refused.value)


def test_a_module_that_does_not_say_what_it_is_for_is_refused(folder):
    (folder / "planner" / "sgd.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"sgd\.json is damaged"):
        SubgoalAgent.from_pretrained(folder)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        SubgoalAgent.from_pretrained(str(tmp_path / "nowhere"))
    with pytest.raises(CheckpointError, match="executor"):
        written(tmp_path, "planner")
        SubgoalAgent.from_pretrained(str(tmp_path))


def test_modules_swapped_by_mistake_are_refused(tmp_path):
    written(tmp_path, "planner", role="executor")
    written(tmp_path, "executor", role="planner")
    with pytest.raises(CheckpointError, match="executor"):
        SubgoalAgent.from_pretrained(str(tmp_path))
