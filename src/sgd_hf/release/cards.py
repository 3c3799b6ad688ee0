"""Model and data set cards, written from results files alone.

Guarantee: every number on a card was read from the results, from a checkpoint's ``sgd.json`` or recipe, from the data's
manifest or from its statistics; what was not measured is absent. A template that names what is not given fails.
"""

import re
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import (
    CardData,
    DatasetCard,
    DatasetCardData,
    EvalResult,
    EvalResultEntry,
    ModelCard,
    ModelCardData,
    eval_result_entries_to_yaml,
)
from jinja2 import Environment, meta

from sgd_hf.agent.agent import AgentConfig
from sgd_hf.core.assets import asset
from sgd_hf.core.errors import InputError
from sgd_hf.core.records import HUB_SPLIT
from sgd_hf.evaluation.scoring import within
from sgd_hf.scienceworld.protocols import protocol

CONFIGURATIONS = {
    "planner": "one episode: conversation of sub-goals, closed by `complete_task()`",
    "executor": "one segment: conversation of actions, closed by `END`",
    "flat": "one window of actions, without sub-goals",
    "annotations": "one episode: sub-goals with their actions, and the teacher's own text",
    "gold_paths": "one episode: actions, observations and states",
    "episodes": "one variation of the simulator, with the protocols that play it",
}
PAPER = "arxiv:2405.02749"
TAGS = ["scienceworld", "sub-goal-distillation", "agents", PAPER]
ARM_OF = {"flat": "flat", **dict.fromkeys(("planner", "executor", "shared", "first", "agent"), "hierarchical")}
HUB = "https://huggingface.co"
METRIC_NAME = "macro mean score (0-100)"

Card = TypeVar("Card", ModelCard, DatasetCard)
Names = dict[str, str]
"""The id of each artifact of a release by its name; of a release without an organisation the name of its folder."""


def module_card(name: str, about: dict[str, Any], results: dict[str, Any], names: Names, example: str, alike: bool = False) -> ModelCard:
    """The card of one checkpoint; ``about`` is what `sgd_hf.release.training.described` says of it, ``alike`` whether all
    modules of the run were trained from one base on the same episodes."""
    more: dict[str, Any] = {"library_name": "peft" if about["adapter"] else "transformers"}
    if not about["seq2seq"]:
        more["pipeline_tag"] = "text-generation"
    if about["base"]:
        more |= {"base_model": about["base"], "base_model_relation": "adapter" if about["adapter"] else "finetune"}
    if about["license"]:
        more["license"] = about["license"]
    library, auto = ("peft", "AutoPeftModelFor") if about["adapter"] else ("transformers", "AutoModelFor")
    loader = {"library": library, "auto": auto + ("Seq2SeqLM" if about["seq2seq"] else "CausalLM")}
    data = _data(name, results, names, tags=[*TAGS, name], **more)
    return _model_card("module.md", data, name, results, names, example=example, loader=loader, alike=alike, **about)


def agent_card(config: dict[str, Any], results: dict[str, Any], names: Names) -> ModelCard:
    """The card of an agent; ``config`` is its ``config.json``."""
    modules = {role: names[Path(module["source"]).name] for role, module in AgentConfig(**config).modules.items()}
    data = _data("agent", results, names, tags=[*TAGS, "agent"], library_name="sgd-hf", license="apache-2.0")
    return _model_card("agent.md", data, "agent", results, names, modules=modules, **config)


def dataset_card(configs: list[dict[str, Any]], manifest: dict[str, Any], statistics: dict[str, Any], names: Names) -> DatasetCard:
    """The card of a data set; ``configs`` is the front matter by which `datasets` finds its files."""
    summary = manifest["summary"]
    data = DatasetCardData(
        license="apache-2.0", language=["en"], pretty_name="ScienceWorld sub-goals", task_categories=["text-generation"],
        annotations_creators=["machine-generated"], source_datasets=["original"], tags=[*TAGS, "synthetic"],
        size_categories=_size(sum(summary["rows"]["planner"].values())), configs=configs,
    )  # fmt: skip
    splits = [split for split in HUB_SPLIT.values() if any(split in rows for rows in summary["rows"].values())]
    facts = {"summary": summary, "config": manifest["config"], "versions": manifest["versions"], "splits": splits, "statistics": statistics}
    return _dataset_card("dataset.md", data, names, configurations=CONFIGURATIONS, **facts)


def rollouts_card(files: list[dict[str, str]], count: int, results: dict[str, Any], names: Names, traced: bool) -> DatasetCard:
    """The card of an evaluation's rollouts; ``files`` are the ``data_files`` of their one configuration, ``traced`` says
    whether their traces are beside them."""
    data = DatasetCardData(
        license="apache-2.0", language=["en"], pretty_name="ScienceWorld rollouts", tags=[*TAGS, "rollouts", "agent-traces"],
        size_categories=_size(count), configs=[{"config_name": "rollouts", "default": True, "data_files": files}],
    )  # fmt: skip
    splits = [file["split"] for file in files]
    return _dataset_card("rollouts.md", data, names, scores=scores_table(results, ""), splits=splits, note=results["note"], traced=traced)


