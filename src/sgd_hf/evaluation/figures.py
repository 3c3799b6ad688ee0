"""The report's plots: inline SVG whose colours are the page's own, so that they follow its light or dark scheme.

Guarantee: every figure is drawn twice, for a wide page and for a phone, from the numbers handed in and no others;
the SVG carries no link, no font and no identifier that another figure on the page could have.
"""

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sgd_hf.core.records import Rollout
from sgd_hf.evaluation.scoring import score

WIDE, HALF, NARROW = 1080, 520, 360
"""widths in CSS pixels: across the page, one of two columns, a phone"""

_INKS = {"ink": "#0a0b0c", "muted": "#0a0b0d", "rule": "#0a0b0e"}


class Palette:
    """Stand-in colours for drawing, each of which `_svg` replaces by the page's CSS variable of that name."""

    def __init__(self, names: Iterable[str]):
        self.by_name = _INKS | {name: f"#0b{i // 256:02x}{i % 256:02x}" for i, name in enumerate(names)}

    def __getitem__(self, name: str) -> str:
        return self.by_name[name]


def intervals(arms: dict[str, Any], colors: dict[str, str]) -> str:
    """Macro mean and 95 % interval of each arm; ``colors`` names the CSS variable of each arm."""
    palette = Palette(colors.values())

    def draw(figure: Any, wide: bool) -> None:
        axes = figure.add_subplot()
        for row, (arm, summary) in enumerate(arms.items()):
            low, high = summary["interval"]
            color = palette[colors[arm]]
            axes.plot([0, 100], [row, row], color=palette["rule"], linewidth=1, zorder=1)
            axes.plot([low, high], [row, row], color=color, linewidth=7, alpha=0.32, solid_capstyle="round", zorder=2)
            axes.plot([summary["macro"]], [row], "o", color=color, markersize=8, zorder=3)
            axes.annotate(
                f"{summary['macro']:.1f}",
                (summary["macro"], row),
                (0, 8),
                textcoords="offset points",
                ha="center",
                size=10,
                color=palette["ink"],
            )
        _rows(axes, list(arms), palette)

    return _both(draw, HALF, NARROW, lambda wide: 54 + 38 * len(arms), palette)


