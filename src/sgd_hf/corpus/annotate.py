"""Gold paths become annotations: a teacher is asked, its answer is stored, then read, and every row is checked.

Guarantee: each accepted gold path of the folder read has exactly one row, accepted with segments that cover it
exactly (contract 1) or rejected with its reason, and what the teacher wrote is in the row either way. An answer is
on disk before it is read (`sgd_hf.corpus.spending`): killed at any time, the same call goes on where it was, and
asks again only what was open. Another teacher, revision, template or gold folder is refused. A bad answer is asked
for again at most ``repairs`` times, being told what was wrong; then the template's fallback decides.

Of a sharded run each shard annotates its share into a folder of its own, and the same call without a shard merges
answers and rows, and asks what is still owed.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from sgd_hf.core.errors import InputError, ServerError, StoreError
from sgd_hf.core.progress import progress
from sgd_hf.core.records import Annotation, GoldPath, Segment, from_row, to_row
from sgd_hf.core.store import Store, read_manifest, read_rows, shard_folder
from sgd_hf.core.subgoals import parse
from sgd_hf.corpus.alignment import Rejected, check_cover
from sgd_hf.corpus.collect import read_gold
from sgd_hf.corpus.quality import Tally, write_page
from sgd_hf.corpus.spending import Budget, Ledger
from sgd_hf.corpus.teachers import CANARY, Ask, Completion, Question, Teacher

T = TypeVar("T")

STAGE = "annotate"
WINDOW = 64
"""gold paths in memory at once, within which questions are grouped by their shared prefix"""
FAILURES = 5
"""questions in a row without an answer, each after its retries, that end a run"""
_UNREADABLE = {"length": "the answer was cut off at its token limit.", "content_filter": "the server withheld the answer."}

Row: TypeAlias = tuple[Annotation, str]
"""An annotation, and how it was repaired: ``re-ask``, ``fallback``, or not at all."""


def annotate(
    gold: str | Path,
    out: str | Path,
    teacher: Teacher,
    *,
    repairs: int = 0,
    budget: Budget | None = None,
    shard: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Annotate every gold path of a complete ``collect`` folder into the stage folder ``out``; returns the summary,
    in which ``owed`` counts the paths that the ``budget`` did not reach: then the folder is not complete.

    ``repairs``: re-asks of a path at most. ``shard``: ``(i, n)`` with 1 <= i <= n annotates the i-th share only, in
    ``out/shard-i-of-n``. Raises `StoreError` for a folder of another stage, an incomplete one, a changed
    configuration or a shard still at work; `ServerError` and `InputError` where the teacher does not answer.
    """
    if repairs < 0:
        raise InputError("--repairs is how often a bad answer is asked for again; give 0 or more.")
    manifest = read_manifest(gold, "collect", complete=True)
    config = _config(manifest, teacher, repairs)
    index, count = shard or (1, 1)
    total = len(range(index - 1, manifest["summary"]["accepted"], count))
    folder = shard_folder(out, shard)
    budget = budget or Budget()
    with Store(folder, STAGE, config) as store:
        answers = store.journal("answers")
        store.merge_shards(answers)
        if store.keys and (foreign := store.keys - {path.key for path in read_gold(gold)}):
            raise StoreError(f"{folder} holds {min(foreign)}, which is not among the gold paths of {gold}; choose another --out.")
        ledger, tally = Ledger(answers, teacher, budget), Tally()
        for row in store.rows():
            tally.add(from_row(Annotation, row), row.get("repaired", ""))
        owed = (path for path in islice(read_gold(gold), index - 1, None, count) if path.key not in store.keys)
        with progress("annotate", total, len(store.keys)) as advance:

            def keep(annotation: Annotation, repaired: str) -> None:
                # Not synced: what is lost of it is made again from the answer.
                store.append(annotation.key, to_row(annotation) | ({"repaired": repaired} if repaired else {}), sync=False)
                tally.add(annotation, repaired)
                advance(annotation.gold.episode.task)

            complete, trouble = _run(_annotate(_grouped(owed, teacher), teacher, ledger, repairs, keep))
        found = tally.summary(answers.rows(), budget)
        if complete:
            store.finish(found)
        else:
            found["owed"] = total - len(store.keys)
        write_page(folder / "report.html", store.manifest["config"], found, store.rows())
    if isinstance(trouble, ServerError):
        raise ServerError(
            f"{found['owed']} of {total} gold paths are not annotated yet, because {str(trouble).rstrip('.')}; "
            "what was answered is kept, and the same command goes on."
        )
    if trouble:
        raise trouble
    return found


