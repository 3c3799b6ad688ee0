"""Whether one JVM keeps its memory: many episodes, played along recorded paths, and its resident memory after each.

The heap is capped, but the JVM touches more of it as long as the collector lets it, so memory first rises towards the
cap: those episodes are the warm-up. A leak would go on after it. Prints one JSON line last: ``slope`` is in MB an
episode, by least squares after the warm-up, and ``ok`` says whether it is under the bar of 0.2.

    python tests/benchmarks/check_memory.py [--episodes N] [--warm-up N] [--steps N]
"""

import argparse
import json
import os
import re
import sys
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from sgd_hf.scienceworld.environment import JVM_FLAGS, ScienceWorld

sys.path.insert(0, str(Path(__file__).parents[1] / "corpus"))
from recorded import gold_paths  # noqa: E402

BAR = 0.2


def resident(pid: int) -> float:
    """MB of physical memory that a process holds."""
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def slope(values: list[float]) -> float:
    """Of the line through values one apart."""
    return float(np.polyfit(range(len(values)), values, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--warm-up", type=int, default=20, help="episodes that are left out of the slope (default: 20)")
    parser.add_argument("--steps", type=int, default=40, help="actions of an episode at most (default: 40)")
    a = parser.parse_args()
    began = time.perf_counter()
    memory, steps = [], 0
    with ScienceWorld() as env:
        for path in islice(cycle(gold_paths()), a.episodes):
            env.reset(path.episode)
            for action in path.actions[: a.steps]:
                steps += 1
                if any(env.step(action)[2:4]):
                    break
            memory.append(resident(env.pid))
            if len(memory) % 20 == 0:
                print(f"{len(memory)} episodes, {memory[-1]:.0f} MB", flush=True)
    halves = memory[a.warm_up :], memory[len(memory) // 2 :]
    print(json.dumps({
        "benchmark": "memory", "slope": round(slope(halves[0]), 3), "slope_of_second_half": round(slope(halves[1]), 3), "bar": BAR,
        "ok": slope(halves[0]) < BAR, "episodes": len(memory), "warm_up": a.warm_up, "steps": steps, "jvm": JVM_FLAGS,
        "mb": {str(n): round(memory[n - 1], 1) for n in (1, a.warm_up, len(memory) // 2, len(memory)) if n},
        "seconds": round(time.perf_counter() - began, 1), "load": os.getloadavg()[0],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
