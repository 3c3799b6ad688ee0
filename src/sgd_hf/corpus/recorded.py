"""The answers that an annotate folder holds, as a teacher; and the same folder, read anew by the present parser.

Guarantee: nothing is asked and nothing is paid. Rows bear the name and revision of the teacher who wrote the
answers, and the version of the template that reads them now.
"""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError, StoreError
from sgd_hf.core.store import Store, read_manifest, read_rows, write_json
from sgd_hf.corpus.annotate import STAGE, annotate, gold_digest
from sgd_hf.corpus.quality import write_page
from sgd_hf.corpus.spending import completion
from sgd_hf.corpus.teachers import Ask, Completion, Question, Template


class RecordedTeacher:
    """Answers as the ``recording``, a complete annotate folder, was answered: by gold path and attempt, whatever the
    words of the question now are. Asked more often than it was then, it says its last answer again."""

    concurrency = 1

    def __init__(self, recording: str | Path, template: Template):
        config = read_manifest(recording, STAGE, complete=True)["config"]
        self.name, self.revision, self.template = config["teacher"], config["teacher_revision"], template
        self.repairs = config.get("repairs", 0)
        self.recording = recording

    def canary(self, question: Question) -> Question | None:
        return None

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Ask]:
        answers: dict[str, dict[int, Completion]] = {}
        for row in read_rows(self.recording, STAGE, journal="answers"):
            answers.setdefault(row["about"], {})[row["attempt"]] = completion(row)

        async def ask(question: Question) -> Completion:
            found = answers.get(question.about)
            if not found:
                raise InputError(f"{self.recording} holds no answer about {question.about}; give the gold paths that it was made of.")
            last = max(found)
            if question.attempt > last:
                return replace(found[last], prompt_tokens=0, completion_tokens=0, cached_tokens=0, began=0.0, seconds=0.0)
            return found[question.attempt]

        yield ask


def recorded_template(recording: str | Path) -> str:
    """Name of the template that a recording was asked by."""
    return read_manifest(recording, STAGE)["config"]["prompt_version"].partition("-")[0]


def reparse(gold: str | Path, out: str | Path, template: Template) -> dict[str, Any]:
    """Make the rows of the complete folder ``out`` anew from its own answers; returns the summary.

    Made beside the old ones, they take their place by one rename, and then the manifest tells the new template
    version; a crash in between is mended by the same call. Paths that are rejected now are not asked again.
    """
    folder, scratch = Path(out), Path(out) / ".reparse"
    teacher = RecordedTeacher(folder, template)
    before = read_manifest(folder, STAGE, complete=True)
    if gold_digest(read_manifest(gold, "collect", complete=True)) != before["config"]["gold"]:
        raise StoreError(f"{folder} was annotated from other gold paths than {gold}; give the folder that it was made of.")
    with Store(folder, STAGE, before["config"]):
        shutil.rmtree(scratch, ignore_errors=True)
        found = annotate(gold, scratch, teacher, repairs=teacher.repairs) | {"usage": before["summary"]["usage"]}
        after = read_manifest(scratch, STAGE, complete=True)
        os.replace(scratch / "rows.jsonl", folder / "rows.jsonl")
        write_json(folder / "manifest.json", after | {"summary": found})
        for shard in folder.glob("shard-*-of-*"):  # all of it is in the folder, which is complete; its version is the old one
            shutil.rmtree(shard)
        write_page(folder / "report.html", after["config"], found, read_rows(folder, STAGE))
        shutil.rmtree(scratch)
    return found
