"""The two plots of a data set's card, drawn from its ``statistics.json`` alone.

Guarantee: the same statistics give the same picture; a picture reads on a light page and on a dark one.
"""

from pathlib import Path
from typing import Any

_COLORS = {"train": "#4c78a8", "validation": "#f2a541", "test": "#59a14f"}
_INK, _RULE = "#30363d", "#d0d7de"


def plot_episodes(found: dict[str, Any], path: Path) -> None:
    """Episodes of each task, stacked by split."""
    tasks = list(found["episodes"])[::-1]

    def draw(axes: Any) -> None:
        left = [0] * len(tasks)
        for split, color in _COLORS.items():
            widths = [found["episodes"][task].get(split, 0) for task in tasks]
            axes.barh(tasks, widths, left=left, color=color, label=split, height=0.72)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, ncols=3, labelcolor=_INK)
        axes.set_title("Episodes of each task", loc="left", color=_INK)

    _drawn(draw, path, 1.2 + 0.27 * len(tasks))


def plot_subgoals(found: dict[str, Any], path: Path) -> None:
    """Sub-goals by verb, the most frequent first."""
    verbs = list(found["subgoals"])[::-1]

    def draw(axes: Any) -> None:
        bars = axes.barh(verbs, [found["subgoals"][verb] for verb in verbs], color=_COLORS["train"], height=0.72)
        axes.bar_label(bars, padding=3, color=_INK, fontsize=8)
        axes.set_title("Sub-goals by their verb", loc="left", color=_INK)

    _drawn(draw, path, 1.2 + 0.27 * len(verbs))


def _drawn(draw: Any, path: Path, height: float) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height), dpi=110, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    draw(axes)
    axes.tick_params(colors=_INK, length=0, labelsize=9)
    axes.xaxis.grid(True, color=_RULE)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.savefig(path, metadata={"Software": None})
