"""How a language model is asked for sub-goals, and how its answer is read: three templates.

Guarantee: a question is a pure function of the gold path; its long beginning is the same for all paths of a group;
whatever the simulator said stands in it as data, on one line, quoted, without a character that a chat template could
take for its own. Reading is pure and total: segments that cover the path exactly with sub-goals of the grammar whose
arguments occur in the trajectory, or `Rejected`. A version changes with whatever changes a question, and `READING`
is raised by hand with whatever changes how an answer is read.

- ``paper``: the description and the actions alone; one fixed demonstration and one of the same task, free text back.
- ``grounded``: with the closed vocabulary and the answers of the simulator that matter; JSON ranges back. On vLLM a
  grammar holds the verbs, and ranges that follow one another to the end.
- ``labels``: each action is labelled with a sub-goal that can begin there, or continues; the labels to choose from
  are given, so exact cover and grounding hold by construction: by a schema with a required key for each action, or
  on vLLM by a grammar that leaves out what continues. For small models.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from sgd_hf.core.prompts import Message
from sgd_hf.core.records import Episode, GoldPath, Segment, Step
from sgd_hf.core.subgoals import VERBS
from sgd_hf.core.texts import carried, sights
from sgd_hf.corpus import rules
from sgd_hf.corpus.alignment import Item, Rejected, absorb, align, answer, ground, parse_items
from sgd_hf.corpus.constraints import CONTINUE, RANGES_SCHEMA, keys_schema, ranges_grammar, sparse_grammar
from sgd_hf.corpus.listing import bullets, described, listing, quoted, recorded, units
from sgd_hf.corpus.teachers import Question, Template

READING = 2
_HERE = Path(__file__).parent
_MOST_TOKENS = 3000
_MOST_LABELS = 900


Asked: TypeAlias = tuple[list[Message], int, dict[str, Any] | None, str | None]
"""messages, tokens of the answer at most, schema, grammar"""
Read: TypeAlias = tuple[list[Item], Sequence[str]] | Rejected
"""sub-goals with their actions, and the path's actions by the same names"""


