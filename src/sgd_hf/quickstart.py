"""The whole chain on four tasks, on two CPU cores in minutes: the embedded default, and the shortest way to read the house.

Guarantee: every stage is the one that its own verb runs, on the real simulator and with real training; the
folder resumes where it was left. What is small here (rules for a teacher, tiny models from scratch, four tasks)
is said in the results and on the page.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sgd_hf.core.assets import asset
from sgd_hf.core.errors import CheckpointError
from sgd_hf.core.progress import bars
from sgd_hf.core.records import SPLITS
from sgd_hf.core.store import write_json

STAGES = ("collect", "annotate", "build", "train", "evaluate", "release")
PER_TASK = {"train": 50, "dev": 4, "test": 6}
ROLES = ("planner", "executor", "flat")
NOTE = (
    "Tiny models trained from scratch for minutes on four tasks, on sub-goals that rules cut, not a language model: "
    "this page shows the whole chain at work, not what the method can reach."
)


def quickstart(out: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Run what is owed of the six stages in ``out``; returns the results. ``say`` takes a line for the user."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: its threads would fight the simulators
    from sgd_hf.agent.agent import read_json
    from sgd_hf.corpus.annotate import annotate
    from sgd_hf.corpus.build import build
    from sgd_hf.corpus.collect import collect
    from sgd_hf.corpus.teachers import RuleTeacher
    from sgd_hf.evaluation.arms import ARMS, arm
    from sgd_hf.evaluation.report import write_report
    from sgd_hf.evaluation.results import gather
    from sgd_hf.evaluation.rollouts import evaluate
    from sgd_hf.release.bundle import release
    from sgd_hf.scienceworld.protocols import QUICKSTART_TASKS, protocol

    out.mkdir(parents=True, exist_ok=True)
    clock = _Clock(out, say)
    with clock.stage("collect", "gold paths of four tasks from the simulator, replayed"):
        for split in SPLITS:
            collect(out / "gold" / split, split, QUICKSTART_TASKS, PER_TASK[split])
    with clock.stage("annotate", "sub-goals by the rule teacher"):
        for split in SPLITS:
            annotate(out / "gold" / split, out / "annotations" / split, RuleTeacher())
    with clock.stage("build", "planner, executor and flat rows"):
        if not (out / "data" / "manifest.json").exists():
            build([out / "annotations" / split for split in SPLITS], out / "data")
    with clock.stage("train", "a planner, an executor and a flat baseline, from scratch"):
        _train(out)
    with clock.stage("evaluate", "six arms on held-out test variations"):
        given = {"hierarchical": {"agent": out}, "flat": {"agent": out / "flat"}}
        given |= {"nearest": {"gold": out / "gold" / "train"}, "oracle": {"gold": out / "gold" / "test"}}
        for name in ARMS:
            folder = out / "evaluation" / name
            evaluate(folder, protocol("quickstart"), arm(name, **given.get(name, {})))
    with clock.stage("release", "a folder an artifact, with cards"):
        results, rollouts = gather([out / "evaluation" / name for name in ARMS])
        results["training"] = {role: read_json(out / role / "sgd.json")["training"] for role in ROLES}
        results["note"] = NOTE
        results["stages"] = clock.seconds
        write_json(out / "results.json", results)
        release(out, out / "release")
    results["stages"] = clock.seconds
    write_json(out / "results.json", results)
    write_report(results, rollouts, out / "report.html")
    return results


class _Clock:
    """Seconds per stage in ``stages.json``; an interrupted stage adds up, a finished one keeps its figure."""

    def __init__(self, out: Path, say: Callable[[str], None]):
        self._path = out / "stages.json"
        self._say = say
        self._stages = json.loads(self._path.read_text()) if self._path.exists() else {}

    @property
    def seconds(self) -> dict[str, float]:
        return {name: stage["seconds"] for name, stage in self._stages.items()}

    @contextmanager
    def stage(self, name: str, about: str) -> Iterator[None]:
        """Announce a stage and time it."""
        stage = self._stages.setdefault(name, {"seconds": 0.0, "done": False})
        self._say(f"{STAGES.index(name) + 1}/{len(STAGES)} {name}: {about}")
        begin = time.monotonic()
        finished = False
        try:
            yield
            finished = True
        finally:
            if not stage["done"]:
                stage |= {"seconds": stage["seconds"] + time.monotonic() - begin, "done": finished}
                write_json(self._path, self._stages)


def _train(out: Path) -> None:
    """The three recipes of recipes/tiny, two at a time, each in a process with one thread: two threads that spin
    against each other are slower than one."""
    # One that has its checkpoints still was cut off while it removed them.
    owed = [role for role in reversed(ROLES) if not (out / role / "sgd.json").exists() or [*(out / role).glob("checkpoint-*")]]
    running: dict[str, subprocess.Popen[bytes]] = {}
    (out / "logs").mkdir(parents=True, exist_ok=True)
    try:
        with bars({role: f"train {role}" for role in ROLES}) as show:
            while owed or running:
                while owed and len(running) < 2:
                    role = owed.pop(0)
                    running[role] = _start(out, role)
                time.sleep(0.5)
                for role, process in list(running.items()):
                    show(role, *_steps(out / role))
                    if process.poll() is not None:
                        del running[role]
                        if process.returncode:
                            log = out / "logs" / f"{role}.log"
                            raise CheckpointError(
                                f"Training the {role} ended with code {process.returncode}: {_last_line(log)} (the whole log is {log})."
                            )
    finally:
        for process in running.values():
            process.terminate()
            process.wait()


def _start(out: Path, role: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sgd_hf.training.sft", "--config", asset("recipes", "tiny", f"{role}.yaml")]
    with open(out / "logs" / f"{role}.log", "ab") as log:
        # A session of its own: what ends this process reaches it alone, and it ends its trainings.
        return subprocess.Popen(
            [*command, "--data", out / "data", "--out", out / role],
            env={**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def _steps(folder: Path) -> tuple[int, int]:
    """Steps done and to do, as far as the training has said."""
    path = folder / "progress.json"
    try:
        said = json.loads(path.read_text())
    except FileNotFoundError:
        return (1, 1) if (folder / "sgd.json").exists() else (0, 1)
    return said["step"], said["of"]


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
