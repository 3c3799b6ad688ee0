"""A small scored run: the trained modules of `run`, with evaluations made of recorded episodes as if arms had played them.

The scores are therefore none that these models reached; tests of cards and tables need some, and no simulator.
"""

import dataclasses
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))

from sgd_hf.core.records import Rollout, SubgoalTrace, to_row
from sgd_hf.core.store import Store
from sgd_hf.scienceworld.environment import provenance
from sgd_hf.scienceworld.protocols import QUICKSTART_TASKS, protocol
from sgd_hf.scienceworld.tasks import episode

KEPT = {"hierarchical": 0.6, "flat": 0.3, "do-nothing": 0.0}
"""the share of a gold path's actions that each arm is made to have played"""


@pytest.fixture(scope="session")
def scored(run, annotations, tmp_path_factory):
    """A finished run's folder, as the README's commands leave it."""
    from sgd_hf.agent.decoder import Decoder

    folder = tmp_path_factory.mktemp("scored") / "run"
    for name in ("planner", "executor", "flat", "data"):
        shutil.copytree(run / name, folder / name)
    origin = {
        "hierarchical": {"teacher": "rules", **{role: Decoder.from_pretrained(folder / role).digest for role in ("planner", "executor")}},
        "flat": {"teacher": "rules", "flat": Decoder.from_pretrained(folder / "flat").digest},
        "do-nothing": {},
    }
    smoke = protocol("smoke")
    shape = {"name": smoke.name, "digest": smoke.digest, "limit": smoke.limit, "patience": smoke.patience, "simplification": "easy"}
    played = [a for a in annotations if a.gold.episode.task in QUICKSTART_TASKS]
    for arm, share in KEPT.items():
        config = {"protocol": shape, "arm": arm, **origin[arm], "seed": 0, **provenance()}
        with Store(folder / "evaluation" / arm, "evaluate", config) as store:
            for a in played:
                for variation in (e.variation for e in smoke.episodes if e.task == a.gold.episode.task):
                    rollout = made_up(a, arm, share, episode(a.gold.episode.task, variation))
                    store.append(rollout.key, to_row(rollout))
            store.finish({"episodes": len(played), "errors": 0})
    return folder


def made_up(annotation, arm, share, at):
    steps = annotation.gold.steps[: int(share * len(annotation.gold.steps))]
    score = max((step.score for step in steps), default=0)
    cuts = [s for s in annotation.segments if s.end <= len(steps)] if arm == "hierarchical" else []
    known = {f.name for f in dataclasses.fields(SubgoalTrace)}
    traces = tuple(SubgoalTrace(**{k: v for k, v in {**vars(s), "fate": "ended"}.items() if k in known}) for s in cuts)
    return Rollout(at, arm, annotation.gold.description, steps, traces, score, score, score, "no_progress", 0, 0)


@pytest.fixture
def hub(tmp_path):
    """A loopback Hub with an empty store."""
    from server import serving

    with serving(tmp_path / "hub") as served:
        yield served
