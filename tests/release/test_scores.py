"""A README's scores are those of the results, in their place, and the same whenever they are written."""

import json

import pytest

from sgd_hf.core.errors import InputError
from sgd_hf.release.bundle import release
from sgd_hf.release.scores import BEGIN, END, TASKS

pytestmark = pytest.mark.slow


def test_a_readme_shows_the_scores_and_nothing_else_of_it_changes(scored, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"# Mine\n\n{BEGIN}old\n{END}\nMore.\n")
    artifacts = {made.name: made.folder for made in release(scored, tmp_path / "release", readme=readme)}
    text = readme.read_text()
    assert text.startswith(f"# Mine\n\n{BEGIN}Protocol `smoke`") and text.endswith(f"\n{END}\nMore.\n") and "\nold\n" not in text
    results = json.loads((artifacts["rollouts"] / "results.json").read_text())
    for arm, row in results["arms"].items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {arm} |") and line.count("|") == 11]
        cells = [cell.strip() for cell in line.split("|")[2:-1]]
        low, high = row["interval"]
        assert cells[1] == (f"{low:.1f}–{high:.1f}" if low < high else "")
        assert cells[0] == f"{row['macro']:.1f}" and cells[7] == str(row["focus_failures"]) and cells[5] == f"{100 * row['success']:.0f} %"
    tokens = {}
    for module in ("planner", "executor", "flat"):
        tokens[module] = json.loads((artifacts[module] / "sgd.json").read_text())["training"]["train_tokens"]
        assert [line for line in text.splitlines() if line.startswith(f"| {module} |") and f" {tokens[module]:,} " in line]
    (paired,) = [line for line in text.splitlines() if line.startswith("Hierarchical − flat, paired")]
    assert f"{results['paired']['difference']:+.1f} points" in paired
    assert f"of {tokens['planner'] + tokens['executor']:,} against {tokens['flat']:,} train tokens." in paired
    assert f"[Every task](release/{TASKS})" in text
    release(scored, tmp_path / "release", readme=readme)
    assert readme.read_text() == text


def test_every_task_has_a_row_and_the_lowest_comes_first(scored, tmp_path):
    release(scored, tmp_path / "release")
    results = json.loads((tmp_path / "release" / "rollouts" / "results.json").read_text())
    rows = [line.split("|")[1:-1] for line in (tmp_path / "release" / TASKS).read_text().splitlines() if line.startswith("| ")]
    head, *tasks = [[cell.strip() for cell in row] for row in rows]
    assert {row[0] for row in tasks} == set(results["arms"]["hierarchical"]["tasks"])
    column = head.index("hierarchical")
    own = [float(row[column]) for row in tasks]
    assert own == sorted(own) == sorted(round(row["score"], 1) for row in results["arms"]["hierarchical"]["tasks"].values())


def test_a_readme_without_a_place_is_told_so(scored, tmp_path):
    (tmp_path / "README.md").write_text("# Mine\n")
    with pytest.raises(InputError, match="put the lines <!-- scores --> and <!-- /scores -->"):
        release(scored, tmp_path / "release", readme=tmp_path / "README.md")
