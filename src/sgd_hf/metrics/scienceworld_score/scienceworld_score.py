"""The ScienceWorld score as an `evaluate` module: action lists are replayed in the simulator, or an agent plays.

Guarantee: a score is what the simulator gave under a protocol that the result names by its digest. An episode that
failed counts 0, and so does one that crashed, which is counted as an error beside; none is dropped.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import evaluate

from sgd_hf.agent.agent import SubgoalAgent
from sgd_hf.core.errors import InputError, SimulatorError
from sgd_hf.core.records import Rollout
from sgd_hf.core.store import versions
from sgd_hf.evaluation.arms import Arm
from sgd_hf.evaluation.replay import Script, play_scripts
from sgd_hf.evaluation.rollouts import play_all
from sgd_hf.evaluation.scoring import summarise
from sgd_hf.scienceworld.environment import provenance
from sgd_hf.scienceworld.protocols import Protocol
from sgd_hf.scienceworld.tasks import episode

DESCRIPTION = "The score (0 to 100) of action lists, or of an agent, on episodes of ScienceWorld: the macro mean over tasks."
INPUTS = """
predictions: a list of actions (strings) for each episode; with `agent` they are not read and may be left out.
references: the episodes, `{"task": name or paper id, "variation": int, "simplification": "easy", "" or names}`.
agent: a `SubgoalAgent`, its folder or its Hub id; it plays the episodes instead of the action lists.
limit: simulator moves after which an episode is cut off (100); None for none.
patience: actions without a change of the score after which an episode is given up (50).
workers: simulators at once (1), about 0.5 GB of memory each.
"""
CITATION = """
@inproceedings{wang2022scienceworld,
  title={ScienceWorld: Is your Agent Smarter than a 5th Grader?},
  author={Wang, Ruoyao and Jansen, Peter and C{\\^o}t{\\'e}, Marc-Alexandre and Ammanabrolu, Prithviraj},
  booktitle={Proceedings of EMNLP},
  year={2022}
}
"""


class ScienceworldScore(evaluate.Metric):
    """See `INPUTS` for what `compute` takes, and the README for what it returns."""

    def _info(self) -> evaluate.MetricInfo:
        reference = {"task": datasets.Value("string"), "variation": datasets.Value("int64"), "simplification": datasets.Value("string")}
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": datasets.List(datasets.Value("string")), "references": reference}),
            reference_urls=["https://github.com/allenai/ScienceWorld", "https://arxiv.org/abs/2203.07540"],
        )

    def compute(self, *, predictions: Any = None, references: Any = None, agent: Any = None, **options: Any) -> dict[str, Any]:
        """The result; `InputError` in one sentence for episodes that the simulator has not."""
        if references is not None:
            _episodes(references)  # before evaluate opens its cache file, which an error later on would leave locked
            if agent is not None:
                predictions = [[] for _ in references]
        return super().compute(predictions=predictions, references=references, agent=agent, **options)

    def _compute(
        self,
        predictions: list[list[str]],
        references: list[dict[str, Any]],
        agent: SubgoalAgent | str | Path | None = None,
        limit: int | None = 100,
        patience: int = 50,
        workers: int = 1,
    ) -> dict[str, Any]:
        if workers < 1:
            raise InputError("The number of workers must be at least 1.")
        protocol = Protocol("references", _episodes(references), limit, patience)
        played = _replayed(predictions, protocol, workers) if agent is None else _rolled_out(agent, protocol, workers)
        rollouts = list(played)
        [summary] = summarise(rollouts).values()
        tasks = {
            task: {"score": row["score"], "success_rate": row["success"], "n_episodes": row["episodes"]}
            for task, row in summary["tasks"].items()
        }
        return {
            "score": summary["macro"],
            "interval": summary["interval"],
            "success_rate": summary["success"],
            "per_task": tasks,
            "n_episodes": summary["episodes"],
            "n_errors": summary["errors"],
            "errors": {rollout.episode.key: rollout.error for rollout in rollouts if rollout.stop == "error"},
            "protocol": {"digest": protocol.digest, "limit": limit, "patience": patience},
            "versions": {**versions(), **provenance()},
        }


def _episodes(references: list[dict[str, Any]]) -> tuple[Any, ...]:
    missing = [key for reference in references for key in ("task", "variation", "simplification") if key not in reference]
    if missing:
        raise InputError(f"A reference has no {missing[0]!r}; give task, variation and simplification of each episode.")
    episodes = tuple(episode(r["task"], r["variation"], r["simplification"]) for r in references)
    if not episodes or len({e.key for e in episodes}) < len(episodes):
        raise InputError("The references must name at least one episode, and none of them twice; give a list of different episodes.")
    return episodes


def _replayed(predictions: list[list[str]], protocol: Protocol, workers: int) -> Iterator[Rollout]:
    scripts = [
        Script(episode, tuple(actions), (), protocol.limit, protocol.patience)
        for episode, actions in zip(protocol.episodes, predictions, strict=True)
    ]
    for script, outcome in play_scripts(scripts, workers):
        if isinstance(outcome, SimulatorError):
            outcome = Rollout(script.episode, "replay", "", (), (), 0, 0, 0, "error", 0, 0, error=str(outcome))
        yield outcome


def _rolled_out(source: SubgoalAgent | str | Path, protocol: Protocol, workers: int) -> Iterator[Rollout]:
    agent = SubgoalAgent.from_pretrained(source) if isinstance(source, (str, Path)) else source
    arm = Arm("agent", lambda episode, *state: agent.policy(*state), agent.modules())
    return play_all(protocol.episodes, arm, protocol, workers)
