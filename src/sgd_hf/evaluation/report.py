"""Results for people: a table on the terminal, and one HTML page that can be mailed.

Guarantee: every number on the page comes from the results or from the rollouts handed in; the page is a single
file that loads nothing, and whatever text the simulator or a model wrote is shown as text, never run. Where
not every episode fits, the page says how many it shows.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError
from sgd_hf.core.records import Rollout
from sgd_hf.core.table import Table
from sgd_hf.core.texts import rejected
from sgd_hf.evaluation.diagnosis import LABELS, label
from sgd_hf.evaluation.scoring import LENGTHS, score, spread, within

REPLAY_BYTES = 2_300_000
"""room for episode replays in a page, before the figures"""

ARMS = {
    "hierarchical": "planner and executor",
    "flat": "one model, no sub-goals",
    "nearest": "replays the gold actions of the most similar train episode, no model",
    "random-valid": "draws from the valid actions",
    "do-nothing": "lets time pass",
    "oracle": "the gold path of the episode itself: the ceiling",
}
STOPS = {
    "success": "solved",
    "failure": "failed the task",
    "no_progress": "no progress",
    "gave_up": "gave up",
    "move_limit": "move limit",
    "error": "crashed",
}
WENT = {
    "solved": "solved",
    "out_of_moves": "out of moves, still rising",
    "no_progress": "no progress",
    "stuck": "stuck sub-goal",
    "loop": "loop",
    "rejected": "rejected actions",
    "gave_up": "gave up",
    "wrong_focus": "wrong focus",
    "failed": "failed otherwise",
    "crashed": "crashed",
}
"""the labels of a diagnosis in words, from good to bad"""
_ROLES = {"planner": "role-planner", "executor": "role-executor", "flat": "arm-flat"}


def print_results(results: dict[str, Any], console: Any) -> None:
    """The arms, best first, as a table on a `rich` console."""
    protocol = results["protocol"]
    title = f"{protocol['name']} · {protocol['episodes']} episodes · teacher: {results['teacher']}"
    table = Table(title, "arm", "macro", "95 %", "solved", "S", "M", "L", "rejected", "failed")
    for arm, row in overview(results):
        classes = (row[f"classes.{length}"] for length in LENGTHS)
        figures = (row["macro"], row["interval"], row["success"], *classes, row["rejected_share"], row["failures"])
        table.add(arm, *figures, bold=arm == "hierarchical")
    console.print(table)
    for arm, row in results["arms"].items():
        if row["errors"]:
            console.print(f"{arm}: {row['errors']} of {row['episodes']} episodes crashed, and count 0.", markup=False, highlight=False)


def overview(results: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """The arms by macro mean, best first, each with the cells of its row as they are displayed, by results field."""
    rows = []
    for arm, summary in _ranked(results).items():
        cells = {
            "macro": _points(summary["macro"]),
            "interval": within(summary["interval"]),
            "success": _percent(summary["success"]),
            **{f"classes.{length}": _points(summary["classes"][length]) for length in LENGTHS},
            "best_macro": _points(summary["best_macro"]),
            "rejected_share": _percent(summary["rejected_share"]),
            "failures": str(summary["failures"]),
            "errors": str(summary["errors"]),
            "mean_moves": _points(summary["mean_moves"]),
            "episodes": str(summary["episodes"]),
        }
        rows.append((arm, cells))
    return rows


def write_report(results: dict[str, Any], rollouts: Sequence[Rollout], out: Path) -> None:
    """Write the page. ``results`` is the content of results.json; its ``training``, ``stages``, ``corpus``,
    ``simulator``, ``match`` (a list of what `read_match` gives) and ``note`` may be absent. Raises `InputError` if it has no arm."""
    from markupsafe import Markup

    from sgd_hf.evaluation import figures

    if not results["arms"]:
        raise InputError("There is no episode to report on; run `sgd evaluate` first and give the folder that it wrote.")
    results = {"training": {}, "stages": {}, "corpus": {}, "simulator": {}, "match": [], "note": "", **results}
    arms = _ranked(results)
    colors = _colors(arms)
    training = {role: facts for role, facts in results["training"].items() if facts.get("losses")}
    roles = {role: _ROLES.get(role, f"arm-other-{i % 3}") for i, role in enumerate(training)}
    drawn = {
        "intervals": figures.intervals(arms, colors),
        "tasks": figures.tasks(arms, colors),
        "curves": figures.curves(arms, rollouts, results["protocol"]["limit"], colors),
        "losses": figures.losses(training, roles) if training else "",
        "diagnosis": figures.diagnosis(arms, {name: f"went-{name}" for name in WENT}),
    }
    page = _page(
        rollouts,
        arms,
        colors,
        results=results,
        rows=overview(results),
        tasks=sorted({task for summary in arms.values() for task in summary["tasks"]}),
        verdict=verdict(arms, results.get("paired")),
        about=ARMS,
        roles=roles,
        stops={reason: STOPS[reason] for reason in STOPS if any(reason in summary["stops"] for summary in arms.values())},
        went={name: WENT[name] for name in WENT if any(name in summary["diagnosis"] for summary in arms.values())},
        rules=LABELS,
        subgoals={arm: summary["subgoals"] for arm, summary in arms.items() if summary["subgoals"]},
        lengths=LENGTHS,
        figures={name: Markup(svg) for name, svg in drawn.items()},
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, "utf-8", errors="replace")


def write_replay(rollout: Rollout, out: Path) -> None:
    """Write a page that holds the replay of this episode and nothing else."""
    title = f"{rollout.episode.task} · variation {rollout.episode.variation} · {rollout.arm}"
    page = _page([rollout], [rollout.arm], _colors([rollout.arm]), results={}, title=title)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, "utf-8", errors="replace")


def _page(rollouts: Sequence[Rollout], arms: Iterable[str], colors: dict[str, str], **facts: Any) -> str:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    data = replays(rollouts, arms, REPLAY_BYTES)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"points": _points, "percent": _percent, "count": _count, "seconds": _seconds}
    return environment.from_string(Path(__file__).with_name("report.html.jinja").read_text("utf-8")).render(
        arms=arms,
        colors=colors,
        replays=Markup(_inert({**data, "colors": colors, "stops": STOPS})),
        embedded=len(data["episodes"]),
        rollouts=len(rollouts),
        **facts,
    )


def _colors(arms: Iterable[str]) -> dict[str, str]:
    others = count()
    return {arm: f"arm-{arm}" if arm in ARMS else f"arm-other-{next(others) % 3}" for arm in arms}


def verdict(arms: dict[str, Any], paired: dict[str, Any] | None = None) -> str:
    """What the numbers say about the hierarchical arm, kind or not; empty without that arm. ``paired``: its `compare` with flat,
    which knows more than two intervals do."""
    if "hierarchical" not in arms:
        return ""
    mine = arms["hierarchical"]
    compared = []
    for other in ("flat", "nearest", "random-valid", "do-nothing"):
        if other in arms:
            theirs = arms[other]
            relation = "above" if mine["macro"] > theirs["macro"] else "below" if mine["macro"] < theirs["macro"] else "level with"
            (low, high), (least, most) = mine["interval"], theirs["interval"]
            doubt = "" if low > most or high < least else ", intervals overlap"
            if other == "flat" and paired:
                doubt = f"; on the same episodes {paired['difference']:+.1f}, {spread(paired['interval'])}"
            compared.append(f"{relation} {other} ({_points(theirs['macro'])}{doubt})")
    if not within(mine["interval"]):
        compared.append("one episode a task, so what chance did is not known")
    ceiling = f" The oracle reaches {_points(arms['oracle']['macro'])}." if "oracle" in arms else ""
    against = f": {', '.join(compared)}" if compared else ""
    own = f"scores {_points(mine['macro'])} of 100 and solves {_percent(mine['success'])} of its episodes"
    return f"The hierarchical agent {own}{against}.{ceiling}"


def replays(rollouts: Iterable[Rollout], arms: Iterable[str], room: int) -> dict[str, Any]:
    """The data of the replay: ``episodes``, their ``picks`` (per arm: label and episode), and the ``lines`` and
    ``texts`` (lists of lines) that steps point at, each stored once. Episodes worth seeing come first, the
    hierarchical arm's before others'; those that exceed ``room`` bytes are left out."""
    order = ["hierarchical", *(arm for arm in arms if arm != "hierarchical")]
    ranked = sorted(rollouts, key=lambda r: (-score(r), r.rejected, -len(r.subgoals), r.key))
    by_arm = {arm: [r for r in ranked if r.arm == arm] for arm in order}
    picks = {arm: _picks(mine) for arm, mine in by_arm.items() if mine}
    queue = {r.key: r for mine in picks.values() for r in mine.values()}
    depth = max(map(len, by_arm.values()), default=0)
    queue |= {mine[i].key: mine[i] for i in range(depth) for mine in by_arm.values() if i < len(mine) and mine[i].key not in queue}
    lines: dict[str, int] = {}
    texts: dict[tuple[int, ...], int] = {}
    used, episodes = 0, []

    def intern(text: str) -> int:
        nonlocal used
        for line in text.splitlines():
            if line not in lines:
                lines[line] = len(lines)
                used += len(json.dumps(line)) + 1
        key = tuple(lines[line] for line in text.splitlines())
        if key not in texts:
            texts[key] = len(texts)
            used += len(json.dumps(key))
        return texts[key]

    for rollout in queue.values():
        episode = _episode(rollout, intern)
        used += len(json.dumps(episode))
        if used > room:
            break
        episodes.append(episode)
    shown = {episode["key"] for episode in episodes}
    chosen = {arm: [[label, r.key] for label, r in mine.items() if r.key in shown] for arm, mine in picks.items()}
    return {"episodes": episodes, "picks": chosen, "lines": list(lines), "texts": [list(key) for key in texts]}


def _picks(ranked: Sequence[Rollout]) -> dict[str, Rollout]:
    """The episodes of one arm to look at first, by label: best, worst, and the first of each way to go wrong."""
    found = {"best": ranked[0], "worst": ranked[-1]}
    for rollout in ranked:
        went = label(rollout)
        if went != "solved":
            found.setdefault(WENT[went], rollout)
    return found


def _episode(rollout: Rollout, intern: Any) -> dict[str, Any]:
    return {
        "key": rollout.key,
        "arm": rollout.arm,
        "task": rollout.episode.task,
        "variation": rollout.episode.variation,
        "description": rollout.description,
        "score": score(rollout),
        "best": rollout.best_score,
        "stop": rollout.stop,
        "repaired": rollout.repaired,
        "error": rollout.error,
        "start": [intern(rollout.look), intern(rollout.inventory)],
        "subgoals": [[trace.subgoal, trace.start, trace.end, trace.fate, trace.why] for trace in rollout.subgoals],
        "steps": [
            [s.action, intern(s.observation), intern(s.look), intern(s.inventory), s.score, s.moves, int(rejected(s.observation))]
            for s in rollout.steps
        ],
    }


def _ranked(results: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(results["arms"].items(), key=lambda item: (-item[1]["macro"], item[0])))


def _inert(value: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _points(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _count(value: float) -> str:
    return f"{value:,}".replace(",", " ")


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value < 100 else f"{value / 60:.1f} min"
