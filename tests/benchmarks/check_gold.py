"""Replays collected gold paths in two fresh JVMs each and compares every text with the recording.

    sgd collect --split train --per-task 4 --out runs/gold/train       (and dev, test)
    python tests/benchmarks/check_gold.py runs/gold/train runs/gold/dev runs/gold/test

Prints one JSON line last: paths, steps, and how many replays differed in score or in any text.
"""

import argparse
import json
import time
from pathlib import Path

from sgd_hf.core.records import GoldPath
from sgd_hf.corpus.collect import read_gold
from sgd_hf.scienceworld.environment import ScienceWorld, play
from sgd_hf.scienceworld.workers import Pool


def differences(env: ScienceWorld, gold: GoldPath) -> list[str]:
    """What a replay shows otherwise than the recording."""
    start, steps = play(env, gold.episode, gold.actions)
    found = [name for name in ("look", "inventory", "description") if start[name] != getattr(gold, name)]
    found += [f"step {i}" for i, (a, b) in enumerate(zip(steps, gold.steps, strict=False)) if a != b]
    return found + ["length"] * (len(steps) != len(gold.steps)) + ["score"] * (steps[-1].score != gold.oracle_score)


def main() -> None:
    from check_gold import differences  # by this name a worker can import it

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    golds = [gold for folder in parser.parse_args().folders for gold in read_gold(folder)]
    begin, differing = time.perf_counter(), []
    for number in range(2):
        with Pool(1) as pool:
            for gold, found in pool.run(differences, golds):
                if found:
                    differing.append(f"{gold.key} in JVM {number}: {found if isinstance(found, list) else str(found)}")
    for line in differing:
        print(line)
    tasks = len({gold.episode.task for gold in golds})
    steps = sum(len(gold.steps) for gold in golds)
    print(
        json.dumps(
            {
                "paths": len(golds),
                "tasks": tasks,
                "steps": steps,
                "replays": 2 * len(golds),
                "differing": len(differing),
                "seconds": round(time.perf_counter() - begin, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
