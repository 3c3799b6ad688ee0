"""Evaluation folders become one results file, of one protocol, one folder an arm."""

import json

import pytest

from sgd_hf.core.errors import InputError, StoreError
from sgd_hf.core.records import Rollout, Step, to_row
from sgd_hf.core.store import Store
from sgd_hf.evaluation.arms import Arm
from sgd_hf.evaluation.results import gather
from sgd_hf.evaluation.rollouts import STAGE, _config, read_rollouts
from sgd_hf.evaluation.scoring import summarise
from sgd_hf.scienceworld.protocols import protocol


def evaluated(folder, name, score=50, of="smoke", seed=0, **origin):
    made = protocol(of)
    with Store(folder, STAGE, _config(made, Arm(name, None, origin=origin, seed=seed))) as store:
        for number, episode in enumerate(made.episodes):
            step = Step("wait", "You wait.", "", "", score, 1, False)
            rollout = Rollout(episode, name, "Your task", (step,), (), max(score, 0), score, max(score, number), "no_progress", 0, 0)
            store.append(rollout.key, to_row(rollout))
        store.finish({"episodes": len(made.episodes), "errors": 0})
    return folder


def test_results_are_those_of_the_rollouts(tmp_path):
    folders = [evaluated(tmp_path / "h", "hierarchical", 70, teacher="rules", planner="p"), evaluated(tmp_path / "d", "do-nothing", -100)]
    results, rollouts = gather(folders)
    assert len(rollouts) == 8 and results["arms"] == summarise(rollouts)
    assert results["arms"]["hierarchical"]["macro"] == 70 and results["arms"]["do-nothing"]["macro"] == 0
    made = protocol("smoke")
    shown = results["protocol"]
    assert (shown["name"], shown["digest"], shown["episodes"], shown["limit"]) == ("smoke", made.digest, 4, made.limit)
    assert results["teacher"] == "rules" and results["origin"]["hierarchical"]["planner"] == "p"
    assert results["simulator"]["simulator"] == "scienceworld 1.2.3" and results["versions"]["python"]
    assert json.loads(json.dumps(results)) == results
    assert [r for folder in folders for r in sorted(read_rollouts(folder), key=lambda r: r.key)] == rollouts


def test_arms_of_two_commits_are_told_apart(tmp_path):
    folders = [evaluated(tmp_path / name, name) for name in ("oracle", "nearest", "do-nothing")]
    assert " (" not in gather(folders)[0]["commit"]
    manifest = json.loads((folders[0] / "manifest.json").read_text())
    manifest["versions"]["commit"] = "0123456789ab"
    (folders[0] / "manifest.json").write_text(json.dumps(manifest))
    assert gather(folders)[0]["commit"].startswith("0123456789ab (oracle); ")
    assert gather(folders)[0]["commit"].endswith(" (nearest, do-nothing)")


def test_protocols_never_meet(tmp_path):
    smoke = evaluated(tmp_path / "a", "do-nothing")
    with pytest.raises(InputError, match="different protocols") as refused:
        gather([smoke, evaluated(tmp_path / "b", "oracle", of="quickstart")])
    assert "smoke" in str(refused.value) and "quickstart" in str(refused.value)


def test_simulators_never_meet(tmp_path):
    folders = [evaluated(tmp_path / name, name) for name in ("oracle", "nearest")]
    path = folders[1] / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"config": manifest["config"] | {"jar": "000"}}))
    with pytest.raises(InputError, match="nearest were played on different simulators"):
        gather(folders)


def test_each_arm_says_its_seed(tmp_path):
    folders = [evaluated(tmp_path / f"random-{seed}", "random-valid", seed=seed) for seed in (7, 0)]
    results, _ = gather(folders)
    assert results["seed"] == "0, 7" and {name: said["seed"] for name, said in results["origin"].items()} == {"random-7": 7, "random-0": 0}


def test_folders_of_one_arm_go_by_their_own_names(tmp_path):
    first, second = evaluated(tmp_path / "hierarchical", "hierarchical", 70), evaluated(tmp_path / "again", "hierarchical", 40)
    flat = evaluated(tmp_path / "f", "flat", 50)
    results, rollouts = gather([first, second, flat])
    assert {arm: row["macro"] for arm, row in results["arms"].items()} == {"hierarchical": 70, "again": 40, "flat": 50}
    assert results["origin"].keys() == results["arms"].keys() == {rollout.arm for rollout in rollouts}
    assert results["paired"]["difference"] == 20
    with pytest.raises(InputError, match="both be called again"):
        gather([second, evaluated(tmp_path / "other" / "again", "hierarchical")])


def test_a_repeat_is_paired_with_the_flat_arm_of_its_name(tmp_path):
    scores = {"hierarchical": 70, "flat": 50, "hierarchical-seed-1": 40, "flat-seed-1": 45, "hierarchical-late": 10}
    results, _ = gather([evaluated(tmp_path / name, name.split("-")[0], score) for name, score in scores.items()])
    assert results["paired"]["difference"] == 20
    assert {name: found["difference"] for name, found in results["repeats"].items()} == {"hierarchical-seed-1": -5}


def test_folders_of_other_stages_and_incomplete_ones_are_refused(tmp_path, gold_folder):
    with pytest.raises(StoreError, match="sgd collect"):
        gather([gold_folder])
    with Store(tmp_path / "a", STAGE, _config(protocol("smoke"), Arm("oracle", None))):
        pass
    with pytest.raises(StoreError, match="not complete"):
        gather([tmp_path / "a"])
