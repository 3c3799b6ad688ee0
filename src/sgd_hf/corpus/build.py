"""Annotations become training rows: what the planner, the executor and the flat baseline should write, and when.

Guarantee: every prompt is read from a `Transcript` that was fed the recorded episode, the object that the live
agent uses (contract 2); every row fits the transcript's budget (contract 3), and rows from which old history had
to be dropped are counted. The folder is a data set as it stands: ``load_dataset(folder, "planner")``.

    out/manifest.json            its presence means that the folder is complete: it appears whole or not at all
    out/README.md                the configurations, for `datasets` and the Hub's viewer
    out/{config}/{split}-{digest}.parquet    planner, executor, flat, annotations, gold_paths; splits train, validation, test

The digest is of the file's content. `datasets` recognises a folder in its cache by the configurations in the README
alone: without the digest, other rows in a folder of the same name would silently be answered with the old ones.
"""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError
from sgd_hf.core.prompts import COMPLETE, END, STYLES, Message, PaperTranscript, State, Transcript, answered
from sgd_hf.core.reasons import spoken
from sgd_hf.core.records import HUB_SPLIT, Annotation, GoldPath, Segment, Step, features, to_row
from sgd_hf.core.store import FORMAT, read_manifest, versions, write_json
from sgd_hf.core.table import Table
from sgd_hf.corpus.annotate import read_annotations
from sgd_hf.corpus.search import Search, read_searches

ROLES = ("planner", "executor", "flat")
CONFIGS = (*ROLES, "annotations", "gold_paths")
SEARCH = "search"
"""the teacher of the rows that come of a search path: no one cut it"""

Row = tuple[list[Message], str, bool]
"""Messages, the sub-goal that they are about, and whether history had to be dropped."""


