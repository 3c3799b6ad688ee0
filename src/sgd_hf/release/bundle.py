"""A finished run becomes a release: a folder an artifact, each as its Hub repository will be.

Guarantee: a folder holds exactly the files that `sgd_hf.release.artifacts` names for it, appears whole or not at all,
and is the same, byte for byte, whenever it is made of the same run. It replaces an earlier release and nothing else. What
a run lacks that a release needs is one sentence; what it may lack is left out, on the cards too; weights that are not
those that were scored are refused where the rollouts are there to say so.

    run/planner  run/executor    needed (or run/shared): checkpoints that `sgd train` wrote
    run/data                     needed: the data set that `sgd build` wrote
    run/evaluation/*             what `sgd evaluate` wrote, from which the scores are gathered: an arm each, or a repeat of one under another name
    run/results.json             the scores where there is no run/evaluation, but then no rollouts and no demo; and a note
    run/flat  run/first          may be there: the flat baseline's checkpoint, and that of the first sub-goal
"""

import os
import shutil
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any

from sgd_hf.agent.agent import AgentConfig, SubgoalAgent, read_json
from sgd_hf.core.errors import CheckpointError, InputError, StoreError
from sgd_hf.core.prompts import as_text
from sgd_hf.core.records import Rollout
from sgd_hf.core.safety import CHECKPOINT, HUB, STAGE, refuse_unsafe
from sgd_hf.core.store import read_manifest, write_json
from sgd_hf.evaluation.results import gather
from sgd_hf.evaluation.scoring import interval, score
from sgd_hf.release.artifacts import METRIC, MODULES, ORDER, Artifact, identify
from sgd_hf.release.cards import Names, agent_card, dataset_card, eval_results, module_card, read_configs, rollouts_card
from sgd_hf.release.check import opened
from sgd_hf.release.scores import around, show_scores, write_tasks
from sgd_hf.release.space import space
from sgd_hf.release.tables import EPISODES, episodes, rollouts_tables, statistics, traces
from sgd_hf.release.training import described, student_of


def release(run: Path, out: Path, org: str = "", student: str = "", readme: Path | None = None, light: bool = False) -> list[Artifact]:
    """Stage the release of a run in ``out``, in the order in which it is pushed. ``org``: for which the cards name
    repositories instead of folders; ``student``: the last part of their names, if not the base model's; ``readme``: a
    file that shows the scores between two marks; ``light``: no more than what plays and what its scores were computed
    from, so that it may lie beside the code."""
    results, rollouts = _scores(run)
    read_manifest(run / "data", "build", complete=True)
    if readme:
        around(readme)
    playing = ("shared", "first") if (run / "shared").is_dir() else ("planner", "executor", "first")
    modules = [module for module in MODULES if module in (*playing, "flat") and (run / module).is_dir()]
    student = student or student_of(run / modules[0]) if modules else ""
    names: Names = {name: identify(name, org, student) for name in ORDER if name not in MODULES or name in modules}
    absent = {*(() if rollouts else ("rollouts", "demo")), *(("dataset", "metric", "demo") if light else ())}
    names = {name: id for name, id in names.items() if name not in absent}
    made = [Artifact(name, out / name, id) for name, id in names.items()]
    for artifact in made:
        _refuse_foreign(artifact)
    for module in modules:
        refuse_unsafe(run / module, (*CHECKPOINT, *HUB, *STAGE))
    agent = SubgoalAgent.of(run, beside="../")  # refuses a run without its modules, or with ones that do not go together
    for role, module in agent.config.modules.items() if rollouts else ():
        opened(run / Path(module["source"]).name, role, results["origin"]["hierarchical"].get(role, "none"))
    if rollouts and "flat" in modules and not light:
        opened(run / "flat", "flat", results["origin"].get("flat", {}).get("flat"))

    fill: dict[str, Callable[[Path], None]] = {
        module: lambda folder, module=module: _module(run, module, folder, results, names, org) for module in modules
    }
    fill["dataset"] = lambda folder: _dataset(run / "data", folder, names)
    fill["agent"] = lambda folder: _agent(agent, folder, results, names, org)
    fill["rollouts"] = lambda folder: _rollouts(folder, rollouts, results, names, traced=not light)
    fill["metric"] = _metric
    fill["demo"] = lambda folder: space(folder, rollouts)
    if light:
        fill["flat"] = lambda folder: shutil.copy2(run / "flat" / "sgd.json", folder)

    for artifact in made:
        _whole(artifact.folder, fill[artifact.name])
        refuse_unsafe(artifact.folder, artifact.layout)
    write_tasks(out, results)
    if readme:
        show_scores(readme, out, results)
    return made


