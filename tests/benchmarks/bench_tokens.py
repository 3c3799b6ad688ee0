"""What an epoch costs in tokens: a segment as one conversation with a turn an action (the style ``turns``), against one
row an action with the whole state each time (the style ``paper``), on the same annotated trajectories.

Both are counted by the same tokenizer as the students read them, in the same chat format, with the same budget, so that
nothing but the style differs; ``ratio`` is paper's tokens / turns', of planner and executor together. The executor and
the flat baseline learn exactly the same answers in both (``learnt``); the planner is asked before every action in the
paper's style, at the sub-goals' ends in the other. Prints one JSON line last.

    python tests/benchmarks/bench_tokens.py GOLD [--tokenizer MODEL] [--per-task N]
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from sgd_hf.core.prompts import BUDGET, STYLES
from sgd_hf.core.records import Annotation
from sgd_hf.corpus.annotate import annotation
from sgd_hf.corpus.build import executor_rows, flat_rows, planner_rows
from sgd_hf.corpus.collect import read_gold
from sgd_hf.corpus.teachers import RuleTeacher, written
from sgd_hf.training.student import chat_template, scratch_tokenizer

MAKERS = {"planner": planner_rows, "executor": executor_rows, "flat": flat_rows}


def cut(gold: Path, per_task: int | None) -> list[Annotation]:
    """The first paths of each task, cut by the rules."""
    taken: Counter[str] = Counter()
    golds = []
    for path in read_gold(gold):
        taken[path.episode.task] += 1
        if per_task is None or taken[path.episode.task] <= per_task:
            golds.append(path)
    teacher = RuleTeacher()
    found = [annotation(path, written(path), teacher) for path in golds]
    return [one for one in found if one.accepted]


def counted(annotations: list[Annotation], style: str, tokenizer: Any) -> dict[str, dict[str, int]]:
    """Rows, tokens and learnt tokens of an epoch, by role."""
    found: dict[str, dict[str, int]] = {}
    for role, rows in MAKERS.items():
        found[role] = {"rows": 0, "tokens": 0, "learnt": 0}
        for one in annotations:
            conversations = [messages for messages, _, _ in rows(one, BUDGET, STYLES[style])]
            answers = [m["content"] for messages in conversations for m in messages if m["role"] == "assistant"]
            found[role]["rows"] += len(conversations)
            found[role]["tokens"] += sum(map(len, tokenizer.apply_chat_template(conversations, return_dict=False)))
            found[role]["learnt"] += sum(len(ids) + 1 for ids in tokenizer(answers, add_special_tokens=False)["input_ids"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gold", type=Path, help="what `sgd collect` wrote")
    parser.add_argument("--tokenizer", help="folder or Hub id (default: a byte-level BPE of 8192 entries, trained on these rows)")
    parser.add_argument("--per-task", type=int, metavar="N", help="the first N paths of each task (default: all)")
    arguments = parser.parse_args()
    annotations = cut(arguments.gold, arguments.per_task)
    if arguments.tokenizer:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
    else:
        some = annotations[:: max(1, len(annotations) // 100)]
        tokenizer = scratch_tokenizer((m["content"] for a in some for rows in MAKERS.values() for row in rows(a) for m in row[0]), 8192)
    tokenizer.chat_template = chat_template()
    tokens = {style: counted(annotations, style, tokenizer) for style in STYLES}
    for role in MAKERS:
        for style in STYLES:
            print(f"{role:9} {style:6} {tokens[style][role]}", flush=True)

    both = {style: tokens[style]["planner"]["tokens"] + tokens[style]["executor"]["tokens"] for style in STYLES}
    print(
        json.dumps(
            {
                "episodes": len(annotations),
                "actions": sum(len(a.gold.steps) for a in annotations),
                "tokenizer": arguments.tokenizer or "scratch-8192",
                "tokens": tokens,
                "ratio_by_role": {r: round(tokens["paper"][r]["tokens"] / tokens["turns"][r]["tokens"], 2) for r in MAKERS},
                "ratio": round(both["paper"] / both["turns"], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
