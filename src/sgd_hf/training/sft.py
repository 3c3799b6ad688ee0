"""Supervised fine-tuning of one causal student by TRL's `SFTTrainer`, loss on the assistant's turns only.

Guarantee: a finished folder holds a checkpoint that plain transformers load (safetensors, tokenizer, chat
template) and ``sgd.json``, which says what it was trained for and how it went; before training each row is proved to fit ``max_length``, so
nothing is cut and no label is lost. A killed run continues from its last checkpoint when the command is repeated.

    accelerate launch --config_file recipes/accelerate/cpu.yaml -m sgd_hf.training.sft \\
        --config recipes/tiny/planner.yaml --data runs/data --out runs/planner
"""

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError, guarded
from sgd_hf.core.store import FORMAT, read_manifest, versions, write_json
from sgd_hf.corpus.build import ROLES
from sgd_hf.training.recipe import read_recipe
from sgd_hf.training.student import make_student

PROGRESS = "progress.json"


def train(config: Path, data: str, out: Path) -> dict[str, Any]:
    """Run a recipe on a data set (a folder that ``sgd build`` wrote); returns the summary."""
    origin = read_manifest(data, "build", complete=True)
    student, args = read_recipe(config, data, out)
    identity = {"recipe": config.read_text(), "data": origin["config"], "rows": origin["summary"]["rows"]}
    manifest = out / "manifest.json"
    if manifest.exists():
        done = read_manifest(out, "train")
        if done["config"] != identity:
            raise InputError(f"{out} was trained by another recipe or on other data; choose another --out.")
        if "summary" in done:
            return done["summary"]

    from datasets import load_dataset
    from transformers import TrainerCallback, set_seed
    from trl import SFTTrainer

    set_seed(args.seed)
    if "train" not in origin["summary"]["rows"][student.role]:
        raise InputError(f"{data} has no train rows; build it from annotations of train variations.")
    rows = load_dataset(data, student.role)
    texts = (m["content"] for role in ROLES for row in load_dataset(data, role, split="train") for m in row["messages"])
    model, tokenizer = make_student(student, texts, args.max_length)
    sets = {split: rows[split].select_columns(["messages"]) for split in ("train", "validation") if split in rows}
    longest = max(_longest(part, tokenizer) for part in sets.values())
    if longest > args.max_length:
        raise InputError(
            f"A {student.role} row has {longest} tokens and the recipe's max_length is {args.max_length}; "
            "raise max_length or build the data with a smaller --budget."
        )
    out.mkdir(parents=True, exist_ok=True)
    begun = {"stage": "train", "format": FORMAT, "config": identity, "versions": versions()}
    write_json(manifest, begun)

    class Watch(TrainerCallback):
        """Times the steps without the loading, and says in a file how far the run is, for whoever shows it."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.begin = time.monotonic()

        def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                write_json(out / PROGRESS, {"step": state.global_step, "of": state.max_steps, **state.log_history[-1]})

    watch = Watch()
    trainer = SFTTrainer(
        model=model,
        args=args,
        processing_class=tokenizer,
        train_dataset=sets["train"],
        eval_dataset=sets.get("validation") if args.eval_strategy != "no" else None,
        callbacks=[watch],
    )
    trainer.train(resume_from_checkpoint=_last_checkpoint(out))
    seconds = time.monotonic() - watch.begin
    summary = _summary(trainer, student.role, longest, seconds)
    if trainer.is_world_process_zero():
        trainer.save_model(str(out))
        for leftover in ("training_args.bin", PROGRESS):
            (out / leftover).unlink(missing_ok=True)
        write_json(out / "sgd.json", {"role": student.role, **_purpose(origin), "training": summary, "versions": begun["versions"]})
        for checkpoint in out.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
        write_json(manifest, {**begun, "summary": summary})
    return summary


def _last_checkpoint(out: Path) -> str | None:
    """The last checkpoint that is whole: the trainer writes its state into it last."""
    whole = [state.parent for state in out.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.split("-")[1]))) if whole else None


def _purpose(data: dict[str, Any]) -> dict[str, Any]:
    """What an agent must know of the data that its modules learned from."""
    return {
        "prompt_version": data["config"]["prompt_version"],
        "budget": data["config"]["budget"],
        "teacher": ", ".join(data["summary"]["teacher"]),
    }


def _longest(rows: Any, tokenizer: Any) -> int:
    return max(len(tokenizer.apply_chat_template(row["messages"], return_dict=False)) for row in rows)


def _summary(trainer: Any, role: str, longest: int, seconds: float) -> dict[str, Any]:
    history = trainer.state.log_history
    losses = [[entry["step"], entry["loss"]] for entry in history if "loss" in entry]
    evals = [entry for entry in history if "eval_loss" in entry]
    return {
        "role": role,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "steps": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "train_rows": len(trainer.train_dataset),
        "train_tokens": int(next((entry["num_tokens"] for entry in reversed(history) if "num_tokens" in entry), 0)),
        "longest_row": longest,
        "losses": losses,
        "final_loss": losses[-1][1] if losses else None,
        "dev_loss": evals[-1]["eval_loss"] if evals else None,
        "dev_token_accuracy": evals[-1].get("eval_mean_token_accuracy") if evals else None,
        "seconds": seconds,
        "seed": trainer.args.seed,
    }


def main() -> None:
    """The entry point of ``accelerate launch -m sgd_hf.training.sft``; `sgd train` is the same."""
    parser = argparse.ArgumentParser(prog="sgd_hf.training.sft", description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, required=True, help="a recipe, such as recipes/tiny/planner.yaml")
    parser.add_argument("--data", required=True, help="the folder that `sgd build` wrote")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint's folder")
    arguments = parser.parse_args()
    guarded(lambda: train(arguments.config, arguments.data, arguments.out))


if __name__ == "__main__":
    main()
