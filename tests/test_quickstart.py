"""The command that the README begins with: the whole chain, once, and nothing of it twice."""

import pytest
import yaml

from sgd_hf import quickstart as module
from sgd_hf.core.assets import asset
from sgd_hf.evaluation.arms import ARMS
from sgd_hf.scienceworld import protocols


@pytest.mark.slow
def test_the_chain_comes_to_its_end_and_runs_once(tmp_path, monkeypatch):
    def shorter(*parts):
        path = tmp_path / parts[-1]
        keys = yaml.safe_load(asset(*parts).read_text())
        path.write_text(yaml.safe_dump(keys | {"max_steps": 4, "warmup_steps": 1, "eval_strategy": "no", "save_steps": 4}))
        return path

    monkeypatch.setattr(module, "asset", shorter)
    monkeypatch.setattr(module, "PER_TASK", {"train": 2, "dev": 1, "test": 6})
    monkeypatch.setattr(protocols, "QUICKSTART_TASKS", ("find-plant",))
    out, said = tmp_path / "run", []
    results = module.quickstart(out, said.append)
    assert [line.split()[1].rstrip(":") for line in said] == list(module.STAGES)
    assert set(results["arms"]) == set(ARMS) and results["arms"]["oracle"]["macro"] == 100
    assert all(arm["episodes"] == 6 and not arm["errors"] for arm in results["arms"].values())
    assert set(results["training"]) == set(module.ROLES) and results["stages"].keys() == set(module.STAGES)
    assert (out / "report.html").exists() and (out / "release" / "agent" / "config.json").exists()

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors") if "release" not in path.parts}
    again = module.quickstart(out, said.append)
    assert again["arms"] == results["arms"] and again["stages"] == results["stages"]
    assert before == {path: path.stat().st_mtime_ns for path in before} and len(before) >= 3
