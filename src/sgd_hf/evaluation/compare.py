"""Two runs against each other on the same episodes, and any number of runs in one ranking.

Guarantee: a difference is that of pairs, episode by episode, and its interval resamples pairs within their task, so
the luck of an easy episode cancels. Runs of different protocols are never compared, and never ranked in one table.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError
from sgd_hf.core.records import Rollout
from sgd_hf.core.store import read_manifest
from sgd_hf.core.table import Table
from sgd_hf.evaluation.rollouts import STAGE, read_rollouts
from sgd_hf.evaluation.scoring import LENGTHS, interval, score, spread, summarise, within

_SIMULATOR = ("simulator", "jar", "jvm")


def origin(config: dict[str, Any]) -> dict[str, Any]:
    """What an arm was made of, out of its manifest's configuration."""
    return {name: value for name, value in config.items() if name not in ("protocol", "arm", *_SIMULATOR)}


def simulator(config: dict[str, Any]) -> dict[str, str]:
    """On what an arm was played, out of its manifest's configuration."""
    return {name: config[name] for name in _SIMULATOR}


def compare(a: Sequence[Rollout], b: Sequence[Rollout], seed: int = 0, resamples: int = 2000) -> dict[str, Any]:
    """How ``b``, the new run, differs from ``a``, as plain JSON types; pure, and blind to the order of the rollouts.

    ``difference`` (of the macro means) and ``interval`` (its 95 % paired bootstrap) are in points of 100, b − a; so
    are the ``difference``s of ``tasks``. ``wins`` are episodes in which b scored more. ``regression``: the whole
    interval lies below 0; never where each task has one episode, which says nothing of the spread. Raises `InputError`
    where the two do not hold the same episodes, each once.
    """
    olds, news = _by_episode(a, "first"), _by_episode(b, "second")
    if odd := sorted(olds.keys() ^ news.keys()):
        raise InputError(
            f"The two runs do not hold the same episodes ({len(odd)} are in one only, such as {odd[0]}); compare runs of one protocol."
        )
    tasks: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for key in sorted(olds):
        tasks[olds[key].episode.task].append((score(olds[key]), score(news[key])))
    pairs = [pair for task in tasks.values() for pair in task]
    each = {task: _means(tasks[task]) for task in sorted(tasks)}
    macro = {side: sum(row[side] for row in each.values()) / len(each) for side in ("a", "b")}
    bounds = interval([[new - old for old, new in tasks[task]] for task in each], seed, resamples)
    return {
        "episodes": len(pairs),
        **macro,
        "difference": macro["b"] - macro["a"],
        "interval": bounds,
        "regression": bounds[1] < 0 and len(pairs) > len(each),
        "wins": sum(new > old for old, new in pairs),
        "ties": sum(new == old for old, new in pairs),
        "losses": sum(new < old for old, new in pairs),
        "tasks": each,
    }


def compare_folders(a: Path, b: Path) -> dict[str, Any]:
    """`compare` of two complete evaluation folders; `InputError` where their protocols or simulators differ."""
    configs = [read_manifest(folder, STAGE, complete=True)["config"] for folder in (a, b)]
    protocols = [config["protocol"] for config in configs]
    if protocols[0]["digest"] != protocols[1]["digest"]:
        named = " and ".join(f"{p['name']} ({p['digest']})" for p in protocols)
        raise InputError(f"{a} and {b} were evaluated under different protocols, {named}; evaluate both under one.")
    if simulator(configs[0]) != simulator(configs[1]):
        raise InputError(f"{a} and {b} were played on different simulators or JVM flags; evaluate both on one.")
    return compare(read_rollouts(a), read_rollouts(b))


