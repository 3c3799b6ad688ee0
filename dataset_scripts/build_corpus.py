# /// script
# requires-python = ">=3.11"
# dependencies = ["sgd-hf[java]"]
# ///
"""The whole corpus in one go: gold paths of every split, cut by the rule teacher, as a data set.

    python dataset_scripts/build_corpus.py --out runs/corpus                      all 7,207 episodes: hours
    python dataset_scripts/build_corpus.py --out runs/corpus --per-task 10        minutes

Every stage resumes: repeat the command after an interruption.
"""

import argparse
from pathlib import Path

from sgd_hf.core.errors import guarded
from sgd_hf.core.records import SPLITS
from sgd_hf.corpus.annotate import annotate
from sgd_hf.corpus.build import build, print_summary
from sgd_hf.corpus.collect import collect
from sgd_hf.corpus.teachers import RuleTeacher


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--tasks", nargs="+", default=(), metavar="TASK", help="names or paper ids (default: all 30)")
    parser.add_argument("--per-task", type=int, metavar="N", help="the first N variations of each task and split (default: all)")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    a = parser.parse_args()
    for split in SPLITS:
        collect(a.out / "gold" / split, split, a.tasks, a.per_task, a.workers)
        annotate(a.out / "gold" / split, a.out / "annotations" / split, RuleTeacher())
    print_summary(build([a.out / "annotations" / split for split in SPLITS], a.out / "data"))


if __name__ == "__main__":
    guarded(main)