def eval_results(folder: Path, name: str, results: dict[str, Any], names: Names, org: str) -> None:
    """Write ``.eval_results/scienceworld.yaml`` of a module or an agent, if its arm was measured and it goes to the Hub,
    for the file names the benchmark's repository."""
    import yaml

    arm = results["arms"].get(ARM_OF[name])
    if not org or arm is None:
        return
    shown = results["protocol"]
    source = {"source_url": f"{HUB}/datasets/{names['rollouts']}", "source_name": "rollouts"} if "rollouts" in names else {}
    notes = f"protocol {shown['name']} (digest {shown['digest']}), {METRIC_NAME}"
    entry = EvalResultEntry(dataset_id=names["dataset"], task_id=shown["name"], value=arm["macro"], notes=notes, **source)
    (folder / ".eval_results").mkdir()
    said = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)
    (folder / ".eval_results" / "scienceworld.yaml").write_text(said)


def scores_table(results: dict[str, Any], arm: str) -> str:
    """The arms as a table, this one bold, with the protocol that the scores hold for."""
    lines = ["| arm | macro mean | 95 % interval | solved | episodes |", "|---|---|---|---|---|"]
    for name, summary in sorted(results["arms"].items(), key=lambda item: -item[1]["macro"]):
        bold = "**" if name == arm else ""
        cells = (f"{summary['macro']:.1f}", within(summary["interval"]), f"{100 * summary['success']:.0f} %", str(summary["episodes"]))
        lines.append(f"| {bold}{name}{bold} | {' | '.join(cells)} |")
    return "\n".join([*about_protocol(results), "", *lines])


def tasks_table(results: dict[str, Any], arm: str) -> str:
    """The mean score of each task of one arm, with its interval where its rollouts were there to compute it."""
    lines = ["| task | score | 95 % interval | solved | episodes |", "|---|---|---|---|---|"]
    for task, row in results["arms"][arm]["tasks"].items():
        bounds = within(row["interval"]) if "interval" in row else ""
        lines.append(f"| {task} | {row['score']:.1f} | {bounds} | {100 * row['success']:.0f} % | {row['episodes']} |")
    return "\n".join(lines)


def about_protocol(results: dict[str, Any]) -> list[str]:
    """What the scores hold for, in a sentence."""
    shown = results["protocol"]
    try:
        splits = f" of {' and '.join(sorted({e.split for e in protocol(shown['name']).episodes}))} variations"
    except InputError:  # an own list of episodes
        splits = ""
    return [
        f"Protocol `{shown['name']}` (digest `{shown['digest']}`): {shown['episodes']} episodes{splits}, "
        f"simplification `{shown['simplification']}`, at most {shown['limit']} moves, given up after {shown['patience']} actions without a "
        f"change of the score, a failed episode counts 0. The macro mean is over tasks, intervals are bootstrapped over episodes within "
        f"their task. {results['simulator']['simulator']} (jar `{results['simulator']['jar']}`, JVM flags `{results['simulator']['jvm']}`), "
        f"seed {results['seed']}, code {results['commit']}."
    ]  # fmt: skip


def read_configs(folder: Path) -> list[dict[str, Any]]:
    """The ``configs`` front matter that ``sgd build`` wrote."""
    return DatasetCard.load(folder / "README.md").data.to_dict()["configs"]


def _model_card(template: str, data: CardData, name: str, results: dict[str, Any], names: Names, **facts: Any) -> ModelCard:
    arm = ARM_OF[name]
    scores = (
        {"scores": scores_table(results, arm), "tasks": tasks_table(results, arm)}
        if arm in results["arms"]
        else {"scores": "", "tasks": ""}
    )
    facts |= {"name": name, "source": names[name], "names": names, "note": results["note"], "simulator": results["simulator"]}
    return _rendered(ModelCard, template, data, facts | scores)


def _dataset_card(template: str, data: CardData, names: Names, **facts: Any) -> DatasetCard:
    return _rendered(DatasetCard, template, data, {"names": names, "title": data.pretty_name, **facts})


def _rendered(card: type[Card], template: str, data: CardData, facts: dict[str, Any]) -> Card:
    source = asset("model_cards", template).read_text()
    missing = meta.find_undeclared_variables(Environment().parse(source)) - {"card_data", *facts}
    if missing:  # from_template would leave them empty
        raise KeyError(f"{template} names {', '.join(sorted(missing))}, which nobody gives")
    made = card.from_template(data, template_str=source, **facts)
    return card(re.sub(r"\n{3,}", "\n\n", made.content).rstrip("\n") + "\n")


def _data(name: str, results: dict[str, Any], names: Names, **more: Any) -> ModelCardData:
    arm, shown, data = results["arms"].get(ARM_OF[name]), results["protocol"], names.get("dataset", "")
    if arm is not None:
        hub = {"dataset_type": data if "/" in data else "scienceworld"}
        source = (
            {"source_url": f"{HUB}/datasets/{names['rollouts']}", "source_name": "rollouts"} if "/" in names.get("rollouts", "") else {}
        )
        measured = EvalResult(
            task_type="reinforcement-learning", task_name="ScienceWorld", dataset_name=f"ScienceWorld {shown['name']}", dataset_args=None,
            metric_type="scienceworld_score", metric_name=METRIC_NAME, metric_value=arm["macro"], **hub, **source,
        )  # fmt: skip
        more |= {"model_name": names[name].split("/")[-1], "eval_results": [measured]}
    if "/" in data:
        more["datasets"] = [data]
    return ModelCardData(language=["en"], **more)


def _size(rows: int) -> str:
    for below, name in ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M")):
        if rows < below:
            return name
    return "1M<n<10M"
