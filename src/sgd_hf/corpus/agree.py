"""Two annotations of the same gold paths, compared: how close is a small teacher to a large one, or the rules to either.

Guarantee: only paths that both accepted, with the same actions, are compared, and the others are counted. An
annotation agrees with itself entirely; exchanging the two exchanges precision and recall, and changes nothing else.

- boundaries: where a sub-goal ends and another begins; precision and recall are those of the second against the first;
- verbs, sub-goals: of the segments that both cut alike, the share with the same verb, with the same sub-goal;
- exact: paths cut and named alike throughout;
- kappa: Cohen's, over actions, of the verb under which each is done (1 is perfect, 0 is what chance gives).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from sgd_hf.core.errors import InputError
from sgd_hf.core.records import Annotation
from sgd_hf.core.subgoals import parse
from sgd_hf.core.table import Table
from sgd_hf.corpus.annotate import read_annotations

Pair: TypeAlias = tuple[Annotation, Annotation]

COLUMNS = {"paths": "paths", "f1": "F1", "verbs": "verbs", "subgoals": "sub-goals", "exact": "exact", "kappa": "kappa"}


def agree_folders(a: str | Path, b: str | Path) -> dict[str, Any]:
    """`agree` on two complete `sgd annotate` folders."""
    return agree(read_annotations(a), read_annotations(b)) | {"a": str(a), "b": str(b)}


def agree(a: Iterable[Annotation], b: Iterable[Annotation]) -> dict[str, Any]:
    """The figures over all common paths and per task. Raises `InputError` where no path is common."""
    first, second = ({found.key: found for found in side} for side in (a, b))
    common = [(first[key], second[key]) for key in first if key in second]
    pairs = [pair for pair in common if pair[0].gold.actions == pair[1].gold.actions]
    if not pairs:
        raise InputError("The two annotations have no gold path in common; give two folders that were annotated from the same gold paths.")
    tasks: dict[str, list[Pair]] = {}
    for pair in pairs:
        tasks.setdefault(pair[0].gold.episode.task, []).append(pair)
    return {
        "only_a": len(first) - len(common),
        "only_b": len(second) - len(common),
        "other_actions": len(common) - len(pairs),
        **figures(pairs),
        "tasks": {task: figures(tasks[task]) for task in sorted(tasks)},
    }


def figures(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Agreement over some pairs, pooled; shares from 0 to 1, where nothing is to be shared 1."""
    said, meant, both = 0, 0, 0
    alike = same_verb = same_subgoal = exact = 0
    verbs: Counter[tuple[str, str]] = Counter()
    for a, b in pairs:
        cuts = [{segment.start for segment in side.segments[1:]} for side in (a, b)]
        meant, said, both = meant + len(cuts[0]), said + len(cuts[1]), both + len(cuts[0] & cuts[1])
        named = {(segment.start, segment.end): segment.subgoal for segment in a.segments}
        for segment in b.segments:
            if (other := named.get((segment.start, segment.end))) is not None:
                alike += 1
                same_verb += parse(other).verb == parse(segment.subgoal).verb
                same_subgoal += other == segment.subgoal
        exact += a.segments == b.segments
        verbs.update(zip(_verbs(a), _verbs(b), strict=True))
    return {
        "paths": len(pairs),
        "precision": _share(both, said),
        "recall": _share(both, meant),
        "f1": _share(2 * both, said + meant),
        "alike": alike,
        "verbs": _share(same_verb, alike),
        "subgoals": _share(same_subgoal, alike),
        "exact": _share(exact, len(pairs)),
        "kappa": _kappa(verbs),
    }


def print_agreement(found: dict[str, Any]) -> None:
    """The figures as a table on the terminal."""
    from rich.console import Console

    table = Table("agreement (F1 is that of boundaries)", "task", *COLUMNS.values())
    for name, row in [*found["tasks"].items(), ("all", found)]:
        table.add(name, *(str(row[key]) if key == "paths" else f"{row[key]:.2f}" for key in COLUMNS))
    console = Console()
    console.print(table)
    console.print(f"boundaries: precision {found['precision']:.2f}, recall {found['recall']:.2f}; {found['alike']} segments cut alike")
    for key, words in (
        ("only_a", "only the first accepted"),
        ("only_b", "only the second accepted"),
        ("other_actions", "have other actions"),
    ):
        if found[key]:
            console.print(f"not compared: {found[key]} paths that {words}.")


def _verbs(annotation: Annotation) -> list[str]:
    return [parse(segment.subgoal).verb for segment in annotation.segments for _ in range(segment.start, segment.end)]


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 1.0


def _kappa(pairs: Counter[tuple[str, str]]) -> float:
    total = pairs.total()
    seen = sum(count for (a, b), count in pairs.items() if a == b) / total
    left, right = Counter[str](), Counter[str]()
    for (a, b), count in pairs.items():
        left[a] += count
        right[b] += count
    chance = sum(left[verb] * right[verb] for verb in left) / total**2
    return round((seen - chance) / (1 - chance), 4) if chance < 1 else 1.0