def tasks(arms: dict[str, Any], colors: dict[str, str]) -> str:
    """Mean score per task, a bar an arm; an oracle is a tick, for it is a ceiling and not a competitor."""
    palette = Palette(colors.values())
    names = sorted({task for summary in arms.values() for task in summary["tasks"]})
    bars = [arm for arm in arms if arm != "oracle"]
    step = 1 / (len(bars) + 2.2)

    def draw(figure: Any, wide: bool) -> None:
        columns = 2 if wide and len(names) > 3 else 1
        per_column = -(-len(names) // columns)
        for column in range(columns):
            axes = figure.add_subplot(1, columns, column + 1)
            shown = names[column * per_column : (column + 1) * per_column]
            for row, task in enumerate(shown):
                axes.text(0, row - 0.5, _short(task), ha="left", va="center", size=11, color=palette["ink"])
                for place, arm in enumerate(bars):
                    if task in arms[arm]["tasks"]:
                        y, mean = row - 0.5 + step * (place + 1.1), arms[arm]["tasks"][task]["score"]
                        axes.barh(y, mean, height=step * 0.8, color=palette[colors[arm]])
                        axes.text(mean + 1, y, f"{mean:.0f}", va="center", size=8, color=palette["muted"])
                ceiling = arms.get("oracle", {"tasks": {}})["tasks"].get(task)
                if ceiling:
                    ends = [row - 0.5 + step * 0.6, row - 0.5 + step * (len(bars) + 0.6)]
                    axes.plot([ceiling["score"]] * 2, ends, color=palette[colors["oracle"]], linewidth=2)
            _frame(axes, palette, 100)
            axes.set_ylim(per_column - 0.4, -0.75)
            axes.set_yticks([])
            axes.set_xlim(0, 106)

    def height(wide: bool) -> int:
        rows = -(-len(names) // 2) if wide and len(names) > 3 else len(names)
        return 40 + rows * 12 * (len(bars) + 2)

    return _both(draw, WIDE, NARROW, height, palette)


def curves(arms: dict[str, Any], rollouts: Sequence[Rollout], limit: int, colors: dict[str, str]) -> str:
    """Macro mean of the score that each arm has reached after so many simulator moves; it ends at the arm's score."""
    palette = Palette(colors.values())
    last = max([limit, *(step.moves for rollout in rollouts for step in rollout.steps)])

    def draw(figure: Any, wide: bool) -> None:
        axes = figure.add_subplot()
        for arm in sorted(arms, key="hierarchical".__eq__):
            mine = [rollout for rollout in rollouts if rollout.arm == arm]
            width = 2.6 if arm == "hierarchical" else 1.6
            axes.step(range(last + 1), score_curve(mine, last), where="post", color=palette[colors[arm]], linewidth=width)
        _frame(axes, palette, 104)
        axes.set_ylim(-2, 104)
        axes.set_xlim(0, last)
        axes.set_xlabel("simulator moves", color=palette["muted"], size=10)

    return _both(draw, HALF, NARROW, lambda wide: 290, palette)


def score_curve(rollouts: Sequence[Rollout], last: int) -> list[float]:
    """Macro mean score after 0 … ``last`` moves. From its last move on, an episode has the score under which it counts."""
    import numpy as np

    by_task: dict[str, list[Any]] = {}
    for rollout in rollouts:
        line, value, moves = np.zeros(last + 1), 0, 0
        for step in rollout.steps:
            line[moves : step.moves] = value
            value, moves = max(step.score, 0), step.moves
        line[moves:] = score(rollout)
        by_task.setdefault(rollout.episode.task, []).append(line)
    return [float(v) for v in np.mean([np.mean(lines, axis=0) for lines in by_task.values()], axis=0)] if by_task else []


def losses(training: dict[str, Any], colors: dict[str, str]) -> str:
    """Training loss over optimizer steps, a line a model, on a logarithmic axis."""
    palette = Palette(colors.values())

    def draw(figure: Any, wide: bool) -> None:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        axes = figure.add_subplot()
        for role, facts in training.items():
            axes.plot(*zip(*facts["losses"], strict=True), color=palette[colors[role]], linewidth=1.8)
        _frame(axes, palette)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="y", which="both", length=0)
        axes.set_xlim(left=0)
        axes.set_xlabel("optimizer steps", color=palette["muted"], size=10)

    return _both(draw, HALF, NARROW, lambda wide: 290, palette)


def diagnosis(arms: dict[str, Any], colors: dict[str, str]) -> str:
    """How the episodes of each arm went, as shares of its episodes with the counts written in."""
    palette = Palette(colors.values())

    def draw(figure: Any, wide: bool) -> None:
        axes = figure.add_subplot()
        for row, summary in enumerate(arms.values()):
            left = 0.0
            for label, color in colors.items():
                share = 100 * summary["diagnosis"].get(label, 0) / summary["episodes"]
                axes.barh(row, share, left=left, height=0.62, color=palette[color], edgecolor="none")
                if share >= 6:
                    axes.text(left + share / 2, row, str(summary["diagnosis"][label]), ha="center", va="center", size=9, color="#ffffff")
                left += share
        _rows(axes, list(arms), palette, unit=" %")

    return _both(draw, HALF, NARROW, lambda wide: 54 + 38 * len(arms), palette)


def _short(task: str) -> str:
    return task.replace("inclined-plane-", "inclined plane: ").replace("mendelian-genetics-", "genetics: ").replace("-", " ")


def _rows(axes: Any, names: list[str], palette: Palette, unit: str = "") -> None:
    _frame(axes, palette, 100, unit)
    axes.grid(False)
    axes.set_yticks(range(len(names)), names, size=11, color=palette["ink"])
    axes.set_ylim(len(names) - 0.4, -0.65)
    axes.set_xlim(-1, 101)


def _frame(axes: Any, palette: Palette, top: float | None = None, unit: str = "") -> None:
    """A quiet frame: no box, hairline grid, muted labels; with ``top`` the value axis runs over scores."""
    for side in axes.spines.values():
        side.set_visible(False)
    axes.grid(True, color=palette["rule"], linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=10, labelcolor=palette["muted"])
    if top == 100:
        axes.grid(False, axis="y")
        axes.set_xticks(range(0, 101, 25), [f"{tick}{unit}" for tick in range(0, 101, 25)])
    elif top:
        axes.set_yticks(range(0, 101, 25))


def _both(draw: Callable[[Any, bool], None], wide: int, narrow: int, height: Callable[[bool], int], palette: Palette) -> str:
    return _svg(draw, wide, height(True), True, palette) + _svg(draw, narrow, height(False), False, palette)


def _svg(draw: Callable[[Any, bool], None], width: int, height: int, wide: bool, palette: Palette) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings = {"svg.fonttype": "none", "svg.hashsalt": "sgd", "font.family": "sans-serif", "text.parse_math": False}
    buffer = io.StringIO()
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        figure.get_layout_engine().set(w_pad=4 / 72, h_pad=4 / 72)
        draw(figure, wide)
        for axes in figure.axes:
            axes.patch.set_visible(False)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _tidy(buffer.getvalue(), "wide" if wide else "narrow", palette)


def _tidy(svg: str, kind: str, palette: Palette) -> str:
    """The bare ``<svg>`` element: no prologue, metadata or namespaces, its own identifiers, the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"| (width|height)="[\d.]+pt"(?=[^<]*viewBox)', "", svg)
    prefix = hashlib.sha1(svg.encode()).hexdigest()[:6]
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    for name, color in palette.by_name.items():
        svg = svg.replace(color, f"var(--{name})")
    return svg.replace("<svg", f'<svg class="{kind}" aria-hidden="true"', 1)
