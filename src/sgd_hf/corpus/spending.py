"""What a teacher was asked and answered, what it cost, and how much more it may.

Guarantee: an answer is on disk before anybody reads it, and a question that has one is not asked again. A budget
is never passed: a question is sent only if its worst case fits beside what is spent and what is open; a budget
that is used up is no error, and a larger one goes on from there.

    folder/answers.jsonl   one raw completion a line, with the question's key, sampling, tokens and times
"""

import asyncio
from dataclasses import asdict, dataclass, fields
from typing import Any

from sgd_hf.core.errors import InputError
from sgd_hf.core.store import Journal
from sgd_hf.corpus.teachers import Ask, Completion, Question, Teacher

_CHARACTERS = 2
"""of a prompt for one token, at worst, before the server has counted them"""


@dataclass(frozen=True)
class Budget:
    """Limits over all answers of a folder, those of earlier runs included; None is no limit. Prices are for a million
    tokens, in whatever currency ``max_cost`` is; cached prompt tokens count in full."""

    max_cost: float | None = None
    max_tokens: int | None = None
    price_in: float = 0.0
    price_out: float = 0.0

    def __post_init__(self) -> None:
        if min(self.max_cost or 0, self.max_tokens or 0, self.price_in, self.price_out) < 0:
            raise InputError("Budgets and prices must not be negative.")
        if self.max_cost is not None and not self.priced:
            raise InputError("--max-cost needs the prices of a million tokens; give --price-in and --price-out.")

    @property
    def priced(self) -> bool:
        return bool(self.price_in or self.price_out)

    @property
    def limited(self) -> bool:
        return self.max_cost is not None or self.max_tokens is not None

    def cost(self, prompt: int, completion: int) -> float:
        return (prompt * self.price_in + completion * self.price_out) / 1e6

    def allows(self, prompt: int, completion: int) -> bool:
        """Whether so many tokens stay within it."""
        if self.max_tokens is not None and prompt + completion > self.max_tokens:
            return False
        return self.max_cost is None or self.cost(prompt, completion) <= self.max_cost


class Ledger:
    """The answers of a folder: those it has, and those that are asked for through it."""

    def __init__(self, journal: Journal, teacher: Teacher, budget: Budget):
        self.journal, self.teacher, self.budget = journal, teacher, budget
        self.known = {row["key"]: completion(row) for row in journal.rows()}
        self.prompt = sum(answer.prompt_tokens for answer in self.known.values())
        self.completion = sum(answer.completion_tokens for answer in self.known.values())
        self._open_prompt = self._open_completion = 0
        self._freed = asyncio.Condition()
        self._disk = asyncio.Lock()
        self._synced = len(self.known)

    async def answer(self, question: Question, ask: Ask) -> Completion | None:
        """The answer, new or known; None where the budget does not allow to ask."""
        key = question.key(self.teacher.name, self.teacher.revision)
        if key in self.known:
            return self.known[key]
        prompt = sum(len(message["content"]) for message in question.messages) // _CHARACTERS if self.budget.limited else 0
        async with self._freed:
            await self._freed.wait_for(lambda: self._fits(prompt, question.max_tokens) or not self._open_completion)
            if not self._fits(prompt, question.max_tokens):
                return None
            self._open_prompt += prompt
            self._open_completion += question.max_tokens
        try:
            found = await ask(question)
            await self._keep(key, question, found)
        finally:
            async with self._freed:
                self._open_prompt -= prompt
                self._open_completion -= question.max_tokens
                self._freed.notify_all()
        if self.budget.limited and not found.prompt_tokens and found.finish != "refused":
            raise InputError(
                f"The server of {self.teacher.name} does not say how many tokens it used, so no budget can be held; leave it out."
            )
        return found

    def _fits(self, prompt: int, completion: int) -> bool:
        return self.budget.allows(self.prompt + self._open_prompt + prompt, self.completion + self._open_completion + completion)

    async def _keep(self, key: str, question: Question, found: Completion) -> None:
        """On disk when it returns; answers that come in while one is being written share the next write."""
        asked = {name: getattr(question, name) for name in ("about", "attempt", "max_tokens", "temperature", "seed")}
        self.journal.append(key, asked | asdict(found), sync=False)
        self.known[key] = found
        self.prompt += found.prompt_tokens
        self.completion += found.completion_tokens
        mine = len(self.known)
        async with self._disk:
            if self._synced < mine:
                covered = len(self.known)
                await asyncio.to_thread(self.journal.sync)
                self._synced = covered


def completion(row: dict[str, Any]) -> Completion:
    """The completion of a line of ``answers.jsonl``."""
    return Completion(**{field.name: row[field.name] for field in fields(Completion)})
