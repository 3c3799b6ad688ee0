"""What a teacher's answer is held to while it is written: JSON schemas for any server, grammars for vLLM.

Guarantee: an answer that obeys `sparse_grammar` or `keys_schema` labels every action, one that obeys `ranges_grammar`
covers them with ranges that follow one another; both say only verbs of the grammar of sub-goals. The schemas use no
keyword beyond ``type``, ``enum``, ``properties``, ``items``, ``required`` and ``additionalProperties``: what every
provider takes.
"""

import json
from collections.abc import Sequence
from typing import Any

from sgd_hf.core.subgoals import VERBS
from sgd_hf.corpus import rules

CONTINUE = "continue"

RANGES_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "segments": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"subgoal": {"type": "string"}, "first": {"type": "integer"}, "last": {"type": "integer"}},
                "required": ["subgoal", "first", "last"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["segments"],
    "additionalProperties": False,
}


def keys_schema(labels: Sequence[Sequence[str]]) -> dict[str, Any]:
    """An object with a required key for each action: one of its labels, or, after the first, that it continues."""
    enums = [[*own] if k == 0 else [CONTINUE, *own] for k, own in enumerate(labels)]
    return {
        "type": "object",
        "properties": {f"a{k}": {"type": "string", "enum": enum} for k, enum in enumerate(enums, 1)},
        "required": [f"a{k}" for k in range(1, len(enums) + 1)],
        "additionalProperties": False,
    }


def sparse_grammar(units: list[tuple[int, int]], labels: Sequence[Sequence[tuple[str, int]]]) -> str:
    """EBNF of the same object without what continues. ``labels``: of each unit, with the step before which they are not
    done. Keys rise; a sub-goal takes the actions that it is named after, and no more than `rules.LONGEST` steps unless
    it is one unit."""
    lines = ["root ::= " + _literal('{"a1":') + " l1"]
    for k, own in enumerate(labels):
        ways: dict[tuple[int, ...], list[str]] = {}
        for label, done in own:
            if ends := tuple(j for j in _ends(units, k) if units[j - 1][1] >= done):
                ways.setdefault(ends, []).append(label)
        said = []
        for ends, some in (ways or {(k + 1,): [own[0][0]]}).items():
            nexts = [_literal(f',"a{j + 1}":') + f" l{j + 1}" if j < len(units) else _literal("}") for j in ends]
            said.append(f"({' | '.join(_literal(json.dumps(label, ensure_ascii=False)) for label in some)}) ({' | '.join(nexts)})")
        lines.append(f"l{k + 1} ::= {' | '.join(said)}")
    return "\n".join(lines)


def ranges_grammar(units: list[tuple[int, int]]) -> str:
    """EBNF of what `RANGES_SCHEMA` describes: verbs with their number of arguments, and ranges that cover."""
    calls = []
    for name, verb in VERBS.items():
        if name != "complete_task":
            spare = verb.most - verb.least
            arguments = ' ", " '.join(["arg"] * verb.least) + ' (", " arg' * spare + ")?" * spare
            calls.append(f'"{name}(" {arguments} ")"')
    lines = ["root ::= " + _literal('{"segments":[') + " s1", "arg ::= [a-z0-9] [a-z0-9 '.-]{0,40}", "call ::= " + " | ".join(calls)]
    for k in range(len(units)):
        nexts = [_literal(f"{j}}},") + f" s{j + 1}" if j < len(units) else _literal(f"{j}}}]}}") for j in _ends(units, k)]
        range_ = _literal(f'","first":{k + 1},"last":')
        lines.append(f"s{k + 1} ::= " + _literal('{"subgoal":"') + f" call {range_} ({' | '.join(nexts)})")
    return "\n".join(lines)


def _ends(units: list[tuple[int, int]], k: int) -> list[int]:
    """Where a sub-goal that begins with unit ``k`` may end, exclusive."""
    return [j for j in range(k + 1, len(units) + 1) if j == k + 1 or units[j - 1][1] - units[k][0] <= rules.LONGEST]


def _literal(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
