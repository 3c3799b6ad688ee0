"""How good an annotation folder is, and what it cost: as JSON, on the terminal, and as one HTML page.

Guarantee: every number comes from the folder's rows and answers, and so covers all runs that filled it; the page is
a single file that loads nothing and runs nothing, and shows what a teacher wrote as text.
"""

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sgd_hf.core.records import Annotation, from_row
from sgd_hf.core.subgoals import grounded, parse
from sgd_hf.core.table import Table
from sgd_hf.corpus.rules import views
from sgd_hf.corpus.spending import Budget

REJECTED_SHOWN = 20
_NAMES = re.compile(r"'[^']*'|\d+")
"""what makes a reason one path's own: rejections are counted by what is left"""
_RAW_SHOWN = 1200
"""characters of a rejected text on the page"""


class Tally:
    """Counts over annotations, one after the other: repairs, rejections by reason, coverage, segment lengths,
    vocabulary, and the share of segments whose arguments could be seen when they start, in all and per task."""

    def __init__(self) -> None:
        self.tasks: dict[str, Counter[str]] = defaultdict(Counter)
        self.verbs: dict[str, Counter[str]] = defaultdict(Counter)
        self.reasons: Counter[str] = Counter()
        self.repaired: Counter[str] = Counter()
        self.lengths: Counter[int] = Counter()
        self.distinct: set[str] = set()

    def add(self, item: Annotation, repaired: str) -> None:
        """Count one annotation; ``repaired``: how, or empty."""
        task = self.tasks[item.gold.episode.task]
        task["accepted" if item.accepted else "rejected"] += 1
        task["path_actions"] += len(item.gold.steps)
        self.repaired.update([repaired] if repaired else [])
        self.reasons.update([_NAMES.sub("…", item.reason)] if item.reason else [])
        view = views(item.gold)
        for segment in item.segments:
            subgoal = parse(segment.subgoal)
            actions = segment.end - segment.start
            task.update(segments=1, actions=actions, grounded=grounded(subgoal, view(segment.start).seen))
            self.verbs[subgoal.verb].update(segments=1, actions=actions)
            self.lengths[actions] += 1
            self.distinct.add(segment.subgoal)

    def summary(self, answers: Iterable[dict[str, Any]], budget: Budget) -> dict[str, Any]:
        """The counts as JSON, with what the ``answers`` took."""
        total = sum(self.tasks.values(), Counter())
        return {
            **_figures(total),
            "repaired": dict(sorted(self.repaired.items())),
            "coverage": round(total["actions"] / total["path_actions"], 4) if total["path_actions"] else 0.0,
            "reasons": dict(self.reasons.most_common()),
            "lengths": {str(n): self.lengths[n] for n in sorted(self.lengths)},
            "verbs": {verb: dict(counts) for verb, counts in sorted(self.verbs.items(), key=lambda item: -item[1]["segments"])},
            "distinct_subgoals": len(self.distinct),
            "usage": usage(answers, total["accepted"] + total["rejected"], budget),
            "tasks": {task: _figures(self.tasks[task]) for task in sorted(self.tasks)},
        }


def usage(answers: Iterable[dict[str, Any]], paths: int, budget: Budget) -> dict[str, Any]:
    """What all answers took. ``seconds``: time in which at least one question was open, over all runs; ``cost``: None
    without prices; per trajectory: over the ``paths`` that have a row."""
    total: Counter[str] = Counter()
    spans = []
    for answer in answers:
        total.update({name: answer[name] for name in ("prompt_tokens", "completion_tokens", "cached_tokens")})
        total.update(answers=1, again=answer["attempt"] > 0)
        spans.append((answer["began"], answer["began"] + answer["seconds"]))
    seconds, last = 0.0, 0.0
    for began, ended in sorted(spans):
        seconds += max(0.0, ended - max(began, last))
        last = max(last, ended)
    tokens = total["prompt_tokens"] + total["completion_tokens"]
    cost = budget.cost(total["prompt_tokens"], total["completion_tokens"]) if budget.priced else None
    return {
        "answers": total["answers"],
        "re_asks": total["again"],
        "prompt_tokens": total["prompt_tokens"],
        "completion_tokens": total["completion_tokens"],
        "cached_tokens": total["cached_tokens"],
        "tokens_per_trajectory": round(tokens / paths, 1) if paths else 0.0,
        "cost": None if cost is None else round(cost, 6),
        "cost_per_trajectory": None if cost is None or not paths else round(cost / paths, 6),
        "seconds": round(seconds, 1),
        "tokens_per_second": round(total["completion_tokens"] / seconds, 1) if seconds else 0.0,
    }


