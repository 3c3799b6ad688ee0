"""Model and data set cards, written from results files alone.

Guarantee: every number on a card was read from ``results.json``, from a checkpoint's ``sgd.json`` or from the
data's manifest; what was not measured is absent.
"""

from pathlib import Path
from typing import Any

from huggingface_hub import CardData, DatasetCard, DatasetCardData, EvalResult, ModelCard, ModelCardData

from sgd_hf.core.assets import asset

CONFIGURATIONS = {
    "planner": "one decision: conversation → next sub-goal",
    "executor": "one segment: conversation of actions, closed by `END`",
    "flat": "one window of actions, without sub-goals",
    "annotations": "one episode: sub-goals with their actions",
    "gold_paths": "one episode: actions, observations and states",
}
PAPER = "arxiv:2405.02749"
ARM_OF = {"planner": "hierarchical", "executor": "hierarchical", "agent": "hierarchical", "flat": "flat"}


def module_card(name: str, title: str, module: dict[str, Any], results: dict[str, Any], example: str) -> ModelCard:
    """The card of one checkpoint; ``module`` is its ``sgd.json``."""
    data = _data(title, results, ARM_OF[name], library_name="transformers", pipeline_tag="text-generation")
    return _card("module.md", data, results, ARM_OF[name], title=title, example=example, source=name, **module)


def agent_card(title: str, config: dict[str, Any], results: dict[str, Any]) -> ModelCard:
    """The card of an agent; ``config`` is its ``config.json``."""
    facts = {key: config[key] for key in ("teacher", "prompt_version")} | {key: config[key]["source"] for key in ("planner", "executor")}
    return _card(
        "agent.md",
        _data(title, results, "hierarchical", library_name="sgd-hf"),
        results,
        "hierarchical",
        title=title,
        source="agent",
        **facts,
    )


def dataset_card(title: str, configs: list[dict[str, Any]], summary: dict[str, Any], results: dict[str, Any]) -> DatasetCard:
    """The card of a data set; ``configs`` is the front matter by which `datasets` finds its files."""
    tags = ["scienceworld", "sub-goal-distillation", PAPER]
    data = DatasetCardData(
        license="apache-2.0", language=["en"], pretty_name=title, task_categories=["text-generation"],
        annotations_creators=["machine-generated"], tags=tags, config_names=list(CONFIGURATIONS), configs=configs,
    )  # fmt: skip
    splits = [split for split in ("train", "validation", "test") if any(split in rows for rows in summary["rows"].values())]
    facts = {"rows": summary["rows"], "episodes": summary["episodes"], "splits": splits, "configurations": CONFIGURATIONS}
    return DatasetCard.from_template(
        data, template_str=asset("model_cards", "dataset.md").read_text(), title=title, source="dataset",
        teacher=", ".join(summary["teacher"]), simulator=results["simulator"], **facts,
    )  # fmt: skip


def scores_table(results: dict[str, Any], arm: str) -> str:
    """The arms as a table, this one bold, with the protocol that the scores hold for."""
    protocol = results["protocol"]
    lines = ["| arm | macro mean | 95 % interval | solved | episodes |", "|---|---|---|---|---|"]
    for name, summary in sorted(results["arms"].items(), key=lambda item: -item[1]["macro"]):
        bold = "**" if name == arm else ""
        low, high = summary["interval"]
        lines.append(
            f"| {bold}{name}{bold} | {summary['macro']:.1f} | {low:.1f}–{high:.1f} | {100 * summary['success']:.0f} % | {summary['episodes']} |"
        )
    about = (
        f"Protocol `{protocol['name']}` (digest `{protocol['digest']}`): {protocol['episodes']} episodes of test variations, "
        f"simplification `{protocol['simplification']}`, at most {protocol['limit']} moves, a failed episode counts 0; "
        f"{results['simulator']['simulator']}, seed {results['seed']}, commit `{results['commit']}`."
    )
    return "\n".join([about, "", *lines])


def _card(template: str, data: CardData, results: dict[str, Any], arm: str, **facts: Any) -> ModelCard:
    facts |= {"scores": scores_table(results, arm), "note": results["note"], "simulator": results["simulator"]}
    return ModelCard.from_template(data, template_str=asset("model_cards", template).read_text(), **facts)


def _data(title: str, results: dict[str, Any], arm: str, **more: Any) -> ModelCardData:
    protocol = results["protocol"]
    measured = EvalResult(
        task_type="reinforcement-learning", task_name="ScienceWorld", dataset_type="scienceworld", dataset_name=f"ScienceWorld {protocol['name']}",
        metric_type="score", metric_name="macro mean score (0-100)", metric_value=results["arms"][arm]["macro"],
    )  # fmt: skip
    tags = ["scienceworld", "sub-goal-distillation", PAPER]
    return ModelCardData(license="apache-2.0", language=["en"], tags=tags, model_name=title, eval_results=[measured], **more)


def read_configs(folder: Path) -> list[dict[str, Any]]:
    """The ``configs`` front matter that ``sgd build`` wrote."""
    return DatasetCard.load(folder / "README.md").data.to_dict()["configs"]
