"""Replays trajectories that somebody else recorded, and says how many reach the recorded final score.

The independent check of the environment: the recording was made with the simulator's own Python wrapper, and ours
plays its actions with the lean step. Texts may differ where the recording JVM had random identity hashes.

    python tests/benchmarks/check_recorded.py gold_train.jsonl.gz [MORE.jsonl.gz …] [--count 60] [--longest 60]

A line is one trajectory: task, variation, simplification, steps [{action, obs, score, done}], final_score. The ones
to replay are spread over the tasks and, within a task, over its file. Prints one JSON line last.
"""

import argparse
import gzip
import json
import re
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from sgd_hf.scienceworld import tasks
from sgd_hf.scienceworld.environment import AMBIGUOUS, ScienceWorld, play
from sgd_hf.scienceworld.workers import Pool

SKIPPED = ("10-1", "10-2")
"""slow: half a minute a trajectory"""


def read(path: Path, longest: int) -> dict[str, list[dict[str, Any]]]:
    """The trajectories of each task that are not longer than ``longest`` actions up to the first done."""
    found = defaultdict(list)
    with gzip.open(path, "rt") as file:
        for line in file:
            row = json.loads(line)
            end = next((i for i, step in enumerate(row["steps"], 1) if step["done"]), len(row["steps"]))
            row["steps"] = row["steps"][:end]
            if len(row["steps"]) <= longest and tasks.find(row["task"]).id not in SKIPPED:
                found[row["task"]].append(row)
    return found


def spread(by_task: dict[str, list[dict[str, Any]]], count: int) -> list[dict[str, Any]]:
    """``count`` trajectories, one more of each task in turn, evenly spaced within a task's list."""
    shares = Counter()
    while sum(shares.values()) < min(count, sum(map(len, by_task.values()))):
        for task in sorted(by_task):
            shares[task] += shares[task] < len(by_task[task]) and sum(shares.values()) < count
    return [by_task[task][i * len(by_task[task]) // share] for task, share in sorted(shares.items()) for i in range(share)]


def actions(row: dict[str, Any]) -> tuple[list[str], int]:
    """What to send, and how many answers other than "0" the recording gave to an ambiguity question: the environment
    answers "0" within the step, so recorded answers are left out."""
    before = ["", *(step["obs"] for step in row["steps"])]
    answers = [bool(re.fullmatch(r"\d+", step["action"])) and before[i].startswith(AMBIGUOUS) for i, step in enumerate(row["steps"])]
    sent = [step["action"] for step, answer in zip(row["steps"], answers, strict=True) if not answer]
    return sent, sum(answer and step["action"] != "0" for step, answer in zip(row["steps"], answers, strict=True))


def score(env: ScienceWorld, row: dict[str, Any]) -> tuple[int, int]:
    """The score that a replay ends at, and how many of its observations are those recorded, where they line up."""
    _, steps = play(env, tasks.episode(row["task"], row["variation"], row["simplification"]), actions(row)[0])
    recorded = [step["obs"] for step in row["steps"]]
    return steps[-1].score, sum(a.observation == b for a, b in zip(steps, recorded, strict=False)) if len(steps) == len(recorded) else 0


def main() -> None:
    from check_recorded import score  # by this name a worker can import it

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=60, help="trajectories of each file (default: 60)")
    parser.add_argument("--longest", type=int, default=60, help="leave out trajectories with more actions (default: 60)")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    total, seen = Counter(), set()
    begin = time.perf_counter()
    with Pool(arguments.workers) as pool:
        for path in arguments.paths:
            rows = spread(read(path, arguments.longest), arguments.count)
            counts = Counter(trajectories=len(rows), same_score=0, same_text=0, other_answers=0, actions=0)
            seen |= {row["task"] for row in rows}
            for row, outcome in pool.run(score, rows):
                end, same = outcome if isinstance(outcome, tuple) else (outcome, 0)
                counts["same_score"] += end == row["final_score"]
                counts["same_text"] += same == len(row["steps"])
                counts["other_answers"] += actions(row)[1]
                counts["actions"] += len(row["steps"])
                if end != row["final_score"]:
                    print(f"{path.name} {row['task']}/{row['variation']}: recorded {row['final_score']}, replayed {end}")
            print(f"{path.name}: {dict(counts)}", flush=True)
            total.update(counts)
    print(json.dumps({"benchmark": "recorded", "tasks": len(seen), **total, "seconds": round(time.perf_counter() - begin, 1)}))


if __name__ == "__main__":
    main()