@dataclass(frozen=True)
class Asking:
    """A `Template` made of two functions: one composes, one reads. ``by_task``: a task's questions share a prefix."""

    name: str
    ask: Callable[[GoldPath], Asked]
    read: Callable[[GoldPath, str], Read]
    by_task: bool = False

    @cached_property
    def version(self) -> str:
        """Digest of the questions about a made-up path, and of what they are composed from besides."""
        step = Step("look around", "A chair.\nA table.", "This room is called the kitchen. In it, you see: \n\ta chair", "", 7, 1, False)
        probe = GoldPath(Episode("boil", 0, "train"), "Your task.", "", "", (step, step, step), 3, 100, (), "", "", "")
        asked = [asdict(self.question(probe, attempt, "why")) for attempt in (0, 1)]
        text = json.dumps([asked, _shown() if self.by_task else None, rules.REVISION, READING], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def question(self, gold: GoldPath, attempt: int, wrong: str) -> Question:
        """A re-ask repeats the question with what was wrong at its end, and no longer asks for the likeliest answer."""
        messages, most, schema, grammar = self.ask(gold)
        if attempt:
            said = f"\n\nAn earlier answer could not be used: {quoted(wrong, 300)}. Write the whole answer anew."
            messages = [*messages[:-1], {"role": "user", "content": messages[-1]["content"] + said}]
        return Question(gold.key, attempt, messages, most, schema, grammar, 0.7 if attempt else 0.0, attempt)

    def segments(self, gold: GoldPath, text: str) -> tuple[Segment, ...] | Rejected:
        """What the answer says, or why it cannot be used."""
        return self._segments(gold, text, lambda items: items)

    def fallback(self, gold: GoldPath, text: str) -> tuple[Segment, ...] | Rejected:
        """What is left of the answer when its unusable sub-goals are struck."""
        return self._segments(gold, text, lambda items: absorb(items, gold))

    def group(self, gold: GoldPath) -> str:
        """The task where its demonstration stands in the question, else one group."""
        return gold.episode.task if self.by_task else ""

    def _segments(self, gold: GoldPath, text: str, mend: Callable[[list[Item]], list[Item]]) -> tuple[Segment, ...] | Rejected:
        said = answer(text, gold)
        if isinstance(said, Rejected):
            return said
        read = self.read(gold, said)
        if isinstance(read, Rejected):
            return read
        items, actions = read
        found = align(mend(items), actions)
        return found if isinstance(found, Rejected) else ground(found, gold)


def _ask_paper(gold: GoldPath) -> Asked:
    messages = [_system("paper")]
    for shown in _demonstrations(gold):
        messages.append({"role": "user", "content": recorded(described(shown["description"]) + bullets(shown["actions"]))})
        messages.append({"role": "assistant", "content": shown["answer"]})
    messages.append({"role": "user", "content": recorded(described(gold.description) + bullets(gold.actions))})
    return messages, sum(len(action) + 40 for action in gold.actions) // 2 + 200, None, None


def _read_paper(gold: GoldPath, text: str) -> Read:
    return parse_items(text), gold.actions


def _ask_grounded(gold: GoldPath) -> Asked:
    found = units(gold.actions)
    start = (("In sight", sights(gold.look)), ("Carried", carried(gold.inventory)))
    head = described(gold.description) + [f"{word}: {quoted('; '.join(things), 1500)}" for word, things in start]
    messages = [_system("grounded"), {"role": "user", "content": recorded(head + listing(gold, found))}]
    return messages, 40 * len(found) + 100, RANGES_SCHEMA, ranges_grammar(found)


def _read_grounded(gold: GoldPath, text: str) -> Read:
    found, numbers, parsed = units(gold.actions), _numbers(gold), _json(text)
    segments = parsed.get("segments") if parsed is not None else None
    if not isinstance(segments, list):
        return Rejected("the text holds no JSON object with segments.")
    items: list[Item] = []
    named = 0
    for segment in segments:
        fields = [segment.get(key) for key in ("subgoal", "first", "last")] if isinstance(segment, dict) else []
        if [type(field) for field in fields] != [str, int, int]:
            return Rejected(f"segment {len(items) + 1} is no object with subgoal, first and last.")
        subgoal, first, last = fields
        own = found[max(first - 1, 0) : max(last, 0)]
        items.append((subgoal, numbers[own[0][0] : own[-1][1]] if own else []))
        named += len(items[-1][1])
        if named > 4 * len(numbers) + 100:
            return Rejected(f"the ranges name {named} and more steps of a path of {len(numbers)}.")
    return items, numbers


def _ask_labels(gold: GoldPath) -> Asked:
    found = units(gold.actions)
    most = max(2, min(6, _MOST_LABELS // len(found) - 1))
    labels = [list(map(_counted, own)) for own in rules.candidates(gold, [start for start, _ in found], most)]
    words = [list(dict.fromkeys(label for label, _ in own)) for own in labels]
    messages = [_system("labels"), {"role": "user", "content": recorded(described(gold.description) + listing(gold, found, words))}]
    longest = sum(max(map(len, own)) + 12 for own in words) + 16
    return messages, min(_MOST_TOKENS, longest), keys_schema(words), sparse_grammar(found, labels)


def _read_labels(gold: GoldPath, text: str) -> Read:
    """A label that is said again goes on with the same sub-goal, as long as that stays within `rules.LONGEST` steps."""
    found, numbers, parsed = units(gold.actions), _numbers(gold), _json(text)
    if parsed is None:
        return Rejected("the text holds no JSON object.")
    labels = {f"a{k}": CONTINUE for k in range(1, len(found) + 1)}
    for key, label in parsed.items():
        if key not in labels or not isinstance(label, str):
            return Rejected(f"{key[:40]!r} is no label of one of the {len(found)} actions.")
        labels[key] = label
    items: list[Item] = []
    for (start, end), label in zip(found, labels.values(), strict=True):
        if not items and label == CONTINUE:
            return Rejected("the first action has no label.")
        if label != CONTINUE:
            items.append((label, []))
        items[-1][1].extend(numbers[start:end])
    joined = items[:1]
    for label, steps in items[1:]:
        if label == joined[-1][0] and len(joined[-1][1]) + len(steps) <= rules.LONGEST:
            joined[-1][1].extend(steps)
        else:
            joined.append((label, steps))
    return joined, numbers


TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        Asking("paper", _ask_paper, _read_paper, by_task=True),
        Asking("grounded", _ask_grounded, _read_grounded),
        Asking("labels", _ask_labels, _read_labels),
    )
}


def _system(name: str) -> Message:
    verbs = "\n".join(f"- {verb.example}: {verb.meaning}" for key, verb in VERBS.items() if key != "complete_task")
    return {"role": "system", "content": (_HERE / "asked" / f"{name}.txt").read_text().strip().format(verbs=verbs)}


def _demonstrations(gold: GoldPath) -> list[dict[str, Any]]:
    """The fixed one and the task's own, never the path that is asked about itself."""
    shown = _shown()
    fixed = [shown[task] for task in ("use-thermometer", "chemistry-mix") if shown[task]["path"] != gold.key][:1]
    own = shown.get(gold.episode.task)
    return fixed if own is None or own["path"] == gold.key or own in fixed else [*fixed, own]


def _shown() -> dict[str, dict[str, Any]]:
    return json.loads((_HERE / "asked" / "demonstrations.json").read_text())


def _counted(label: tuple[str, int]) -> tuple[str, int]:
    """`wait` gets its number when the answer is read."""
    return ("wait(1)", label[1]) if label[0].startswith("wait(") else label


def _numbers(gold: GoldPath) -> list[str]:
    """The steps by number: ranges are aligned as actions are, and no step is like another."""
    return [str(k) for k in range(len(gold.steps))]


def _json(text: str) -> dict[str, Any] | None:
    """The first JSON object in a text, fenced or not."""
    decoder = json.JSONDecoder(strict=False)
    position = -1
    for _ in range(3):
        position = text.find("{", position + 1)
        if position < 0:
            return None
        try:
            return decoder.raw_decode(text, position)[0]
        except (ValueError, RecursionError):
            continue
    return None