def print_summary(summary: dict[str, Any]) -> None:
    """The summary as tables on the terminal: counts and grounding per task, segment lengths as bars, verbs, and what
    a teacher with tokens took."""
    from rich.console import Console

    tasks = Table("annotations", "task", "accepted", "rejected", "segments", "actions each", "grounded")
    for name, figures in [*summary["tasks"].items(), ("all", summary)]:
        tasks.add(
            name, str(figures["accepted"]), str(figures["rejected"]), str(figures["segments"]),
            f"{figures['mean_actions']:.2f}", f"{100 * figures['grounded']:.1f} %",
        )  # fmt: skip
    lengths = Table("segment lengths", "actions", "segments")
    most = max(summary["lengths"].values(), default=1)
    for length, count in summary["lengths"].items():
        lengths.add(f"{length:>2} {'█' * max(1, round(40 * count / most))}", str(count))
    verbs = Table(f"vocabulary: {summary['distinct_subgoals']} distinct sub-goals", "verb", "segments", "actions each")
    for verb, counts in summary["verbs"].items():
        verbs.add(verb, str(counts["segments"]), f"{counts['actions'] / counts['segments']:.2f}")
    console = Console()
    console.print(tasks, lengths, verbs)
    for name, value in _facts(summary).items():
        console.print(f"{name}: {value}", markup=False, highlight=False)
    for reason, count in summary["reasons"].items():
        console.print(f"rejected {count}: {reason}", markup=False)


def write_page(path: Path, config: dict[str, Any], summary: dict[str, Any], rows: Iterable[dict[str, Any]]) -> None:
    """The summary with plots, an annotated path of each task, and the first rejected texts."""
    samples: dict[str, Annotation] = {}
    rejected: list[Annotation] = []
    for row in rows:
        task = row["gold"]["episode"]["task"]
        if row["reason"] and len(rejected) < REJECTED_SHOWN:
            rejected.append(from_row(Annotation, row))
        elif not row["reason"] and task not in samples:
            samples[task] = from_row(Annotation, row)
    shown = {"samples": [samples[task] for task in sorted(samples)], "rejected": rejected, "raw_shown": _RAW_SHOWN}
    path.write_text(_page().render(config=config, summary=summary, facts=_facts(summary), **shown))


@functools.cache
def _page() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    return environment.from_string(Path(__file__).with_name("quality.html.jinja").read_text())


def _facts(summary: dict[str, Any]) -> dict[str, str]:
    """What there is to say beside the tables, by name."""
    took, repaired = summary["usage"], summary["repaired"]
    facts = {"coverage": f"{100 * summary['coverage']:.1f} % of the actions"}
    if repaired:
        facts["repaired"] = f"{repaired.get('re-ask', 0)} by re-asks, {repaired.get('fallback', 0)} by the template's fallback"
    if took["prompt_tokens"]:
        cached = f", {100 * took['cached_tokens'] / took['prompt_tokens']:.0f} % from the server's cache" if took["cached_tokens"] else ""
        facts["answers"] = f"{took['answers']:,}, {took['re_asks']:,} of them re-asks"
        facts["tokens"] = f"{took['prompt_tokens']:,} read{cached}, {took['completion_tokens']:,} written"
        facts["tokens a trajectory"] = f"{took['tokens_per_trajectory']:,.0f}"
        facts["time"] = f"{took['seconds']:,.1f} s, {took['tokens_per_second']:,.1f} tokens written a second"
    if took["cost"] is not None:
        facts["cost"] = f"{took['cost']:.4f}, {took['cost_per_trajectory'] or 0:.6f} a trajectory"
    return facts


def _figures(counts: Counter[str]) -> dict[str, Any]:
    segments = counts["segments"]
    return {
        "accepted": counts["accepted"],
        "rejected": counts["rejected"],
        "segments": segments,
        "actions": counts["actions"],
        "mean_actions": round(counts["actions"] / segments, 2) if segments else 0.0,
        "grounded": round(counts["grounded"] / segments, 4) if segments else 0.0,
    }
