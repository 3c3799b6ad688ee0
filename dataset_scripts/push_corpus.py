# /// script
# requires-python = ">=3.11"
# dependencies = ["sgd-hf[train]"]
# ///
"""The corpus on the Hub, before any model was trained on it: the data set that `sgd build` wrote, with its card.

    python dataset_scripts/push_corpus.py --data runs/corpus/data --org ORG --dry-run      what would be there, and what would change
    python dataset_scripts/push_corpus.py --data runs/corpus/data --org ORG                to a pull request, verified, merged, tagged

Repeat the command after an interruption. A release of a trained run (`sgd release`) holds the same data set.
"""

import argparse
from pathlib import Path

from sgd_hf.core.errors import guarded
from sgd_hf.release.bundle import corpus
from sgd_hf.release.hub import preview, publish


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="what `sgd build` wrote")
    parser.add_argument("--org", required=True, metavar="ORG")
    parser.add_argument("--tag", default="v1.0.0", metavar="TAG")
    parser.add_argument("--public", action="store_true", help="make the repository public at the end (default: it is private)")
    parser.add_argument("--dry-run", action="store_true")
    a = parser.parse_args()
    artifact = corpus(a.data, a.data.with_name("release"), a.org)
    if a.dry_run:
        preview([artifact], a.tag, print)
    else:
        publish([artifact], a.tag, lambda artifact, commits: None, print, a.public)


if __name__ == "__main__":
    guarded(main)
