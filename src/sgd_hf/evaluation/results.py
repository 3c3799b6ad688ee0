"""Evaluation folders become one results file, from which every table, plot and card takes its numbers.

Guarantee: runs of different protocols never meet in one file, and each number in it was computed from stored
rollouts or copied from a stage's own summary.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError
from sgd_hf.core.records import Rollout
from sgd_hf.core.store import read_manifest
from sgd_hf.evaluation.compare import compare, origin, simulator
from sgd_hf.evaluation.rollouts import STAGE, read_rollouts
from sgd_hf.evaluation.scoring import summarise


def gather(folders: Sequence[Path]) -> tuple[dict[str, Any], list[Rollout]]:
    """Results (see `sgd_hf.evaluation.report`) and rollouts of complete evaluation folders, those of each by their keys:
    they lie in the order in which the episodes happened to end. Folders of one arm (another seed's training) go by
    their own names in its place."""
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
    if other := next((folder for folder, config in zip(folders, configs, strict=True) if simulator(config) != simulator(configs[0])), None):
        raise InputError(f"{folders[0]} and {other} were played on different simulators or JVM flags; report them one by one.")
    names = _names(folders, [config["arm"] for config in configs])
    rollouts = [
        replace(rollout, arm=name)
        for folder, name in zip(folders, names, strict=True)
        for rollout in sorted(read_rollouts(folder), key=lambda rollout: rollout.key)
    ]
    results = {
        "protocol": {**configs[0]["protocol"], "episodes": len({rollout.episode.key for rollout in rollouts})},
        "seed": ", ".join(sorted({str(config["seed"]) for config in configs})),
        "versions": manifests[0]["versions"],
        "simulator": simulator(configs[0]),
        "commit": _commits({name: m["versions"].get("commit", "none") for name, m in zip(names, manifests, strict=True)}),
        "teacher": ", ".join(sorted({config["teacher"] for config in configs if "teacher" in config})) or "none",
        "origin": {name: origin(config) for name, config in zip(names, configs, strict=True)},
        "arms": summarise(rollouts),
        "note": "",
    }
    pairs = {name: _flat(name) for name in names if name.startswith("hierarchical") and _flat(name) in names}
    for name, other in pairs.items():
        found = compare(*([rollout for rollout in rollouts if rollout.arm == arm] for arm in (other, name)))
        if name == "hierarchical":
            results["paired"] = found
        else:
            results.setdefault("repeats", {})[name] = found
    return results, rollouts


def _flat(name: str) -> str:
    """The flat arm that a hierarchical one is paired with, ``hierarchical-seed-1`` with ``flat-seed-1``."""
    return name.replace("hierarchical", "flat", 1)


def _names(folders: Sequence[Path], arms: Sequence[str]) -> list[str]:
    """What each folder's arm is called."""
    held = Counter(arms)
    names = [arm if held[arm] == 1 else folder.resolve().name for folder, arm in zip(folders, arms, strict=True)]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(f"Two of the folders hold the same arm and would both be called {twice[0]}; rename one of them.")
    return names


def _commits(arms: dict[str, str]) -> str:
    """The commit that played the arms; where there is more than one, each with its arms."""
    played = {commit: ", ".join(arm for arm in arms if arms[arm] == commit) for commit in arms.values()}
    return next(iter(played)) if len(played) == 1 else "; ".join(f"{commit} ({of})" for commit, of in played.items())