def build(
    annotations: Sequence[Path], out: Path, budget: int | None = None, style: str = "turns", searches: Sequence[Path] = ()
) -> dict[str, Any]:
    """Write the rows of complete annotation folders (one or more) as a data set; returns the summary.

    ``style``: of the prompts, turns or paper. ``budget``: characters of one prompt, if not the style's own. Both are
    recorded with the rows and needed again by the agent that plays. ``searches``: folders that `search` wrote, of which
    planner and flat have more rows; in the style turns alone.
    """
    import datasets

    budget = STYLES[style].budget if budget is None else budget
    datasets.disable_progress_bars()  # one for every file of a few rows
    out = out.resolve()  # a link stays, and what it leads to is replaced
    if len({folder.resolve() for folder in searches}) < len(searches):
        raise InputError("A folder of search paths is given twice; give each once.")
    if searches and style != "turns":
        raise InputError("Search paths become rows of the prompts `turns` alone; leave --search out, or build with --prompts turns.")
    origins = [read_manifest(folder, "annotate", complete=True)["config"] for folder in annotations]
    sought = [read_manifest(folder, "search", complete=True)["config"] for folder in searches]
    if out.exists() and any(out.iterdir()):
        read_manifest(out, "build")
    if inner := [folder for folder in (*annotations, *searches) if folder.resolve().is_relative_to(out)]:
        raise InputError(f"{inner[0]} lies in {out}, which is made anew; choose another --out.")
    tables: dict[tuple[str, str], list[dict[str, Any]]] = {}
    seen: set[str] = set()
    shortened: Counter[str] = Counter()
    for folder in annotations:
        for annotation in read_annotations(folder):
            if annotation.key in seen:
                raise InputError(f"{annotation.key} is annotated in more than one of the folders given; give each episode once.")
            seen.add(annotation.key)
            split = HUB_SPLIT[annotation.gold.episode.split]
            for config, row, short in _rows(annotation, budget, STYLES[style]):
                tables.setdefault((config, split), []).append(row)
                shortened[config] += short
    for folder in searches:
        for found in read_searches(folder):
            shared = {**to_row(found.episode), "teacher": SEARCH, "prompt_version": Transcript.version}
            for role in ("planner", "flat"):
                table = tables.setdefault((role, HUB_SPLIT[found.episode.split]), [])
                for messages, subgoal, short in search_rows(found, role, budget):
                    table.append({**shared, "number": len(table), "subgoal": subgoal, "messages": messages})
                    shortened[role] += short
    if not seen:
        raise InputError(f"No accepted annotation in {', '.join(map(str, annotations))}; annotate at least one gold path first.")
    characters = {role: max(_size(row["messages"]) for (c, _), rows in tables.items() if c == role for row in rows) for role in ROLES}
    if max(characters.values()) > budget:
        raise InputError(
            f"A row needs {max(characters.values())} characters without any history and the budget is {budget}; raise --budget."
        )
    scratch = out.with_name(out.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    schema = {"annotations": _annotation_features(), "gold_paths": features(Annotation)["gold"]}
    files: dict[str, dict[str, str]] = {config: {} for config in CONFIGS}
    for (config, split), rows in tables.items():
        (scratch / config).mkdir(parents=True, exist_ok=True)
        shape = datasets.Features(schema.get(config, _row_features()))
        path = scratch / config / f"{split}.parquet"
        datasets.Dataset.from_list(rows, features=shape).to_parquet(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        files[config][split] = str(path.rename(path.with_stem(f"{split}-{digest}")).relative_to(scratch))
    (scratch / "README.md").write_text(_front_matter(files))
    summary = {
        "episodes": len(seen),
        "rows": {config: {split: len(rows) for (c, split), rows in sorted(tables.items()) if c == config} for config in CONFIGS},
        "shortened": {role: shortened[role] for role in ROLES},
        "characters": characters,
        "teacher": sorted({origin["teacher"] for origin in origins}),
    }
    manifest = {"stage": "build", "format": FORMAT, "versions": versions(), "summary": summary}
    config = {"budget": budget, "prompt_version": STYLES[style].version, "annotations": origins, "searches": sought}
    write_json(scratch / "manifest.json", {**manifest, "config": config})
    shutil.rmtree(out, ignore_errors=True)
    os.replace(scratch, out)
    return summary


def planner_rows(annotation: Annotation, budget: int = Transcript.budget, style: type[Transcript] = Transcript) -> Iterator[Row]:
    """A row for each episode, a turn a sub-goal and `complete_task()` last; a conversation that outgrows the budget goes on
    in another row. In the paper's style a row for each decision: its planner, asked before every action, also learns to
    stay with a sub-goal until its last action is done, and then to name the next."""
    transcript = _transcript(annotation.gold, budget, style)
    if style is PaperTranscript:
        yield from _decisions(transcript, annotation)
    else:
        pursued = _pursued(transcript, annotation.segments, annotation.gold.steps)
        yield from _conversations(transcript, transcript.planner, pursued, COMPLETE, "")


def search_rows(search: Search, role: str, budget: int = Transcript.budget) -> Iterator[Row]:
    """The rows of a search path, the focus on what was found last; of ``role`` planner or flat. They are about that focus,
    where other rows of these roles are about no sub-goal."""
    transcript = _transcript(search, budget, Transcript)
    if role == "planner":
        read, answers, last = transcript.planner, _pursued(transcript, search.segments, search.steps), search.subgoal
    else:
        read, answers, last = transcript.flat, _acted(transcript, search.steps), search.action
    yield from _conversations(transcript, read, answers, last, search.subgoal)


def executor_rows(annotation: Annotation, budget: int = Transcript.budget, style: type[Transcript] = Transcript) -> Iterator[Row]:
    """A row for each segment, a turn an action and END last; a conversation that outgrows the budget goes on in another
    row. In the paper's style a row for each action and each END."""
    transcript = _transcript(annotation.gold, budget, style)
    for segment in annotation.segments:
        transcript.begin(segment.subgoal)
        steps = annotation.gold.steps[segment.start : segment.end]
        yield from _conversations(transcript, transcript.executor, _acted(transcript, steps), END, segment.subgoal)
        transcript.end("ended")


def flat_rows(annotation: Annotation, budget: int = Transcript.budget, style: type[Transcript] = Transcript) -> Iterator[Row]:
    """A row for each window of actions, without sub-goals. In the paper's style a row for each action."""
    transcript = _transcript(annotation.gold, budget, style)
    *steps, last = annotation.gold.steps
    yield from _conversations(transcript, transcript.flat, _acted(transcript, steps), last.action.lower(), "")


def print_summary(summary: dict[str, Any]) -> None:
    """The summary as a table on the terminal."""
    from rich.console import Console

    splits = list(HUB_SPLIT.values())
    title = f"{summary['episodes']} episodes, teacher: {', '.join(summary['teacher'])}"
    table = Table(title, "rows", *splits, "shortened", "longest, characters")
    for config, rows in summary["rows"].items():
        sizes = [str(summary[key].get(config, "")) for key in ("shortened", "characters")]
        table.add(config, *[str(rows.get(split, "")) for split in splits], *sizes)
    Console().print(table)


def _rows(annotation: Annotation, budget: int, style: type[Transcript]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    episode = annotation.gold.episode
    shared = {**to_row(episode), "teacher": annotation.teacher, "prompt_version": style.version}
    for role, rows in (("planner", planner_rows), ("executor", executor_rows), ("flat", flat_rows)):
        for number, (messages, subgoal, short) in enumerate(rows(annotation, budget, style)):
            yield role, {**shared, "number": number, "subgoal": subgoal, "messages": messages}, short
    actions = annotation.gold.actions
    cut = [{"subgoal": s.subgoal, "actions": list(actions[s.start : s.end])} for s in annotation.segments]
    origin = {"teacher_revision": annotation.teacher_revision, "teacher_prompt": annotation.prompt_version, "raw": annotation.raw}
    yield "annotations", {**to_row(episode), "teacher": annotation.teacher, **origin, "segments": cut}, False
    yield "gold_paths", to_row(annotation.gold), False


def _transcript(path: GoldPath | Search, budget: int, style: type[Transcript]) -> Transcript:
    return style(path.description, State(path.look, path.inventory), budget)


def _feed(transcript: Transcript, step: Step) -> None:
    transcript.act(step.action, step.observation, State(step.look, step.inventory))


def _acted(transcript: Transcript, steps: Sequence[Step]) -> Iterator[str]:
    """The action of each step, once it was taken."""
    for step in steps:
        _feed(transcript, step)
        yield step.action.lower()


def _pursued(transcript: Transcript, segments: Sequence[Segment], steps: Sequence[Step]) -> Iterator[str]:
    """The sub-goal of each segment, after its reason, once it was pursued."""
    for segment in segments:
        why = transcript.reason(segment.subgoal)
        transcript.begin(segment.subgoal, why)
        for step in steps[segment.start : segment.end]:
            _feed(transcript, step)
        transcript.end("ended")
        yield spoken(segment.subgoal, why)


def _conversations(
    transcript: Transcript, read: Callable[[], list[Message]], answers: Iterator[str], last: str, subgoal: str
) -> Iterator[Row]:
    """Rows that answer ``read`` with each of the answers and then with ``last``; what goes on by a turn is one row.
    Taking an answer from the iterator moves the transcript on."""
    short = transcript.shortened
    prompt = read()
    dropped = transcript.shortened > short
    short = transcript.shortened
    for answer in answers:
        longer = read()
        if not _goes_on(prompt, longer):
            yield answered(prompt, answer), subgoal, dropped
            dropped = transcript.shortened > short
        prompt, short = longer, transcript.shortened
    yield answered(prompt, last), subgoal, dropped


def _decisions(transcript: Transcript, annotation: Annotation) -> Iterator[Row]:
    """A row for the start and one after each action: the sub-goal that is to be pursued now."""
    successors = [*(segment.subgoal for segment in annotation.segments[1:]), COMPLETE]
    yield _asked(transcript, annotation.segments[0].subgoal)
    for segment, successor in zip(annotation.segments, successors, strict=True):
        transcript.begin(segment.subgoal)
        for number, step in enumerate(annotation.gold.steps[segment.start : segment.end], segment.start + 1):
            _feed(transcript, step)
            yield _asked(transcript, segment.subgoal if number < segment.end else successor)
        transcript.end("ended")
        yield _asked(transcript, successor)


def _asked(transcript: Transcript, label: str) -> Row:
    short = transcript.shortened
    messages = answered(transcript.planner(), label)
    return messages, label, transcript.shortened > short


def _goes_on(before: list[Message], after: list[Message]) -> bool:
    """Whether a conversation was extended by a turn rather than opened anew."""
    return after[: len(before)] == before and len(after) > len(before)


def _size(messages: list[Message]) -> int:
    return sum(len(message["content"]) for message in messages)


def _episode_features() -> dict[str, Any]:
    from datasets import Value

    return {
        "task": Value("string"),
        "variation": Value("int64"),
        "split": Value("string"),
        "simplification": Value("string"),
        "teacher": Value("string"),
    }


def _row_features() -> dict[str, Any]:
    from datasets import List, Value

    text = Value("string")
    rows = {"prompt_version": text, "number": Value("int64"), "subgoal": text, "messages": List({"role": text, "content": text})}
    return {**_episode_features(), **rows}


def _annotation_features() -> dict[str, Any]:
    from datasets import List, Value

    text = Value("string")
    segment = {"subgoal": text, "actions": List(text)}
    return {**_episode_features(), "teacher_revision": text, "teacher_prompt": text, "raw": text, "segments": List(segment)}


def _front_matter(files: dict[str, dict[str, str]]) -> str:
    """The README head by which `datasets` finds the file of each split of each configuration."""
    import yaml

    found = [
        {
            "config_name": config,
            **({"default": True} if config == "planner" else {}),
            "data_files": [{"split": split, "path": paths[split]} for split in HUB_SPLIT.values() if split in paths],
        }
        for config, paths in files.items()
    ]
    return f"---\n{yaml.safe_dump({'configs': found}, sort_keys=False)}---\n"