def annotation(gold: GoldPath, raw: str, teacher: Teacher) -> Annotation:
    """What a teacher's text makes of one gold path: an accepted or a rejected annotation."""
    return _made(gold, raw, _checked(gold, teacher.template.segments(gold, raw)), teacher)


def read_annotations(folder: str | Path) -> Iterator[Annotation]:
    """The accepted annotations of a complete stage folder, in the order of its file; `StoreError` for one that does not
    cover its path, or whose sub-goals are not all written as in `sgd_hf.core.subgoals`."""
    for found in read_rows(folder, STAGE, lambda row: from_row(Annotation, row)):
        if not found.accepted:
            continue
        if not check_cover(found.segments, len(found.gold.steps)):
            raise StoreError(f"the annotation of {found.key} in {folder} does not cover its path; run `sgd annotate` into another folder.")
        if wrong := [segment.subgoal for segment in found.segments if not _canonical(segment.subgoal)]:
            raise StoreError(
                f"the annotation of {found.key} in {folder} holds {wrong[0][:80]!r}, which is no sub-goal; run `sgd annotate` into another folder."
            )
        yield found


def gold_digest(collected: dict[str, Any]) -> str:
    """What annotations keep of the ``collect`` folder with this manifest: 16 hex digits over its configuration."""
    return hashlib.sha256(json.dumps(collected["config"], sort_keys=True).encode()).hexdigest()[:16]


def prompt_version(teacher: Teacher) -> str:
    """Name and version of the template that the teacher is asked by."""
    return "-".join(filter(None, (teacher.template.name, teacher.template.version)))


def _canonical(subgoal: str) -> bool:
    try:
        return str(parse(subgoal)) == subgoal
    except ValueError:
        return False


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns; from a notebook, whose own loop is running, by a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


async def _annotate(
    owed: Iterator[GoldPath], teacher: Teacher, ledger: Ledger, repairs: int, keep: Callable[[Annotation, str], None]
) -> tuple[bool, ServerError | InputError | None]:
    """Hand every owed path's row to ``keep``; returns whether all were, and what prevented it if not the budget."""
    first = next(owed, None)
    if first is None:
        return True, None
    owed = chain([first], owed)
    trouble: list[ServerError | InputError] = []
    streak, stopped = 0, False
    slots = asyncio.Semaphore(teacher.concurrency)

    async def work(ask: Ask) -> None:
        nonlocal streak, stopped

        async def answer(question: Question) -> Completion | None:
            async with slots:
                found = None if stopped else await ledger.answer(question, ask)
            await asyncio.sleep(0)  # whoever waits for the slot sends its question before this answer is read
            return found

        for gold in owed:
            if stopped:
                return
            try:
                row = await _settle(gold, teacher, repairs, answer)
            except (ServerError, InputError) as error:
                trouble.append(error)
                streak += 1
                stopped = stopped or isinstance(error, InputError) or streak >= FAILURES
                continue
            streak = 0
            if row is None:
                stopped = True
            else:
                keep(*row)

    try:
        async with teacher.session() as ask:
            if await _proven(teacher, teacher.template.question(first, 0, ""), ledger, ask):
                # More at work than slots: a question is ready when a slot is. With one slot, all stays in order.
                await asyncio.gather(*(work(ask) for _ in range(2 * teacher.concurrency - 1)))
                if trouble:
                    raise trouble.pop()  # the session says more, if its server is gone
            else:
                stopped = True
    except (ServerError, InputError) as error:
        trouble.append(error)
    return not (stopped or trouble), trouble[-1] if trouble else None


