"""The lean step against the simulator's stock `ScienceWorldEnv.step`, on the same gold paths in one run.

Both JVMs run with the same flags and take turns, episode by episode, each going first half of the time. Loading is
not timed, nor is a first round that warms both up (a cold JVM interprets; an evaluation plays in a warm one). Prints
one JSON line last: ``ratio`` is stock seconds / lean seconds, over all and per task.

    python tests/benchmarks/bench_step.py [--rounds N]
"""

import argparse
import json
import os
import time

from sgd_hf.scienceworld import tasks
from sgd_hf.scienceworld.environment import AMBIGUOUS, JVM_FLAGS, ScienceWorld

SHORT = ("find-non-living-thing", "lifespan-longest-lived")
MEDIUM = ("use-thermometer", "test-conductivity")
LONG = ("boil", "grow-plant", "inclined-plane-determine-angle")


def lean(env: ScienceWorld, episode, actions) -> tuple[float, int, int]:
    """Seconds in steps, number of steps, final score."""
    env.reset(episode)
    began = time.perf_counter()
    count = 0
    terminated = False
    while not terminated and count < len(actions):
        *_, terminated, _, info = env.step(actions[count])
        count += 1
    return time.perf_counter() - began, count, info["score"]


def stock(env, episode, actions) -> tuple[float, int, int]:
    """As `lean`, with the stock wrapper; it must answer the ambiguity questions itself."""
    env.load(episode.task, episode.variation, episode.simplification)
    env.reset()
    began = time.perf_counter()
    count = 0
    done = False
    while not done and count < len(actions):
        observation, _, done, info = env.step(actions[count])
        if observation.startswith(AMBIGUOUS):
            _, _, done, info = env.step("0")
        count += 1
    return time.perf_counter() - began, count, info["score"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2, help="timed rounds over the set")
    rounds = parser.parse_args().rounds
    os.environ["JAVA_TOOL_OPTIONS"] = JVM_FLAGS  # the stock wrapper takes no JVM flags
    from scienceworld import ScienceWorldEnv

    theirs = ScienceWorldEnv(envStepLimit=10**9)
    figures = {}
    same = True
    with ScienceWorld() as oracle, ScienceWorld() as ours:
        paths = [(episode, oracle.gold_actions(episode)) for episode in (tasks.episode(name, 0) for name in SHORT + MEDIUM + LONG)]
        oracle.close()
        for number, (episode, actions) in enumerate(paths * (1 + rounds)):
            order = (lean, stock) if number % 2 else (stock, lean)
            result = {run: run(ours if run is lean else theirs, episode, actions) for run in order}
            same &= result[lean][1:] == result[stock][1:]
            if number < len(paths):
                continue
            row = figures.setdefault(episode.task, {"steps": 0, "lean_s": 0.0, "stock_s": 0.0})
            row["steps"] += result[lean][1]
            row["lean_s"] += result[lean][0]
            row["stock_s"] += result[stock][0]
            print(f"{episode.key}: {result[lean][1]} steps, lean {result[lean][0]:.2f} s, stock {result[stock][0]:.2f} s", flush=True)
    theirs.close()
    total = {key: sum(row[key] for row in figures.values()) for key in ("steps", "lean_s", "stock_s")}
    per_task = {
        name: {
            "steps": row["steps"],
            "lean_ms": round(1000 * row["lean_s"] / row["steps"], 2),
            "stock_ms": round(1000 * row["stock_s"] / row["steps"], 2),
            "ratio": round(row["stock_s"] / row["lean_s"], 2),
        }
        for name, row in figures.items()
    }
    print(json.dumps({
        "benchmark": "step", "ratio": round(total["stock_s"] / total["lean_s"], 2), "steps": total["steps"],
        "lean_ms": round(1000 * total["lean_s"] / total["steps"], 2), "stock_ms": round(1000 * total["stock_s"] / total["steps"], 2),
        "scores_equal": same, "tasks": per_task,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
