"""`tests/data/gold_mini.jsonl`: a short recorded gold path of each task, as `sgd collect` wrote them."""

import json
from pathlib import Path

from sgd_hf.core.records import GoldPath, from_row

GOLD_MINI = Path(__file__).parents[1] / "data" / "gold_mini.jsonl"


def gold_paths() -> list[GoldPath]:
    return [from_row(GoldPath, json.loads(line)["gold"]) for line in GOLD_MINI.read_text().splitlines()]