async def _proven(teacher: Teacher, question: Question, ledger: Ledger, ask: Ask) -> bool:
    """Whether the budget allowed to prove that the server does what such questions need; raises where it does not."""
    canary = teacher.canary(question)
    if canary is None:
        return True
    while (old := ledger.known.get(canary.key(teacher.name, teacher.revision))) and not _obeyed(canary, old):
        canary = replace(canary, seed=canary.seed + 1)  # that it failed once says nothing of the server as it is now
    answer = await ledger.answer(canary, ask)
    if answer is None:
        return False
    if _obeyed(canary, answer):
        return True
    what = f"refused it ({answer.text})" if answer.finish == "refused" else f"answered {' '.join(answer.text.split())[:60]!r}"
    if canary.schema or canary.grammar:
        raise InputError(
            f"The server of {teacher.name} does not honour the {'grammar' if canary.grammar else 'JSON schema'} of a test question and {what}; "
            "use one with structured outputs, such as vLLM, or a template of free text (--template paper)."
        )
    raise InputError(
        f"The server of {teacher.name} was sent a short test question and {what}; see --model, and what its requests may hold."
    )


def _obeyed(canary: Question, answer: Completion) -> bool:
    """Whether an answer proves what its canary asks for: the one answer of a schema or grammar, otherwise any at all."""
    if answer.finish == "refused" or not (canary.schema or canary.grammar):
        return answer.finish != "refused"
    try:
        return json.loads(answer.text) == CANARY
    except ValueError:
        return False


async def _settle(gold: GoldPath, teacher: Teacher, repairs: int, answer: Callable[[Question], Awaitable[Completion | None]]) -> Row | None:
    """The row of one path, after as many questions as it takes; None where one of them was not to be asked."""
    template, wrong = teacher.template, ""
    for attempt in range(repairs + 1):
        completion = await answer(template.question(gold, attempt, wrong))
        if completion is None:
            return None
        found = _read(gold, completion, teacher)
        if not isinstance(found, Rejected) or completion.finish == "refused":
            return _made(gold, completion.text, found, teacher), "re-ask" if attempt and not isinstance(found, Rejected) else ""
        wrong = found.reason
    if completion.finish in _UNREADABLE:  # the part that came would be taken for the whole
        return _made(gold, completion.text, found, teacher), ""
    spare = _checked(gold, template.fallback(gold, completion.text))
    if isinstance(spare, Rejected):
        return _made(gold, completion.text, found, teacher), ""
    return _made(gold, completion.text, spare, teacher), "fallback"


def _read(gold: GoldPath, completion: Completion, teacher: Teacher) -> tuple[Segment, ...] | Rejected:
    if completion.finish == "refused":
        return Rejected(f"the server does not take the question: {completion.text}.")
    if completion.finish in _UNREADABLE:
        return Rejected(_UNREADABLE[completion.finish])
    return _checked(gold, teacher.template.segments(gold, completion.text))


def _checked(gold: GoldPath, found: tuple[Segment, ...] | Rejected) -> tuple[Segment, ...] | Rejected:
    if isinstance(found, Rejected) or check_cover(found, len(gold.steps)):
        return found
    return Rejected("the segments do not cover the gold path.")


def _made(gold: GoldPath, raw: str, found: tuple[Segment, ...] | Rejected, teacher: Teacher) -> Annotation:
    segments, reason = ((), found.reason) if isinstance(found, Rejected) else (found, "")
    return Annotation(gold, segments, teacher.name, teacher.revision, prompt_version(teacher), reason, raw)


def _grouped(golds: Iterator[GoldPath], teacher: Teacher) -> Iterator[GoldPath]:
    """The paths, neighbours sharing the prefix of their questions, so that a server reads it once."""
    while window := list(islice(golds, WINDOW)):
        yield from sorted(window, key=teacher.template.group)


def _config(collected: dict[str, Any], teacher: Teacher, repairs: int) -> dict[str, Any]:
    said = {"teacher": teacher.name, "teacher_revision": teacher.revision, "prompt_version": prompt_version(teacher)}
    return said | {"gold": gold_digest(collected)} | ({"repairs": repairs} if repairs else {})
