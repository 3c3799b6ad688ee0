"""A live score: while a student learns, its saved checkpoint plays, together with the partner that it will play with.

Guarantee: what plays is the checkpoint as it stands, under a protocol of dev episodes alone, so that a choice made by
this score has seen no test variation; the training's own folder is not touched.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from sgd_hf.core.errors import InputError
from sgd_hf.core.safety import CHECKPOINT
from sgd_hf.core.store import read_manifest, write_json
from sgd_hf.evaluation.arms import arm
from sgd_hf.evaluation.rollouts import evaluate
from sgd_hf.evaluation.scoring import summarise
from sgd_hf.scienceworld.protocols import protocol
from sgd_hf.training.recipe import FIRST, read_keys
from sgd_hf.training.rows import data_folder
from sgd_hf.training.sft import purpose_of

PARTNERS = {"planner": ("executor",), "executor": ("planner",), FIRST: ("planner", "executor")}


def live_score(config: Path, data: str, name: str, partner: Path | None, workers: int = 2) -> Callable[[Path], dict[str, float]]:
    """What `sgd_hf.training.sft.train` takes as ``score`` for the recipe ``config`` on ``data``. ``name``: of a protocol of
    dev episodes; ``partner``: a folder that holds the other modules of the agent, for a recipe that trains one of them."""
    keys = read_keys(config)
    role = keys["role"]
    if not keys.get("score_steps"):
        raise InputError(f"{config} says nothing of when to score; give it `score_steps`, a multiple of its save_steps.")
    played = protocol(name)
    if any(episode.split != "dev" for episode in played.episodes):
        raise InputError(f"{name} has episodes that are not of dev; score what is still learning on dev episodes, such as dev-mini.")
    wanted = PARTNERS.get(role, ())
    if lacking := [module for module in wanted if partner is None or not (partner / module / "sgd.json").is_file()]:
        raise InputError(f"A {role} plays together with a trained {lacking[0]}; give the folder that holds it as --partner.")
    said = {"role": role, **purpose_of(read_manifest(data_folder(data)[0], "build", complete=True))}

    def score(checkpoint: Path) -> dict[str, float]:
        with tempfile.TemporaryDirectory(prefix="sgd-live-") as scratch:
            root = Path(scratch)
            (root / role).mkdir()
            for pattern in CHECKPOINT:
                for file in checkpoint.glob(pattern):
                    shutil.copy2(file, root / role)
            write_json(root / role / "sgd.json", said)
            for module in wanted:
                (root / module).symlink_to((partner / module).resolve())
            player = arm("flat", root / role) if role == "flat" else arm("hierarchical", root)
            rollouts = evaluate(root / "rollouts", played, player, workers)
            found = summarise(rollouts)[player.name]
        return {"macro": found["macro"], "success": found["success"]}

    return score
