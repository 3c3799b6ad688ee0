"""TRL's `SFTTrainer` with what one wants to see while a student learns.

Guarantee: each log says tokens a second, and each evaluation how many of the recorded answers greedy decoding would
write exactly. No text is generated for that: greedy decoding writes an answer exactly if and only if each of its
tokens, the end mark included, is the likeliest one after those before it, which one forward pass shows. Both are
numbers of the trainer's own logs, so that every tracker, early stopping and the choice of the best checkpoint see them.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from trl import SFTTrainer

from sgd_hf.core.errors import InputError
from sgd_hf.core.store import write_json
from sgd_hf.training.recipe import Student
from sgd_hf.training.seq2seq import token_mean
from sgd_hf.training.student import make_student

Score = Callable[[Path], dict[str, float]]
"""plays with the checkpoint in a folder and names what it scored"""


def sft_trainer(
    student: Student, args: Any, sets: dict[str, Any], texts: Iterable[str], callbacks: list[TrainerCallback]
) -> tuple["StudentTrainer", int]:
    """The trainer of a causal student on ``sets`` (``messages`` of the splits train and validation), and the tokens of the
    longest row. ``texts``: for the tokenizer of a student from scratch. Raises `InputError` where a row does not fit."""
    # Weights that stay as they are need no more than half precision.
    model, tokenizer = make_student(student, texts, args.max_length, "bfloat16" if student.lora and args.bf16 else "float32")
    if student.adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, student.adapter, is_trainable=True)
    longest = max(len(tokenizer.apply_chat_template(row["messages"], return_dict=False)) for part in sets.values() for row in part)
    if longest > args.max_length:
        raise InputError(
            f"A {student.role} row has {longest} tokens and the recipe's max_length is {args.max_length}; "
            "raise max_length or build the data with a smaller --budget."
        )
    trainer = StudentTrainer(
        model=model,
        args=args,
        processing_class=tokenizer,
        train_dataset=sets["train"],
        eval_dataset=sets.get("validation") if args.eval_strategy != "no" else None,
        callbacks=callbacks,
        peft_config=_peft(student),
        exact_match_rows=student.exact_match_rows,
    )
    if student.compile_layers:
        compile_layers(trainer.model)
    return trainer, longest


def compile_layers(model: torch.nn.Module) -> None:
    """Have the layers compiled when they first run, in place, so that nothing in a checkpoint is called otherwise. Layers that
    are alike share what is compiled, for rows of any length."""
    for layers in model.modules():
        if isinstance(layers, torch.nn.ModuleList):
            for layer in layers:
                layer.compile(dynamic=True)


def _peft(student: Student) -> Any:
    if student.lora is None or student.adapter:
        return None
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", **dataclasses.asdict(student.lora))


class StudentTrainer(SFTTrainer):
    """``exact_match_rows``: validation rows, evenly spread, that are measured; 0 for none."""

    def __init__(self, *, exact_match_rows: int = 0, **given: Any):
        super().__init__(**given)
        self._rows = exact_match_rows
        self._logged = (time.monotonic(), 0)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            now, seen = time.monotonic(), self.state.num_input_tokens_seen
            logs["tokens_per_second"] = (seen - self._logged[1]) / (now - self._logged[0])
            self._logged = (now, seen)
        super().log(logs, start_time)

    def train(self, resume_from_checkpoint: str | None = None) -> Any:
        """As TRL's. Times run from the first step, and a resumed run counts its own tokens only."""
        from peft.helpers import disable_input_dtype_casting

        self.add_callback(_Begin(self))
        # An adapter's weights are of full precision, and peft makes its inputs so too, which autocast takes back at once.
        with disable_input_dtype_casting(self.model, active=self.accelerator.native_amp):
            return super().train(resume_from_checkpoint=resume_from_checkpoint)

    def begin(self) -> None:
        """Start the clock of tokens a second."""
        self._logged = (time.monotonic(), self.state.num_input_tokens_seen)

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """TRL's, but a CPU that learns computes logits where there is a label only: TRL leaves the others out on GPUs alone,
        and of a row of ours few tokens are the assistant's. The loss is the same number; what TRL logs of the training rows
        beside it (entropy, token accuracy) is not there then."""
        plain = self.args.loss_type == "nll" and not self.args.label_smoothing_factor and not self.aux_loss_enabled
        if not (plain and model.training and self.args.device.type == "cpu"):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["labels"][:, 1:]
        places = (labels != -100).any(0).nonzero()[:, 0]
        given = {name: value for name, value in inputs.items() if name != "labels"}
        outputs = model(**given, logits_to_keep=places, use_cache=False)
        loss = token_mean(outputs, labels[:, places], num_items_in_batch)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # the number is that of all processes, whose gradients are averaged
        return (loss, outputs) if return_outputs else loss

    def evaluation_loop(self, *given: Any, metric_key_prefix: str = "eval", **more: Any) -> Any:
        begin = time.monotonic()
        output = super().evaluation_loop(*given, metric_key_prefix=metric_key_prefix, **more)
        if self._rows:
            output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in self.exact_match().items()})
        self._logged = (self._logged[0] + time.monotonic() - begin, self._logged[1])  # evaluating is not training
        return output

    @torch.no_grad()
    def exact_match(self) -> dict[str, float]:
        """Shares of the answers that greedy decoding writes exactly after the recorded history: of all (``exact_match``),
        and of the first of each row (``first_exact_match``), for a planner the same."""
        there, processes = len(self.eval_dataset), self.accelerator.num_processes
        # As many rows in each process, for a sharded model runs only where all run it.
        wanted = min(self._rows, there) // processes * processes or processes
        picked = [i * there // wanted for i in range(wanted)][self.accelerator.process_index :: processes]
        counts = torch.zeros(4, device=self.accelerator.device)
        for i in picked:
            right = self._right(self.eval_dataset[i])
            counts += torch.tensor([sum(right), len(right), right[0], 1], device=counts.device)
        right, answers, first, rows = self.accelerator.reduce(counts, "sum").tolist()
        return {"exact_match": right / answers, "first_exact_match": first / rows}

    def _right(self, row: dict[str, Any]) -> list[bool]:
        """For each answer of a row, whether all its tokens are the likeliest."""
        device = self.accelerator.device
        tokens, labels = (torch.tensor(row[name], device=device) for name in ("input_ids", "labels"))
        places = (labels[1:] != -100).nonzero()[:, 0]
        with self.accelerator.autocast():
            logits = self.model_wrapped(input_ids=tokens[None], logits_to_keep=places, use_cache=False).logits[0]
        likeliest = logits.argmax(-1) == labels[1:][places]
        new = (places.diff() > 1).nonzero()[:, 0] + 1
        return [bool(part.all()) for part in likeliest.tensor_split(new.cpu())]


class _Begin(TrainerCallback):
    def __init__(self, trainer: StudentTrainer):
        self._trainer = trainer

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._trainer.begin()


class Watch(TrainerCallback):
    """Times the steps without the loading, from a checkpoint on with what was logged before it, and says in the file
    ``progress`` how far the run is, for whoever shows it."""

    def __init__(self, progress: Path):
        self._progress = progress

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        before = next((entry["seconds"] for entry in reversed(state.log_history) if "seconds" in entry), 0.0)
        self.begin = time.monotonic() - before

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.log_history[-1]["seconds"] = time.monotonic() - self.begin
        if state.is_world_process_zero:
            write_json(self._progress, {"step": state.global_step, "of": state.max_steps, **state.log_history[-1]})


class LiveScore(TrainerCallback):
    """Every so many steps a saved checkpoint plays, and its score goes to the logs, once for each process group; one that was
    interrupted plays again when the run goes on from it."""

    def __init__(self, trainer: StudentTrainer, score: Score, steps: int):
        self._trainer, self._score, self._steps = trainer, score, steps

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        logged = {key for entry in state.log_history if entry["step"] == state.global_step for key in entry}
        if state.global_step and not any(key.startswith("eval_score_") for key in logged):
            self.on_save(args, state, control)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self._steps == 0 and state.is_world_process_zero:
            found = self._score(Path(args.output_dir, f"checkpoint-{state.global_step}"))
            self._trainer.log({f"eval_score_{name}": value for name, value in found.items()})
