"""The scores of a release as text: the summary that a README shows between two marks, and a table of every task.

Guarantee: each number is one of the release's own files, results or a module's ``sgd.json``, rounded for reading; the
same release gives the same text, so that a README is up to date if and only if writing it again changes nothing.
"""

import os
from pathlib import Path
from typing import Any

from sgd_hf.agent.agent import read_json
from sgd_hf.core.errors import InputError
from sgd_hf.evaluation.scoring import LENGTHS, spread, within
from sgd_hf.release.artifacts import MODULES
from sgd_hf.release.cards import about_protocol

BEGIN, END = "<!-- scores -->\n", "<!-- /scores -->\n"
TASKS = "SCORES.md"
"""the file of a release with a table of every task"""


def write_tasks(release: Path, results: dict[str, Any]) -> None:
    """Write the table of every task, an arm a column, from the lowest of the agent's."""
    text = [f"# Scores by task\n\n{about_protocol(results)[0]}\n"]
    arms, own = _ranked(results), results["arms"]["hierarchical"]["tasks"]
    text.append(f"| task, from the lowest of `hierarchical` | {' | '.join(arms)} |\n|---|{'---:|' * len(arms)}")
    for task in sorted(own, key=lambda task: (own[task]["score"], task)):
        text.append(f"| {task} | {' | '.join(_of(results['arms'][arm]['tasks'].get(task)) for arm in arms)} |")
    (release / TASKS).write_text("\n".join(text) + "\n")


def show_scores(readme: Path, release: Path, results: dict[str, Any]) -> None:
    """Put the summary between the marks of a README. Raises `InputError` where the marks are not there."""
    before, after = around(readme)
    link = Path(os.path.relpath(release / TASKS, readme.parent)).as_posix()
    readme.write_text(before + BEGIN + summary(release, results, link) + END + after)


def around(readme: Path) -> tuple[str, str]:
    """What stands before and after the place for the scores."""
    before, begin, rest = (readme.read_text() if readme.is_file() else "").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise InputError(f"{readme} has no place for the scores; put the lines {BEGIN.strip()} and {END.strip()} where they should stand.")
    return before, after


def summary(release: Path, results: dict[str, Any], link: str) -> str:
    """The arms, how the modules were trained, the paired difference of hierarchical and flat if both were played, and a
    ``link`` to the table of every task."""
    lines = [*about_protocol(results), ""]
    lines += ["| arm | macro | 95 % | short | medium | long | solved | rejected | wrong focus | seconds |", f"|---|{'---:|' * 9}"]
    for arm in _ranked(results):
        row = results["arms"][arm]
        classes = " | ".join("" if row["classes"][length] is None else f"{row['classes'][length]:.1f}" for length in LENGTHS)
        shares = f"{100 * row['success']:.0f} % | {100 * row['rejected_share']:.0f} % | {row['focus_failures']}"
        lines.append(f"| {arm} | {row['macro']:.1f} | {within(row['interval'])} | {classes} | {shares} | {row['seconds']:.0f} |")
    lines += ["", "| module | parameters | trained | rows | tokens | steps | seconds | on |", f"|---|{'---:|' * 6}---|"]
    tokens = {}
    for module in (module for module in MODULES if (release / module / "sgd.json").exists()):
        said = read_json(release / module / "sgd.json")
        t, stages = said["training"], [*said["before"], said["training"]]
        sums = [round(sum(stage[key] for stage in stages)) for key in ("train_rows", "train_tokens", "steps", "seconds")]
        tokens[module] = sums[1]
        cells = (t["parameters"], t["trained_parameters"], *sums)
        lines.append(f"| {module} | {' | '.join(f'{cell:,}' for cell in cells)} | {said['versions'].get('machine', '')} |")
    if "paired" in results:
        lines += ["", f"Hierarchical − flat, paired: {_difference(results['paired'])}"]
        if flat := tokens.pop("flat", 0):
            lines[-1] += f", of {sum(tokens.values()):,} against {flat:,} train tokens"
        lines[-1] += "".join(f"; {arm}: {_difference(found)}" for arm, found in results.get("repeats", {}).items()) + "."
    return "\n".join([*lines, "", f"[Every task]({link})."]) + "\n"


def _difference(paired: dict[str, Any]) -> str:
    return f"{paired['difference']:+.1f} points, {spread(paired['interval'])}"


def _ranked(results: dict[str, Any]) -> list[str]:
    return sorted(results["arms"], key=lambda arm: (-results["arms"][arm]["macro"], arm))


def _of(task: dict[str, Any] | None) -> str:
    return "" if task is None else f"{task['score']:.1f}"