def corpus(data: Path, out: Path, org: str) -> Artifact:
    """Stage a data set that `sgd build` wrote, alone."""
    names = {"dataset": identify("dataset", org, "")}
    artifact = Artifact("dataset", out / "dataset", names["dataset"])
    _refuse_foreign(artifact)
    _whole(artifact.folder, lambda folder: _dataset(data, folder, names))
    return artifact


def evaluations(folders: Sequence[Path], out: Path, id: str) -> Artifact:
    """Stage the rollouts of evaluations of one protocol, alone, for the repository ``id``."""
    artifact = Artifact("rollouts", out, id)
    _refuse_foreign(artifact)
    results, rollouts = gather(folders)
    _whole(out, lambda folder: _rollouts(folder, rollouts, results, {"rollouts": id}))
    return artifact


def pin(artifact: Artifact, commits: dict[str, str], names: Names, run: Path) -> None:
    """Let a staged agent, or the demo, name the repositories of what it needs at the commits that hold them."""
    if artifact.name == "agent":
        config = read_json(artifact.folder / "config.json")
        for role, module in AgentConfig(**config).modules.items():
            place = Path(module["source"]).name
            config[role] = {"source": names[place], "revision": commits[place]}
        write_json(artifact.folder / "config.json", config)
    if artifact.name == "demo":
        rollouts = _scores(run)[1]
        _whole(artifact.folder, lambda folder: space(folder, rollouts, {"source": names["agent"], "revision": commits["agent"]}))


def weights(run: Path) -> dict[str, Any]:
    """The digests of the weights that the run's scores were measured with, by module."""
    origin = _scores(run)[0].get("origin", {})
    return {module: arm[module] for arm in (origin.get("hierarchical", {}), origin.get("flat", {})) for module in MODULES if module in arm}


def scored(run: Path) -> tuple[dict[str, Any], list[Rollout]]:
    """The protocol that a run was scored under, and the rollouts of its agent (none where only its results are there)."""
    results, rollouts = _scores(run)
    return results["protocol"], [rollout for rollout in rollouts if rollout.arm == "hierarchical"]


def _scores(run: Path) -> tuple[dict[str, Any], list[Rollout]]:
    """The results of a run, with an interval of each task where its rollouts are there, and the rollouts."""
    said = read_json(run / "results.json") if (run / "results.json").exists() else {}
    folders = sorted(path.parent for path in run.glob("evaluation/*/manifest.json"))
    results, rollouts = gather(folders) if folders else (said, [])
    if "hierarchical" not in results.get("arms", {}):
        raise StoreError(
            f"{run} has no scores of its agent to release (neither evaluation/hierarchical nor results.json); "
            f"run `sgd evaluate --agent {run} --out {run / 'evaluation' / 'hierarchical'}` with a protocol first."
        )
    results["note"] = said.get("note", results["note"])
    for arm, summary in results["arms"].items():
        for task, row in summary["tasks"].items():
            values = [score(rollout) for rollout in rollouts if rollout.arm == arm and rollout.episode.task == task]
            if values:
                row["interval"] = interval([values], seed=0, resamples=2000)
    return results, rollouts


