"""Gold paths become annotations: a teacher writes, its text is aligned, every row is checked and stored.

Guarantee: each accepted gold path of the folder read has exactly one row, accepted with segments that cover it
exactly (contract 1) or rejected with its reason, and what the teacher wrote is in the row either way. Killed at
any time, the same call goes on where it was; another teacher, revision or gold folder is refused.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import StoreError
from sgd_hf.core.progress import progress
from sgd_hf.core.records import Annotation, GoldPath, from_row, to_row
from sgd_hf.core.store import Store, read_manifest, read_rows
from sgd_hf.core.subgoals import known, parse
from sgd_hf.corpus.alignment import Rejected, align, check_cover, parse_items
from sgd_hf.corpus.collect import read_gold
from sgd_hf.corpus.rules import views
from sgd_hf.corpus.teachers import Teacher

STAGE = "annotate"


def annotate(gold: str | Path, out: str | Path, teacher: Teacher, batch: int = 64) -> dict[str, Any]:
    """Annotate every gold path of a complete ``collect`` folder into the stage folder ``out``; returns the summary.

    ``batch``: paths that the teacher is given at once. Raises `StoreError` for a folder of another stage, an
    incomplete one, or a changed configuration.
    """
    manifest = read_manifest(gold, "collect", complete=True)
    digest = hashlib.sha256(json.dumps(manifest["config"], sort_keys=True).encode()).hexdigest()[:16]
    config = {
        "teacher": teacher.name,
        "teacher_revision": teacher.revision,
        "prompt_version": teacher.prompt_version,
        "gold": digest,
    }
    with Store(out, STAGE, config) as store:
        owed = (path for path in read_gold(gold) if path.key not in store.keys)
        with progress("annotate", manifest["summary"]["accepted"], len(store.keys)) as advance:
            while paths := list(islice(owed, batch)):
                for path, raw in zip(paths, teacher.complete(paths), strict=True):
                    store.append(path.key, to_row(annotation(path, raw, teacher)))
                    advance(path.episode.task)
        found = summary(from_row(Annotation, row) for row in store.rows())
        store.finish(found)
    return found


def annotation(gold: GoldPath, raw: str, teacher: Teacher) -> Annotation:
    """What a teacher's text makes of one gold path: an accepted or a rejected annotation."""
    found = align(parse_items(raw), gold.actions)
    if not isinstance(found, Rejected) and not check_cover(found, len(gold.steps)):
        found = Rejected("the segments do not cover the gold path.")
    segments, reason = ((), found.reason) if isinstance(found, Rejected) else (found, "")
    return Annotation(gold, segments, teacher.name, teacher.revision, teacher.prompt_version, reason, raw)


def read_annotations(folder: str | Path) -> Iterator[Annotation]:
    """The accepted annotations of a complete stage folder, in the order of its file; `StoreError` for one that does not cover."""
    for found in read_rows(folder, STAGE, lambda row: from_row(Annotation, row)):
        if not found.accepted:
            continue
        if not check_cover(found.segments, len(found.gold.steps)):
            raise StoreError(f"the annotation of {found.key} in {folder} does not cover its path; run `sgd annotate` into another folder.")
        yield found


def summary(annotations: Iterable[Annotation]) -> dict[str, Any]:
    """Counts, rejections by reason, segment lengths, vocabulary, and the share of segments whose arguments could be
    seen when they start, in all and per task."""
    tasks: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: Counter[str] = Counter()
    lengths: Counter[int] = Counter()
    verbs: dict[str, Counter[str]] = defaultdict(Counter)
    distinct: set[str] = set()
    for item in annotations:
        task = tasks[item.gold.episode.task]
        task["accepted" if item.accepted else "rejected"] += 1
        reasons.update([item.reason] if item.reason else [])
        view = views(item.gold)
        for segment in item.segments:
            subgoal = parse(segment.subgoal)
            actions = segment.end - segment.start
            seen = view(segment.start).seen
            task.update(segments=1, actions=actions, grounded=all(known(a, seen) for a in subgoal.args))
            verbs[subgoal.verb].update(segments=1, actions=actions)
            lengths[actions] += 1
            distinct.add(segment.subgoal)
    total = sum(tasks.values(), Counter())
    return {
        **_figures(total),
        "reasons": dict(reasons.most_common()),
        "lengths": {str(n): lengths[n] for n in sorted(lengths)},
        "verbs": {verb: dict(counts) for verb, counts in sorted(verbs.items(), key=lambda item: -item[1]["segments"])},
        "distinct_subgoals": len(distinct),
        "tasks": {task: _figures(tasks[task]) for task in sorted(tasks)},
    }


def print_summary(summary: dict[str, Any]) -> None:
    """The summary as tables on the terminal: counts and grounding per task, segment lengths as bars, verbs."""
    from rich.console import Console
    from rich.table import Table

    tasks = Table("task", title="annotations")
    for name in ("accepted", "rejected", "segments", "actions a segment", "grounded"):
        tasks.add_column(name, justify="right")
    for name, figures in [*summary["tasks"].items(), ("all", summary)]:
        tasks.add_row(
            name, str(figures["accepted"]), str(figures["rejected"]), str(figures["segments"]),
            f"{figures['mean_actions']:.2f}", f"{100 * figures['grounded']:.1f} %",
        )  # fmt: skip
    lengths = Table("actions", "segments", "", title="segment lengths")
    most = max(summary["lengths"].values(), default=1)
    for length, count in summary["lengths"].items():
        lengths.add_row(length, str(count), "█" * max(1, round(40 * count / most)))
    verbs = Table("verb", "segments", "actions a segment", title=f"vocabulary: {summary['distinct_subgoals']} distinct sub-goals")
    for verb, counts in summary["verbs"].items():
        verbs.add_row(verb, str(counts["segments"]), f"{counts['actions'] / counts['segments']:.2f}")
    console = Console()
    console.print(tasks, lengths, verbs)
    for reason, count in summary["reasons"].items():
        console.print(f"rejected {count}: {reason}", markup=False)


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
