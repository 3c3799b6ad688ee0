"""The agent that is published must play as the one that was scored."""

import dataclasses

import pytest

from sgd_hf.agent.agent import SubgoalAgent
from sgd_hf.core.errors import HubError
from sgd_hf.core.records import Step
from sgd_hf.evaluation.arms import arm
from sgd_hf.evaluation.rollouts import play_all
from sgd_hf.release.again import play_again
from sgd_hf.scienceworld.protocols import Protocol, protocol

pytestmark = pytest.mark.slow


def test_the_same_agent_passes_and_another_score_does_not(run, tmp_path):
    """Two steps of patience: the episode is short, and the models know nothing."""
    SubgoalAgent.of(run, beside="../").save_pretrained(tmp_path / "agent")
    asked = []

    def fetch(source, revision):
        asked.append((source, revision))
        return run / source.split("/")[-1]

    short = Protocol("short", protocol("smoke").episodes[:1], limit=100, patience=2)
    [played] = play_all(short.episodes, arm("hierarchical", agent=run), short, workers=1)
    play_again(tmp_path / "agent", fetch, [played], 100, 2)
    assert sorted(asked) == [("../executor", None), ("../planner", None)]
    more = (*played.steps, Step("wait1", "", "", "", 0, 1, False))
    for other in (dataclasses.replace(played, steps=more), dataclasses.replace(played, score=played.score + 1)):
        with pytest.raises(HubError, match=played.episode.task):
            play_again(tmp_path / "agent", fetch, [other], 100, 2)