def _refuse_foreign(artifact: Artifact) -> None:
    """Raise `InputError` where the place of an artifact holds something that no release has put there."""
    try:
        refuse_unsafe(artifact.folder, artifact.layout)
    except CheckpointError as error:
        reason = str(error).partition(";")[0]
        raise InputError(
            f"{artifact.folder} is not an earlier release that may be replaced: {reason}; move that away, or choose another folder."
        ) from None


def _whole(path: Path, fill: Callable[[Path], Any]) -> None:
    """Fill a scratch folder and put it in the place of the old one."""
    scratch = path.with_name(path.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    fill(scratch)
    shutil.rmtree(path, ignore_errors=True)
    os.replace(scratch, path)


def _module(run: Path, module: str, folder: Path, results: dict[str, Any], names: Names, org: str) -> None:
    about = described(run / module)
    if org and about["adapter"] and not about["published"]:
        raise CheckpointError(
            f"The adapter {run / module} is of {about['base'] or 'a model'} as it lies on this machine, which nobody could load from the Hub; "
            "train it on the Hub id of its base."
        )
    for path in sorted((run / module).iterdir()):
        if any(fnmatchcase(path.name, pattern) for pattern in CHECKPOINT):
            shutil.copy2(path, folder / path.name)
    learnt = [read_json(run / name / "sgd.json") for name in names if name in MODULES]
    alike = bool(about["base"]) and all(said.get(key) == learnt[0].get(key) for said in learnt for key in ("base", "episodes"))
    example = _example(run / "data", run / module, module, about["seq2seq"])
    module_card(module, about, results, names, example, alike).save(folder / "README.md")
    eval_results(folder, module, results, names, org)


def _agent(agent: SubgoalAgent, folder: Path, results: dict[str, Any], names: Names, org: str) -> None:
    agent.save_pretrained(folder)
    agent_card(read_json(folder / "config.json"), results, names).save(folder / "README.md")
    eval_results(folder, "agent", results, names, org)


def _dataset(data: Path, folder: Path, names: Names) -> None:
    from sgd_hf.release.plots import plot_episodes, plot_subgoals

    manifest = read_manifest(data, "build", complete=True)
    for config in manifest["summary"]["rows"]:
        shutil.copytree(data / config, folder / config)
    found = statistics(data)
    write_json(folder / "statistics.json", found)
    shutil.copy2(data / "manifest.json", folder / "manifest.json")
    (folder / "plots").mkdir()
    plot_episodes(found, folder / "plots" / "episodes.png")
    plot_subgoals(found, folder / "plots" / "subgoals.png")
    configs = [*read_configs(data), {"config_name": EPISODES, "data_files": episodes(folder)}]
    dataset_card(configs, manifest, found, names).save(folder / "README.md")


def _rollouts(folder: Path, rollouts: list[Rollout], results: dict[str, Any], names: Names, traced: bool = True) -> None:
    files = rollouts_tables(folder, rollouts)
    if traced:
        traces(folder, rollouts)
    write_json(folder / "results.json", results)
    rollouts_card(files, len(rollouts), results, names, traced).save(folder / "README.md")


def _metric(folder: Path) -> None:
    for path in (resources.files("sgd_hf") / "metrics" / METRIC).iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())


def _example(data: Path, checkpoint: Path, module: str, seq2seq: bool) -> str:
    """The first prompt of a row, as a person would try it; for an encoder-decoder as the one text that it reads."""
    import pyarrow.parquet

    files = sorted((data / ("planner" if module in ("shared", "first") else module)).glob("*.parquet"))
    rows = pyarrow.parquet.read_table(files[0], columns=["messages"]).slice(0, 1).to_pylist()
    message = rows[0]["messages"][0]
    return as_text([message], read_json(checkpoint / "tokenizer_config.json")["eos_token"]) if seq2seq else message["content"]
