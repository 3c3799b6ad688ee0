"""The command that the README begins with: the whole chain, once, and nothing of it twice."""

import signal
import subprocess
import sys
import time
from pathlib import Path

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
    monkeypatch.setattr(module, "PER_TASK", {"train": 2, "dev": 1, "test": 2})
    monkeypatch.setattr(protocols, "QUICKSTART_TASKS", ("find-plant",))
    monkeypatch.setitem(protocols._EPISODES, "quickstart", lambda: protocols.first("test", 2, protocols.QUICKSTART_TASKS))
    out, said = tmp_path / "run", []
    results = module.quickstart(out, said.append)
    assert [line.split()[1].rstrip(":") for line in said] == list(module.STAGES)
    assert set(results["arms"]) == set(ARMS) and results["arms"]["oracle"]["macro"] == 100
    assert all(arm["episodes"] == 2 and not arm["errors"] for arm in results["arms"].values())
    assert set(results["training"]) == set(module.ROLES) and results["stages"].keys() == set(module.STAGES)
    assert (out / "report.html").exists() and (out / "release" / "agent" / "config.json").exists()

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors") if "release" not in path.parts}
    again = module.quickstart(out, said.append)
    assert again["arms"] == results["arms"] and again["stages"] == results["stages"]
    assert before == {path: path.stat().st_mtime_ns for path in before} and len(before) >= 3


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_what_ends_it_ends_its_trainings(tmp_path, ending):
    """Two of them, each in a session of its own; what stands in for a training says who it is and waits."""
    code = f"""
import signal, subprocess, sys
from pathlib import Path
from sgd_hf import quickstart
from sgd_hf.core.errors import guarded

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup
quickstart._start = lambda out, role: subprocess.Popen(
    [sys.executable, "-c", f"import os, time; open('{tmp_path}/{{role}}.pid', 'w').write(str(os.getpid())); time.sleep(60)"],
    start_new_session=True,
)
guarded(lambda: quickstart._train(Path({str(tmp_path)!r})))
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len([path for path in tmp_path.glob("*.pid") if path.read_text()]) < 2:
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(ending)
    assert child.wait(timeout=30) == 128 + ending
    assert not [path for path in tmp_path.glob("*.pid") if Path(f"/proc/{path.read_text()}").exists()]


def test_a_training_that_was_cut_off_while_it_cleared_up_is_owed(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(module, "_start", lambda out, role: started.append(role) or subprocess.Popen(["true"]))
    for role in module.ROLES:
        (tmp_path / role).mkdir()
        (tmp_path / role / "sgd.json").write_text("{}")
    (tmp_path / "flat" / "checkpoint-9").mkdir()
    module._train(tmp_path)
    assert started == ["flat"]
