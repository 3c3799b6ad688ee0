"""Tokens a second of `sgd train` against a bare TRL script on the same rows, model and arguments, by turns.

Both are timed from the call of ``train`` to its end, in one process and with one thread; what a recipe adds (exact
match at evaluations, tokens a second in the logs, the progress file) is on our side. JSON last; ``ratio`` is ours by
theirs, of the medians.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_train.py [--steps 10] [--rounds 3]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "corpus"))
from recorded import gold_paths

from sgd_hf.core.assets import asset
from sgd_hf.core.records import to_row
from sgd_hf.core.store import Store
from sgd_hf.corpus.annotate import annotate
from sgd_hf.corpus.build import build
from sgd_hf.corpus.teachers import RuleTeacher
from sgd_hf.training.recipe import read_recipe
from sgd_hf.training.rows import learnt_rows
from sgd_hf.training.sft import train


def data_in(root: Path) -> Path:
    """A data set of the recorded episodes."""
    with Store(root / "gold", "collect", {"split": "train"}) as store:
        for gold in gold_paths():
            store.append(gold.key, {"gold": to_row(gold), "reason": ""})
        store.finish({"accepted": len(gold_paths())})
    annotate(root / "gold", root / "annotations", RuleTeacher())
    build([root / "annotations"], root / "data")
    return root / "data"


def ours(recipe: Path, data: Path, out: Path) -> float:
    """Tokens a second of `sgd train`."""
    summary = train(recipe, str(data), out)
    return summary["train_tokens"] / summary["seconds"]


def bare(recipe: Path, data: Path, out: Path, trained: Path) -> float:
    """Tokens a second of TRL's trainer, given what `sgd train` gave it: rows, arguments, a model of the same shape."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from trl import SFTTrainer

    student, args = read_recipe(recipe, str(data), out)
    args.include_num_input_tokens_seen = "no"
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(trained)),
        args=args,
        processing_class=AutoTokenizer.from_pretrained(trained),
        train_dataset=learnt_rows(data, student)["train"].select_columns(["messages"]),
    )
    begin = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - begin
    return max(entry.get("num_tokens", 0) for entry in trainer.state.log_history) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        data = data_in(root)
        keys = yaml.safe_load(asset("recipes", "tiny", "executor.yaml").read_text())
        keys |= {"max_steps": given.steps, "eval_strategy": "no", "save_strategy": "no", "logging_steps": 5}
        recipe = root / "executor.yaml"
        recipe.write_text(yaml.safe_dump(keys))
        train(recipe, str(data), root / "warm")
        rates: dict[str, list[float]] = {"ours": [], "bare": []}
        for turn in range(given.rounds):
            rates["ours"].append(ours(recipe, data, root / f"ours-{turn}"))
            rates["bare"].append(bare(recipe, data, root / f"bare-{turn}", root / "warm"))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    told = {"tokens_per_second": rates, "median": medians, "steps": given.steps, "ratio": medians["ours"] / medians["bare"]}
    print(json.dumps({"benchmark": "train", **told}))


if __name__ == "__main__":
    main()
