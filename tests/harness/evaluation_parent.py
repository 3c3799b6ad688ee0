"""A program that evaluates for ever, to be killed: `evaluation_parent.py OUT` stores an episode of do-nothing every second or so."""

import sys
from pathlib import Path

from sgd_hf.evaluation.arms import arm
from sgd_hf.evaluation.rollouts import evaluate
from sgd_hf.scienceworld.protocols import Protocol, first

if __name__ == "__main__":
    evaluate(Path(sys.argv[1]), Protocol("long", first("train", 100, ["find-plant"]), limit=40), arm("do-nothing"), workers=2)
