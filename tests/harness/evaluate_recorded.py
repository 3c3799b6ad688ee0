"""Child program of the kill test: plays the shortest recorded episodes by their own gold paths.

python evaluate_recorded.py GOLD OUT
"""

import sys
from pathlib import Path

from sgd_hf.corpus.collect import read_gold
from sgd_hf.evaluation.arms import arm
from sgd_hf.evaluation.rollouts import evaluate
from sgd_hf.scienceworld.protocols import Protocol


def recorded(gold, count=9, **limits):
    """A protocol of the shortest recorded episodes."""
    paths = sorted(read_gold(gold), key=lambda path: (len(path.steps), path.key))
    return Protocol("recorded", tuple(path.episode for path in paths[:count]), **limits)


if __name__ == "__main__":
    gold = Path(sys.argv[1])
    evaluate(Path(sys.argv[2]), recorded(gold), arm("oracle", gold=gold))
