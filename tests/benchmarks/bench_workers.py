"""Two workers against one: the same episodes, in turns, without a model, so that the simulator is all there is.

Each run starts its own JVMs, which counts. Prints one JSON line last: ``ratio`` is seconds with one worker over
seconds with two.

    python tests/benchmarks/bench_workers.py [--rounds N] [--per-task N]
"""

import argparse
import json
import os
import time

from sgd_hf.evaluation.arms import arm
from sgd_hf.evaluation.rollouts import play_all
from sgd_hf.scienceworld.protocols import Protocol, first

TASKS = ("find-plant", "boil", "grow-plant", "use-thermometer", "inclined-plane-determine-angle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--per-task", type=int, default=6, help="train episodes of each of five tasks")
    a = parser.parse_args()
    episodes = first("train", a.per_task, TASKS)
    protocol = Protocol("bench", episodes, limit=400)
    seconds = {1: 0.0, 2: 0.0}
    for number in range(a.rounds):
        for workers in (1, 2) if number % 2 else (2, 1):
            began = time.perf_counter()
            rollouts = list(play_all(episodes, arm("do-nothing"), protocol, workers))
            took = time.perf_counter() - began
            seconds[workers] += took
            steps = sum(len(r.steps) for r in rollouts)
            print(f"{workers} worker(s): {len(rollouts)} episodes, {steps} steps, {took:.1f} s", flush=True)
    print(json.dumps({
        "benchmark": "workers", "ratio": round(seconds[1] / seconds[2], 2), "episodes": a.rounds * len(episodes), "steps": a.rounds * steps,
        "seconds": {str(workers): round(took, 2) for workers, took in seconds.items()}, "cores": os.cpu_count(), "load": os.getloadavg()[0],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
