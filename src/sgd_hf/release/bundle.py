"""A finished run becomes a release: a folder an artifact, each as its Hub repository will be.

Guarantee: a folder holds exactly the files named here (safetensors, JSON, tokenizer, parquet, card), nothing
pickled, and appears whole or not at all.

    out/planner  out/executor  out/flat   a checkpoint each, loadable with transformers
    out/agent                             config.json, for `SubgoalAgent.from_pretrained`
    out/dataset                           parquet, for `load_dataset`
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sgd_hf.agent.agent import SubgoalAgent, read_json
from sgd_hf.core.errors import StoreError
from sgd_hf.core.store import read_manifest
from sgd_hf.release.cards import CONFIGURATIONS, agent_card, dataset_card, module_card, read_configs

CHECKPOINT = (
    "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "chat_template.jinja", "sgd.json",
)  # fmt: skip


def release(run: Path, out: Path) -> list[Path]:
    """Write the release of a run (a folder with planner, executor, flat, data and results.json); the folders made."""
    results = _results(run / "results.json")
    summary = read_manifest(run / "data", "build", complete=True)["summary"]
    made = [
        _folder(out / role, lambda folder, role=role: _checkpoint(run, role, folder, results)) for role in ("planner", "executor", "flat")
    ]
    made.append(_folder(out / "agent", lambda folder: _agent(run, folder, results)))
    made.append(_folder(out / "dataset", lambda folder: _dataset(run, folder, summary, results)))
    return made


def _results(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        raise StoreError(
            f"{path} is missing or damaged, so there are no scores to release; run `sgd quickstart` or `sgd evaluate` to the end first."
        ) from None


def _folder(path: Path, fill: Callable[[Path], None]) -> Path:
    """Fill a scratch folder and put it in the place of the old one."""
    scratch = path.with_name(path.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    fill(scratch)
    shutil.rmtree(path, ignore_errors=True)
    os.replace(scratch, path)
    return path


def _checkpoint(run: Path, role: str, folder: Path, results: dict[str, Any]) -> None:
    module = read_json(run / role / "sgd.json")
    for name in CHECKPOINT:
        if (run / role / name).exists():
            shutil.copy2(run / role / name, folder / name)
    module_card(role, f"sgd {role}", module, results, _example(run / "data", role)).save(folder / "README.md")


def _agent(run: Path, folder: Path, results: dict[str, Any]) -> None:
    agent = SubgoalAgent.of(run, beside="../")
    agent.save_pretrained(folder)
    agent_card("sgd agent", read_json(folder / "config.json"), results).save(folder / "README.md")


def _dataset(run: Path, folder: Path, summary: dict[str, Any], results: dict[str, Any]) -> None:
    for config in CONFIGURATIONS:
        shutil.copytree(run / "data" / config, folder / config)
    dataset_card("ScienceWorld sub-goals", read_configs(run / "data"), summary, results).save(folder / "README.md")


def _example(data: Path, role: str) -> str:
    """The first prompt of a test row, as a person would try it."""
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(sorted((data / role).glob("t*.parquet"))[0], columns=["messages"]).slice(0, 1).to_pylist()
    return rows[0]["messages"][0]["content"]