def leaderboard(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """A table for each protocol that the folders were evaluated under, in the order in which they come: ``protocol``
    and ``rows``, best macro mean first, each with its ``run`` (folder), ``arm``, ``origin``, ``commit`` and ``summary``
    (see `sgd_hf.evaluation.scoring.summarise`)."""
    tables: dict[str, dict[str, Any]] = {}
    for folder in folders:
        manifest = read_manifest(folder, STAGE, complete=True)
        config = manifest["config"]
        rollouts = read_rollouts(folder)
        if not rollouts:
            raise InputError(f"{folder} holds no episode; evaluate a protocol that has some.")
        [summary] = summarise(rollouts).values()
        table = tables.setdefault(config["protocol"]["digest"], {"protocol": config["protocol"], "rows": []})
        table["rows"].append(
            {
                "run": str(folder),
                "arm": config["arm"],
                "origin": " ".join(f"{name}={value}" for name, value in origin(config).items()) or "none",
                "commit": manifest["versions"].get("commit", "none"),
                "summary": summary,
            }
        )
    for table in tables.values():
        table["rows"].sort(key=lambda row: (-row["summary"]["macro"], row["run"]))
    return list(tables.values())


def print_comparison(found: dict[str, Any], a: Path, b: Path, console: Any) -> None:
    """The difference and its interval, then the tasks, greatest loss first."""
    table = Table(f"A {a} · B {b}", "task", "episodes", "A", "B", "B − A")
    for task, row in sorted(found["tasks"].items(), key=lambda item: (item[1]["difference"], item[0])):
        table.add(task, str(row["episodes"]), f"{row['a']:.1f}", f"{row['b']:.1f}", f"{row['difference']:+.1f}")
    table.add("macro", str(found["episodes"]), f"{found['a']:.1f}", f"{found['b']:.1f}", f"{found['difference']:+.1f}", bold=True)
    console.print(table)
    low, high = found["interval"]
    word = "B is worse" if high < 0 else "B is better" if low > 0 else "no difference can be told"
    told = f"{spread(found['interval'])}: {word}"
    if found["episodes"] == len(found["tasks"]):
        told = "of which one episode a task cannot tell luck"
    counts = f"of {found['episodes']} episodes B wins {found['wins']}, ties {found['ties']}, loses {found['losses']}"
    console.print(f"B − A {found['difference']:+.1f} points, {told}; {counts}.", highlight=False)


def print_leaderboard(tables: Sequence[dict[str, Any]], console: Any) -> None:
    """A table a protocol and a line on what each run was made of; one line of warning where there are several protocols."""
    if len(tables) > 1:
        console.print(
            f"Warning: these runs were evaluated under {len(tables)} protocols; scores of two tables cannot be compared.",
            style="yellow",
            soft_wrap=True,
        )
    for found in tables:
        protocol = found["protocol"]
        runs = [Path(row["run"]).absolute() for row in found["rows"]]
        home = Path(os.path.commonpath([run.parent for run in runs]))  # long paths would leave no room for the numbers
        title = f"{protocol['name']} {protocol['digest']} · {home}"
        table = Table(title, "run", "macro", "95 %", "solved", "S", "M", "L", "rejected", "errors")
        for rank, (row, run) in enumerate(zip(found["rows"], runs, strict=True), 1):
            s = row["summary"]
            classes = ("–" if (mean := s["classes"][length]) is None else f"{mean:.1f}" for length in LENGTHS)
            shares = (f"{100 * s['success']:.0f} %", *classes, f"{100 * s['rejected_share']:.0f} %", str(s["errors"]))
            table.add(f"{rank} {run.relative_to(home)}", f"{s['macro']:.1f}", within(s["interval"]), *shares)
        console.print(table)
        for rank, row in enumerate(found["rows"], 1):
            console.print(
                f"{rank} {row['arm']} · made of {row['origin']} · commit {row['commit']}", markup=False, highlight=False, soft_wrap=True
            )


def _by_episode(rollouts: Sequence[Rollout], which: str) -> dict[str, Rollout]:
    found = {rollout.episode.key: rollout for rollout in rollouts}
    if not found or len(found) < len(rollouts):
        fault = "holds an episode twice" if found else "holds no episode"
        raise InputError(f"The {which} of the two runs {fault}; compare one arm with one arm.")
    return found


def _means(pairs: Sequence[tuple[int, int]]) -> dict[str, Any]:
    old, new = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
    return {"episodes": len(pairs), "a": old, "b": new, "difference": new - old}
