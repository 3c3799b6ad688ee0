"""A planner against the annotation, teacher forced: at every state of the gold paths, does it say what the teacher said?

Guarantee: each sub-goal of each accepted annotation is asked for exactly once, with the prompt that `build` wrote for
it and that the live agent would read there (contract 2), whatever the planner answered before; so no simulator is
needed. An answer is on disk before it is judged, the same call resumes, and another planner or other annotations are
refused. An answer that differs need not be wrong: many plans reach a goal, and this counts agreement with one of them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sgd_hf.agent.agent import Load, SubgoalAgent
from sgd_hf.agent.decoding import Decoding
from sgd_hf.agent.plans import draws
from sgd_hf.agent.policy import Ask, understood
from sgd_hf.core.errors import InputError
from sgd_hf.core.progress import progress
from sgd_hf.core.prompts import State
from sgd_hf.core.records import Annotation
from sgd_hf.core.store import Store, read_manifest, read_rows
from sgd_hf.core.subgoals import parse
from sgd_hf.core.table import Table
from sgd_hf.corpus.annotate import read_annotations
from sgd_hf.evaluation.arms import made_of, source_name

STAGE = "match"
BATCH = 64
"""questions that the planner is given at once where that is the faster way"""

Judged = tuple[bool, bool, bool, bool]
"""Whether an answer was a sub-goal, had the right verb, was right; and whether it was one to a question"""
Question = tuple[str, dict[str, str], Ask]
"""Key, what the answer is stored with (the task, the annotation's sub-goal and its reason), and what the planner is asked."""


def match(
    out: Path, annotations: Path, source: str | Path, decoding: Decoding | None = None, seed: int = 0, load: Load | None = None
) -> dict[str, Any]:
    """Ask the planner of an agent for every sub-goal of a complete annotation folder; returns `summarise` of the answers.

    ``decoding``: instead of the agent's own; ``seed`` that of sampling; ``load``: see `SubgoalAgent.modules`.
    """
    agent = SubgoalAgent.from_pretrained(source)
    decoding = decoding or Decoding(**agent.config.decoding)
    modules = agent.modules(agent.planners, decoding, load)
    said = read_manifest(annotations, "annotate", complete=True)["config"]
    digests = {name: module.digest for name, module in modules.items()}
    about = {"agent": source_name(source), **digests, "decoding": decoding.text or "greedy", "seed": seed}
    with Store(out, STAGE, {**about, "annotations": made_of(annotations, "annotate")}) as store:
        questions = [question for annotation in read_annotations(annotations) for question in _questions(annotation, agent)]
        if not questions:
            raise InputError(f"{annotations} holds no accepted annotation; annotate some gold paths first.")
        with progress(f"match {out.name}", len(questions), len(store.keys)) as advance:
            for name, module in modules.items():
                owed = iter([question for question in questions if question[0] not in store.keys and question[-1].module == name])
                while some := list(islice(owed, BATCH if module.together else 1)):
                    asks, chances = [ask for *_, ask in some], [draws(seed, key) for key, *_ in some]
                    # One by one, a question goes on where the one before it ended, which `write` need not read again.
                    answers = module.write_many(asks, chances) if module.together else [module.write(asks[0], draw=chances[0])]
                    for (key, expected, _), answer in zip(some, answers, strict=True):
                        store.append(key, {**expected, "answer": answer})
                        advance(expected["task"])
        found = {**about, "teacher": said["teacher"], **summarise(store.rows())}
        store.finish(found)
    return found


def read_match(folder: Path) -> dict[str, Any]:
    """The summary of a complete folder, counted again from its rows."""
    return {**read_manifest(folder, STAGE, complete=True)["summary"], **summarise(read_rows(folder, STAGE))}


def summarise(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """``subgoals`` asked for, and the shares of them that were ``parsed``, had the same verb (``verb_match``), and were
    the same (``exact_match``); of all, and in ``tasks`` of each task. ``macro_exact`` is the mean over tasks. ``questions``:
    sub-goals that have a reason, for the task leaves a choice there, and the share ``answered`` of them that were the same."""
    tasks: dict[str, list[Judged]] = defaultdict(list)
    for row in rows:
        expected, answer = parse(row["expected"]), understood(row["answer"])
        same = answer is not None and answer.verb == expected.verb
        tasks[row["task"]].append((answer is not None, same, answer == expected, bool(row.get("why"))))
    each = {task: _shares(tasks[task]) for task in sorted(tasks)}
    macro = sum(row["exact_match"] for row in each.values()) / len(each)
    return {**_shares([judged for task in tasks.values() for judged in task]), "macro_exact": macro, "tasks": each}


def print_match(found: dict[str, Any], console: Any) -> None:
    """A line a task, then all."""
    table = Table("planner against the annotation", "task", "asked", "parsed", "verb", "exact", "questions", "answered")
    for name, row in [*found["tasks"].items(), ("all", found)]:
        shares = (f"{100 * row[field]:.0f} %" for field in ("parsed", "verb_match", "exact_match"))
        answered = (str(row["questions"]), f"{100 * row['answered']:.0f} %") if row["questions"] else ("", "")
        table.add(name, str(row["subgoals"]), *shares, *answered)
    console.print(table)


def _questions(annotation: Annotation, agent: SubgoalAgent) -> Iterator[Question]:
    gold = annotation.gold
    transcript = agent.transcript(gold.description, gold.look, gold.inventory)
    for number, segment in enumerate(annotation.segments):
        why = transcript.reason(segment.subgoal)
        expected = {"task": gold.episode.task, "expected": segment.subgoal, "why": why}
        yield f"{annotation.key}#{number}", expected, next(agent.plan(transcript, ""))
        transcript.begin(segment.subgoal, why)
        for step in gold.steps[segment.start : segment.end]:
            transcript.act(step.action, step.observation, State(step.look, step.inventory))
        transcript.end("ended")


def _shares(judged: list[Judged]) -> dict[str, Any]:
    parsed, verb, exact, _ = (sum(column) / len(judged) for column in zip(*judged, strict=True))
    questions = [right for *_, right, question in judged if question]
    shares = {"subgoals": len(judged), "parsed": parsed, "verb_match": verb, "exact_match": exact}
    return {**shares, "questions": len(questions), "answered": sum(questions) / len(questions) if questions else None}
