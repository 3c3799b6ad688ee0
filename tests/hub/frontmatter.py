"""What the loopback Hub finds wrong with a card's front matter: the rules of the Hub's documentation, as far as known.

The licences, tasks and colours are those that this project could name; the real Hub knows more of them.
"""

import re
from typing import Any

import yaml

LICENSES = ("apache-2.0", "mit", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "llama3.2", "gemma", "other")
PIPELINES = ("text-generation", "reinforcement-learning", "robotics", "other")
COLORS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
SIZES = re.compile(r"n<1K|1K<n<10K|10K<n<100K|100K<n<1M|1M<n<10M")
ID = re.compile(r"[\w.-]+/[\w.-]+")


def complaints(text: str, kind: str) -> list[str]:
    """One sentence a fault; none for a card without front matter."""
    head = re.match(r"---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    if not head:
        return ["a Space needs a front matter"] if kind == "space" else []
    try:
        data = yaml.safe_load(head[1]) or {}
    except yaml.YAMLError as error:
        return [f"invalid YAML: {error}"]
    found = [f'"{key}" must be a list of strings' for key in ("tags", "datasets", "language") if not _texts(data.get(key, []))]
    licenses = data.get("license", [])
    if any(name not in LICENSES for name in ([licenses] if isinstance(licenses, str) else licenses)):
        found.append(f'"license" must be one of {LICENSES}')
    found += [f'"{key}" must be ids of repositories' for key in ("datasets", "base_model") if not _ids(data.get(key, []))]
    check = {"model": _model, "dataset": _dataset, "space": _space}[kind]
    return found + check(data)


def _model(data: dict[str, Any]) -> list[str]:
    found = [] if data.get("pipeline_tag", PIPELINES[0]) in PIPELINES else ['"pipeline_tag" is unknown']
    for model in data.get("model-index", []):
        for result in model.get("results", ["nothing"] if "name" not in model else []):
            if not (result["task"]["type"] and result["dataset"]["type"] and result["dataset"]["name"] and result["metrics"]):
                found.append('"model-index" lacks a task, a data set or a metric')
            found += ['"model-index" has a value that is no number' for m in result["metrics"] if not isinstance(m["value"], (int, float))]
    return found


def _dataset(data: dict[str, Any]) -> list[str]:
    found = []
    for config in data.get("configs", []):
        if not isinstance(config.get("config_name"), str) or not all({"split", "path"} <= set(f) for f in config.get("data_files", [{}])):
            found.append('"configs" needs a config_name and data_files of splits and paths')
    sizes = data.get("size_categories", [])
    if not all(SIZES.fullmatch(size) for size in ([sizes] if isinstance(sizes, str) else sizes)):
        found.append('"size_categories" is unknown')
    return found


def _space(data: dict[str, Any]) -> list[str]:
    found = [f'"{key}" is missing' for key in ("title", "sdk") if not data.get(key)]
    found += [f'"{key}" is no colour of the Hub' for key in ("colorFrom", "colorTo") if data.get(key, COLORS[0]) not in COLORS]
    if len(data.get("short_description", "")) > 60:
        found.append('"short_description" has more than 60 characters')
    return found


def _texts(value: Any) -> bool:
    return isinstance(value, str) or isinstance(value, list) and all(isinstance(item, str) for item in value)


def _ids(value: Any) -> bool:
    return all(isinstance(item, str) and ID.fullmatch(item) for item in ([value] if isinstance(value, str) else value))
