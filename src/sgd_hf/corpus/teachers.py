"""Teachers and the templates by which they are asked: a question about one gold path in, one raw completion out.

Guarantee: whatever a teacher is, the same engine (`sgd_hf.corpus.annotate`) asks it, stores what it wrote before it
is read, and reads it by the template's own pure parser. The embedded rules are a teacher as any other. Their text
is numbered sub-goals with their actions:

    1. navigate_to(kitchen)
    - teleport to kitchen
    2. pick_up(thermometer)
    - pick up thermometer
"""

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeAlias

from sgd_hf.core.prompts import Message
from sgd_hf.core.records import GoldPath, Segment, from_row, to_row
from sgd_hf.corpus import rules
from sgd_hf.corpus.alignment import Rejected, align, parse_items


@dataclass(frozen=True)
class Question:
    """One request to a teacher. Everything that can change the answer stands in it, but for who answers."""

    about: str
    """key of the gold path"""
    attempt: int
    """0, or the number of the re-ask"""
    messages: list[Message]
    max_tokens: int
    schema: dict[str, Any] | None = None
    """JSON schema that the answer must obey, inside the strict subset of every provider; None for free text"""
    grammar: str | None = None
    """EBNF of the answer, used in place of the schema where the server is a vLLM"""
    temperature: float = 0.0
    seed: int = 0

    def key(self, teacher: str, revision: str) -> str:
        """Identity of the answer that this teacher owes: 32 hex digits over all inputs."""
        canonical = json.dumps([teacher, revision, asdict(self)], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Completion:
    """What a teacher wrote, unread. ``finish`` is ``stop``, ``length`` (cut at ``max_tokens``), ``refused`` (the
    server does not take this question, ``text`` says why), or another word of the server's."""

    text: str
    finish: str
    model: str
    """the server's own word for who answered"""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """prompt tokens that the server had in its prefix cache; 0 where it does not say"""
    began: float = 0.0
    """when the question was sent, in seconds of the Unix epoch"""
    seconds: float = 0.0


Ask: TypeAlias = Callable[[Question], Awaitable[Completion]]
"""Raises `ServerError` where there is no answer now, `InputError` where there will be none until the user mends something."""


class Template(Protocol):
    """How a gold path is put to a teacher, and how its answer is read. ``name-version`` is the ``prompt_version`` of
    every row; the version is a digest of whatever changes a question or how an answer is read."""

    name: str
    version: str

    def question(self, gold: GoldPath, attempt: int, wrong: str) -> Question:
        """The request; a re-ask (``attempt`` > 0) says what was ``wrong`` with the answer before."""
        ...

    def segments(self, gold: GoldPath, text: str) -> tuple[Segment, ...] | Rejected:
        """Segments that cover the path exactly. Pure and total: never raises, whatever the text."""
        ...

    def fallback(self, gold: GoldPath, text: str) -> tuple[Segment, ...] | Rejected:
        """What is made of the last answer when all re-asks failed: deterministic, or `Rejected` where nothing can be."""
        ...

    def group(self, gold: GoldPath) -> str:
        """Questions of one group share a prefix, and are sent one after the other."""
        ...


class Teacher(Protocol):
    """``name`` and ``revision`` are columns of every row and part of the stage's configuration. ``concurrency``:
    questions that are open at once."""

    name: str
    revision: str
    template: Template
    concurrency: int

    def session(self) -> AbstractAsyncContextManager[Ask]:
        """What is asked, while whatever it needs is up; entered only where a row is owed."""
        ...

    def canary(self, question: Question) -> Question | None:
        """What must be answered by `CANARY` before the first ``question`` is sent; None where nothing is to be proven."""
        ...


CANARY = {"word": "xylograph-7"}
"""the one answer that a canary's schema or grammar allows, and that nobody would give unasked"""


class RuleTemplate:
    """The question to the rules is the gold path itself."""

    name = "none"
    version = ""

    def question(self, gold: GoldPath, attempt: int, wrong: str) -> Question:
        return Question(gold.key, attempt, [{"role": "user", "content": json.dumps(to_row(gold))}], max_tokens=0)

    def segments(self, gold: GoldPath, text: str) -> tuple[Segment, ...] | Rejected:
        return align(parse_items(text), gold.actions)

    def fallback(self, gold: GoldPath, text: str) -> tuple[Segment, ...] | Rejected:
        return self.segments(gold, text)

    def group(self, gold: GoldPath) -> str:
        return ""


class RuleTeacher:
    """The embedded default: the deterministic rules of `sgd_hf.corpus.rules`; it stands for a language model only
    where none can run, and is labelled ``rules`` in every row."""

    name = "rules"
    revision = rules.REVISION
    template: Template = RuleTemplate()
    concurrency = 1

    def canary(self, question: Question) -> Question | None:
        return None

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Ask]:
        async def ask(question: Question) -> Completion:
            gold = from_row(GoldPath, json.loads(question.messages[0]["content"]))
            return Completion(written(gold), "stop", "rules")

        yield ask


def written(gold: GoldPath) -> str:
    """The rules' cut of a gold path, as text."""
    lines = []
    for number, segment in enumerate(rules.segment(gold), 1):
        lines.append(f"{number}. {segment.subgoal}")
        lines += [f"- {action}" for action in gold.actions[segment.start : segment.end]]
    return "\n".join(lines)
