# /// script
# requires-python = ">=3.11"
# dependencies = ["sgd-hf[train]"]
# ///
"""The rollouts of evaluations on the Hub, without a release of the models that played them.

    python dataset_scripts/push_rollouts.py runs/evaluation/* --id ORG/NAME --dry-run
    python dataset_scripts/push_rollouts.py runs/evaluation/* --id ORG/NAME

All folders must be of one protocol. Repeat the command after an interruption.
"""

import argparse
from pathlib import Path

from sgd_hf.core.errors import guarded
from sgd_hf.release.bundle import evaluations
from sgd_hf.release.hub import preview, publish


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="what `sgd evaluate` wrote, an arm each")
    parser.add_argument("--id", required=True, metavar="ORG/NAME")
    parser.add_argument("--out", type=Path, default=Path("runs/rollouts"), metavar="DIR", help="where the files are staged")
    parser.add_argument("--tag", default="v1.0.0", metavar="TAG")
    parser.add_argument("--public", action="store_true", help="make the repository public at the end (default: it is private)")
    parser.add_argument("--dry-run", action="store_true")
    a = parser.parse_args()
    artifact = evaluations(a.folders, a.out, a.id)
    if a.dry_run:
        preview([artifact], a.tag, print)
    else:
        publish([artifact], a.tag, lambda artifact, commits: None, print, a.public)


if __name__ == "__main__":
    guarded(main)
