# /// script
# requires-python = ">=3.11"
# dependencies = ["sgd-hf[java,teacher]"]
# ///
"""Gold paths cut into sub-goals by a language model, on a machine with a GPU or as a job.

    python dataset_scripts/annotate_subgoals.py --model Qwen/Qwen3-32B --out runs/qwen3               collects first
    python dataset_scripts/annotate_subgoals.py --model Qwen/Qwen3-32B --out runs/qwen3 --gold ORG/DATASET --gold-revision v1.0.0

On several machines that share --out, collect once (`sgd collect`), give each that folder as --gold and its `--shard i/n`,
and when all are done repeat the command without --shard, which merges the shares by key. Every step resumes: repeat
the command after an interruption. vLLM comes into an environment of its own the first time (`sgd doctor --make-vllm-env`).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from sgd_hf.core.errors import InputError, guarded
from sgd_hf.core.records import HUB_SPLIT, SPLITS, GoldPath, from_row, to_row
from sgd_hf.core.store import Store
from sgd_hf.corpus.annotate import annotate
from sgd_hf.corpus.appoint import appoint
from sgd_hf.corpus.collect import collect
from sgd_hf.corpus.quality import print_summary
from sgd_hf.doctor import make_vllm_environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, metavar="ID", help="a Hub id or a folder that vLLM serves")
    parser.add_argument("--revision", metavar="REV", help="of the model: a commit or tag")
    parser.add_argument("--template", default="grounded", help="grounded (default), paper or labels")
    parser.add_argument(
        "--server-flags", metavar="FLAGS", help="of `vllm serve`, written with =, such as --server-flags='--tensor-parallel-size 4'"
    )
    parser.add_argument("--concurrency", type=int, default=128, metavar="N", help="questions open at once (default: 128)")
    parser.add_argument("--gold", metavar="DIR_OR_ID", help="what `sgd collect` wrote, or a data set's id (default: collect them here)")
    parser.add_argument("--gold-revision", metavar="REV", help="of the data set: a commit or tag")
    parser.add_argument("--split", default="train", choices=SPLITS)
    parser.add_argument("--per-task", type=int, metavar="N", help="collect the first N variations of each task (default: all)")
    parser.add_argument("--shard", type=share, metavar="I/N", help="annotate the I-th of N shares; without it, merge the shares in --out")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    a = parser.parse_args()
    if a.shard and not (a.gold and Path(a.gold).is_dir()):
        raise InputError("--shard needs --gold with a folder that is complete; run `sgd collect` once, then start the shares.")
    gold = Path(a.gold) if a.gold and Path(a.gold).is_dir() else a.out / "gold" / a.split
    if a.gold and gold != Path(a.gold):
        download(a.gold, a.gold_revision, a.split, gold)
    elif not a.gold:
        collect(gold, a.split, per_task=a.per_task)
    make_vllm_environment()
    teacher = appoint(
        "vllm", a.template, model=a.model, revision=a.revision, server_flags=a.server_flags, concurrency=a.concurrency
    )  # fmt: skip
    print_summary(annotate(gold, a.out / "annotations" / a.split, teacher, repairs=2, shard=a.shard))


def download(dataset: str, revision: str | None, split: str, out: Path) -> None:
    """The gold paths of a released data set as the folder that `sgd collect` would have written."""
    import datasets

    def paths() -> Iterator[GoldPath]:
        try:
            rows = datasets.load_dataset(dataset, "gold_paths", revision=revision, split=HUB_SPLIT[split])
        except (FileNotFoundError, ValueError, ConnectionError) as error:
            raise InputError(f"{dataset} cannot be loaded as gold paths ({str(error).splitlines()[0]}); see --gold.") from None
        return (from_row(GoldPath, row) for row in rows)

    with Store(out, "collect", {"dataset": dataset, "revision": revision, "split": split}) as store:
        if "summary" in store.manifest:
            return
        for gold in paths():
            if gold.key not in store.keys:
                store.append(gold.key, {"gold": to_row(gold), "reason": ""})
        store.finish({"accepted": len(store.keys)})


def share(text: str) -> tuple[int, int]:
    index, count = map(int, text.split("/"))
    if not 1 <= index <= count:
        raise ValueError(text)
    return index, count


if __name__ == "__main__":
    guarded(main)
