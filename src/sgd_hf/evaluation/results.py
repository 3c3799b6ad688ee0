"""Evaluation folders become one results file, from which every table, plot and card takes its numbers.

Guarantee: runs of different protocols never meet in one file, and each number in it was computed from stored
rollouts or copied from a stage's own summary.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError
from sgd_hf.core.records import Rollout
from sgd_hf.core.store import read_manifest
from sgd_hf.evaluation.compare import compare, origin
from sgd_hf.evaluation.rollouts import STAGE, read_rollouts
from sgd_hf.evaluation.scoring import summarise


def gather(folders: Sequence[Path]) -> tuple[dict[str, Any], list[Rollout]]:
    """Results (see `sgd_hf.evaluation.report`) and rollouts of complete evaluation folders, one an arm,
    those of each by their keys: they lie in the order in which the episodes happened to end."""
    manifests = [read_manifest(folder, STAGE, complete=True) for folder in folders]
    configs = [manifest["config"] for manifest in manifests]
    if len({config["protocol"]["digest"] for config in configs}) > 1:
        named = ", ".join(
            f"{folder} ({config['protocol']['name']} {config['protocol']['digest']})"
            for folder, config in zip(folders, configs, strict=True)
        )
        raise InputError(
            f"These folders were evaluated under different protocols and cannot share a table: {named}; report them one by one."
        )
    rollouts = [rollout for folder in folders for rollout in sorted(read_rollouts(folder), key=lambda rollout: rollout.key)]
    if len({rollout.key for rollout in rollouts}) < len(rollouts):
        raise InputError("Two of the folders hold the same arm; report them one by one.")
    results = {
        "protocol": {**configs[0]["protocol"], "episodes": len({rollout.episode.key for rollout in rollouts})},
        "seed": configs[0]["seed"],
        "versions": manifests[0]["versions"],
        "simulator": {key: configs[0][key] for key in ("simulator", "jar", "jvm")},
        "commit": _commits({m["config"]["arm"]: m["versions"].get("commit", "none") for m in manifests}),
        "teacher": ", ".join(sorted({config["teacher"] for config in configs if "teacher" in config})) or "none",
        "origin": {config["arm"]: origin(config) for config in configs},
        "arms": summarise(rollouts),
        "note": "",
    }
    pair = [[rollout for rollout in rollouts if rollout.arm == arm] for arm in ("flat", "hierarchical")]
    if all(pair):
        results["paired"] = compare(*pair)
    return results, rollouts


def _commits(arms: dict[str, str]) -> str:
    """The commit that played the arms; where there is more than one, each with its arms."""
    played = {commit: ", ".join(arm for arm in arms if arms[arm] == commit) for commit in arms.values()}
    return next(iter(played)) if len(played) == 1 else "; ".join(f"{commit} ({of})" for commit, of in played.items())
