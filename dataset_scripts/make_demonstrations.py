"""The demonstrations of the ``paper`` template: of each task the first train path of a folder of gold paths that the
rules cut, as src/sgd_hf/corpus/asked/demonstrations.json.

    python dataset_scripts/make_demonstrations.py runs/gold/train
"""

import argparse
import json
from pathlib import Path

from sgd_hf.core.errors import guarded
from sgd_hf.corpus import templates
from sgd_hf.corpus.collect import read_gold
from sgd_hf.corpus.teachers import written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("gold", type=Path, metavar="DIR", help="what `sgd collect --split train` wrote")
    shown = {}
    for gold in read_gold(parser.parse_args().gold):
        if gold.episode.split == "train":
            shown.setdefault(gold.episode.task, demonstration(gold))
    path = Path(templates.__file__).parent / "asked" / "demonstrations.json"
    path.write_text(json.dumps(dict(sorted(shown.items())), indent=1, ensure_ascii=False) + "\n")


def demonstration(gold):
    return {"path": gold.key, "description": gold.description, "actions": gold.actions, "answer": written(gold)}


if __name__ == "__main__":
    guarded(main)
