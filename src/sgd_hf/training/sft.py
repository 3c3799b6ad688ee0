"""Supervised fine-tuning of one student by a recipe, loss on the assistant's turns only.

Guarantee: a finished folder holds a checkpoint that plain transformers load (safetensors, tokenizer, chat
template; for LoRA an adapter) and ``sgd.json``, which says what it was trained for and how it went; before training
each row is proved to fit ``max_length``, so nothing is cut and no label is lost. A killed run continues from its last
checkpoint when the command is repeated, on the same rows; a folder is finished when its manifest says so, and one training
at a time writes into it.

    accelerate launch --config_file recipes/accelerate/cpu.yaml -m sgd_hf.training.sft \\
        --config recipes/tiny/planner.yaml --data runs/data --out runs/planner
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError, guarded
from sgd_hf.core.store import FORMAT, LOCK, lock, read_manifest, versions, write_json
from sgd_hf.corpus.build import ROLES
from sgd_hf.training.recipe import Student, as_run, read_recipe
from sgd_hf.training.rows import data_folder, learnt_rows, united, variations_of

PROGRESS = "progress.json"


def train(
    config: Path,
    data: str,
    out: Path,
    score: Callable[[Path], dict[str, float]] | None = None,
    seed: int | None = None,
    adapter: str | None = None,
) -> dict[str, Any]:
    """Run a recipe on a data set (a folder that ``sgd build`` wrote, or its Hub id); returns the summary.

    ``score``: a function of a checkpoint's folder, called every ``score_steps`` of the recipe for a live score;
    ``seed`` and ``adapter``: in the place of the recipe's."""
    changes = {key: value for key, value in (("seed", seed), ("adapter", adapter)) if value is not None}
    folder, hub = data_folder(data)
    origin = read_manifest(folder, "build", complete=True)
    student, args = read_recipe(config, data, out, changes)
    files = sorted(path.relative_to(folder).as_posix() for role in student.roles for path in folder.glob(f"{role}/*.parquet"))
    identity = {"recipe": as_run(config, changes), "data": origin["config"], "rows": origin["summary"]["rows"], "files": files}
    manifest, leads = out / "manifest.json", args.process_index == 0
    # A folder of something else is refused before a lock is laid into it.
    if manifest.exists():
        read_manifest(out, "train")
    elif leads and _beyond(out):
        raise InputError(f"{out} holds files that are not of `sgd train`; choose an empty folder for --out.")
    with lock(out) if leads else nullcontext():
        done = read_manifest(out, "train") if manifest.exists() else {"config": identity}
        if done["config"] != identity and _beyond(out):
            raise InputError(f"{out} was trained by another recipe or on other data; choose another --out.")
        if done["config"] == identity and "summary" in done:
            if leads:
                _clear(out)
            return done["summary"]

        from transformers import EarlyStoppingCallback, set_seed

        from sgd_hf.training.trainer import LiveScore, Watch, sft_trainer

        set_seed(args.seed)
        if "train" not in origin["summary"]["rows"][student.roles[0]]:
            raise InputError(f"{data} has no train rows; build it from annotations of train variations.")

        watch = Watch(out / PROGRESS)
        callbacks = [watch, *([EarlyStoppingCallback(student.patience)] if student.patience else [])]
        sets = learnt_rows(folder, student)
        if args.eval_strategy != "no" and "validation" not in sets:
            raise InputError(
                f"{config} evaluates on dev rows and {data} has none to give; build it with annotations of dev variations too, "
                'or say `eval_strategy: "no"`.'
            )
        earlier = _earlier(student)
        episodes = united(earlier["episodes"], {split: variations_of(rows) for split, rows in sets.items()})
        sets = {split: rows.select_columns(["messages"]) for split, rows in sets.items()}
        try:
            if student.trainer == "seq2seq":
                from sgd_hf.training.seq2seq import seq2seq_trainer

                trainer, longest = seq2seq_trainer(student, args, sets, callbacks)
            else:
                trainer, longest = sft_trainer(student, args, sets, _texts(folder), callbacks)
        except (ValueError, RuntimeError) as error:  # modules that the model lacks, a tracker that is not installed
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise InputError(f"{config} cannot be trained: {reason}.") from None
        if score and student.score_steps:
            trainer.add_callback(LiveScore(trainer, score, student.score_steps))
        begun = {"stage": "train", "format": FORMAT, "config": identity, "versions": versions()}
        if leads:
            write_json(manifest, begun)
        trainer.train(resume_from_checkpoint=_last_checkpoint(out))
        seconds = time.monotonic() - watch.begin
        summary = _summary(trainer, student.role, longest, seconds)
        trainer.save_model(str(out))
        if trainer.is_world_process_zero():
            for leftover in ("training_args.bin", "README.md", PROGRESS):  # the card is the release's to write
                (out / leftover).unlink(missing_ok=True)
            if student.lora:
                _finish_adapter(out, student)
            base = {"base": {"model": student.model, "revision": student.revision}} if student.model else {}
            said = {"role": student.role, **purpose_of(origin), **base, **({"dataset": hub} if hub else {})}
            about = {"episodes": episodes, "training": summary, "before": earlier["before"]}
            write_json(out / "sgd.json", {**said, **about, "versions": begun["versions"]})
            write_json(manifest, {**begun, "summary": summary})
            _clear(out)
        trainer.accelerator.wait_for_everyone()
        return summary


