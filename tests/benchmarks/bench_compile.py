"""Tokens a second of an adapter's training with its layers compiled, against the same rows without, by turns.

Both learn the recorded episodes by a recipe's own keys, in one process and with one thread. Of each training the rate is
the median of what it logs after its first ``--skip`` steps, in which layers are compiled; ``before`` is the seconds that
those took. JSON last; ``ratio`` is compiled by plain.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_compile.py [--recipe recipes/smollm2-135m/lora-flat.yaml] [--steps 60] [--rounds 2]
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import yaml
from bench_train import data_in

from sgd_hf.core.assets import asset
from sgd_hf.training.recipe import read_keys, read_recipe
from sgd_hf.training.rows import learnt_rows
from sgd_hf.training.trainer import sft_trainer


def rate(recipe: Path, data: Path, out: Path, skip: int) -> tuple[float, float]:
    """Tokens a second after the first ``skip`` steps, and the seconds of those."""
    student, args = read_recipe(recipe, str(data), out)
    sets = {split: rows.select_columns(["messages"]) for split, rows in learnt_rows(data, student).items()}
    trainer, _ = sft_trainer(student, args, sets, (), [])
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "tokens_per_second" in entry]
    first = [entry for entry in logs if entry["step"] <= skip]
    return statistics.median(entry["tokens_per_second"] for entry in logs[len(first) :]), first[-1]["train_runtime"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", type=Path, default=asset("recipes", "smollm2-135m", "lora-flat.yaml"))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--skip", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    rates: dict[str, list[float]] = {"plain": [], "compiled": []}
    before: dict[str, list[float]] = {"plain": [], "compiled": []}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        data = data_in(root)
        for turn in range(given.rounds):
            for name in rates:
                recipe = root / f"{name}.yaml"
                keys = read_keys(given.recipe) | {
                    "max_steps": given.steps,
                    "eval_strategy": "no",
                    "save_strategy": "no",
                    "logging_steps": 5,
                }
                recipe.write_text(yaml.safe_dump(keys | {"compile_layers": name == "compiled"}))
                found, took = rate(recipe, data, root / f"{name}-{turn}", given.skip)
                rates[name].append(found)
                before[name].append(took)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    told = {"tokens_per_second": rates, "before": before, "median": medians, "ratio": medians["compiled"] / medians["plain"]}
    print(json.dumps({"benchmark": "compile", "recipe": given.recipe.name, "steps": given.steps, **told}))


if __name__ == "__main__":
    main()