def _earlier(student: Student) -> dict[str, Any]:
    """The ``episodes`` that the adapter to go on from has seen, and its summaries, oldest first, as ``before``."""
    if not student.adapter:
        return {"episodes": {}, "before": []}
    said = Path(student.adapter, "sgd.json")
    there = json.loads(said.read_text()) if said.exists() else {}
    config = Path(student.adapter, "adapter_config.json")
    if there.get("role") != student.role or "episodes" not in there or not config.exists():
        raise InputError(
            f"{student.adapter} does not hold an adapter of the role {student.role}; give the folder of one that this sgd-hf's "
            "`sgd train` wrote."
        )
    had = json.loads(config.read_text())
    other = [key for key in ("r", "lora_alpha", "lora_dropout") if had[key] != getattr(student.lora, key)]
    if there["base"]["model"] != student.model or other:
        what = f"with another {', '.join(other)}" if other else f"on {there['base']['model']}"
        raise InputError(f"The adapter {student.adapter} was trained {what}; give `model` and `lora` in the recipe as they were there.")
    return {"episodes": there["episodes"], "before": [*there["before"], there["training"]]}


def _beyond(out: Path) -> set[str]:
    """What a folder holds beyond the files of a training that has no checkpoint yet."""
    begun = {LOCK, PROGRESS, "manifest.json"}
    return {path.name for path in out.iterdir() if path.name.removesuffix(".part") not in begun} if out.is_dir() else set()


def _clear(out: Path) -> None:
    """Remove the checkpoints of a finished training."""
    for checkpoint in out.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


def _last_checkpoint(out: Path) -> str | None:
    """The last checkpoint that is whole: the trainer writes its state into it last."""
    whole = [state.parent for state in out.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.split("-")[1]))) if whole else None


def _finish_adapter(out: Path, student: Student) -> None:
    """An adapter that is light to carry: in half precision, the tokenizer without its line breaks; its base under the
    recipe's name rather than where it lay on this machine."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = out / "adapter_model.safetensors"
    half = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(weights).items()}
    save_file(half, weights.with_suffix(".part"), metadata={"format": "pt"})
    os.replace(weights.with_suffix(".part"), weights)
    config = out / "adapter_config.json"
    said = json.loads(config.read_text())
    base = {"base_model_name_or_path": student.model, "revision": student.revision}
    if isinstance(said["target_modules"], list):
        said["target_modules"].sort()  # peft writes a set, in no order
    write_json(config, said | base)
    tokenizer = out / "tokenizer.json"
    tokenizer.write_text(json.dumps(json.loads(tokenizer.read_text()), ensure_ascii=False, separators=(",", ":")))


def purpose_of(data: dict[str, Any]) -> dict[str, Any]:
    """What an agent must know of the data that its modules learned from."""
    return {
        "prompt_version": data["config"]["prompt_version"],
        "budget": data["config"]["budget"],
        "teacher": ", ".join(data["summary"]["teacher"]),
    }


def _texts(folder: Path) -> Iterator[str]:
    """What a tokenizer is trained on: every message of the train rows of all roles."""
    from datasets import load_dataset

    for role in ROLES:
        for row in load_dataset(str(folder), role, split="train"):
            yield from (message["content"] for message in row["messages"])


def _summary(trainer: Any, role: str, longest: int, seconds: float) -> dict[str, Any]:
    history = trainer.state.log_history
    losses = [[entry["step"], entry["loss"]] for entry in history if "loss" in entry]
    evals = [entry for entry in history if "eval_loss" in entry]
    best = trainer.state.best_global_step if trainer.args.load_best_model_at_end else None
    kept = next((entry for entry in evals if entry["step"] == best), evals[-1] if evals else {})
    return {
        "role": role,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "trained_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "steps": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "train_rows": len(trainer.train_dataset),
        "train_tokens": int(trainer.state.num_input_tokens_seen),
        "longest_row": longest,
        "losses": losses,
        "final_loss": losses[-1][1] if losses else None,
        "dev_loss": kept.get("eval_loss"),
        "dev_token_accuracy": kept.get("eval_mean_token_accuracy"),
        "dev_exact_match": kept.get("eval_exact_match"),
        "dev_first_exact_match": kept.get("eval_first_exact_match"),
        "live_scores": [[entry["step"], entry["eval_score_macro"]] for entry in history if "eval_score_macro" in entry],
        "best_step": best,
        "seconds": seconds,
        "seed": trainer.args.seed,
    }


def main() -> None:
    """The entry point of ``accelerate launch -m sgd_hf.training.sft``; `sgd train` is the same."""
    parser = argparse.ArgumentParser(prog="sgd_hf.training.sft", description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, required=True, help="a recipe, such as recipes/tiny/planner.yaml")
    parser.add_argument("--data", required=True, help="the folder that `sgd build` wrote, or ORG/NAME@REVISION of one on the Hub")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint's folder")
    parser.add_argument("--seed", type=int, help="in the place of the recipe's")
    parser.add_argument("--adapter", help="the adapter to go on from, in the place of the recipe's")
    a = parser.parse_args()
    guarded(lambda: train(a.config, a.data, a.out, seed=a.seed, adapter=a.adapter))


if __name__ == "__main__":
    main()
