"""Supervised fine-tuning of one encoder-decoder student by transformers' `Seq2SeqTrainer`: the paper's own kind.

Guarantee: every assistant turn of every row is one pair, the text before it and what it says; each pair is proved to
fit and each answer to come back from its tokens, so nothing is cut and no label is lost. The loss is the mean over
the answers' tokens of a whole step, however it is spread over micro-batches and processes: left to itself, T5's
grows with the number of micro-batches.

A recipe chooses it by ``trainer: seq2seq``; `sgd_hf.training.sft.train` runs it like any other.
"""

from dataclasses import dataclass
from typing import Any

import torch
from pyarrow import compute
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer, DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments

from sgd_hf.core.errors import CheckpointError, InputError
from sgd_hf.core.prompts import as_text
from sgd_hf.training.recipe import Student


@dataclass
class Seq2SeqConfig(Seq2SeqTrainingArguments):
    """What a recipe may set: transformers' arguments, and how much a prompt and an answer may take."""

    max_source_length: int = 1024
    """tokens of a prompt at most"""
    max_target_length: int = 64
    """tokens of an answer at most"""


LIMITS = {"max_source_length": "input_ids", "max_target_length": "labels"}
"""what a recipe limits, and in which column it is found"""


def seq2seq_trainer(student: Student, args: Seq2SeqConfig, sets: dict[str, Any], callbacks: list[Any]) -> tuple[Seq2SeqTrainer, int]:
    """The trainer of a recipe's student on ``sets`` (``messages`` of the splits train and validation), and the tokens of
    the longest prompt. Raises `InputError` where the student is no encoder-decoder or a row does not fit,
    `CheckpointError` where it cannot be loaded."""
    model, tokenizer = make_seq2seq_student(student)
    pairs = {split: _pairs(rows, tokenizer) for split, rows in sets.items()}
    longest = {key: max(_longest(part, column) for part in pairs.values()) for key, column in LIMITS.items()}
    for key, tokens in longest.items():
        if tokens > (limit := getattr(args, key)):
            raise InputError(
                f"A {student.role} row has {tokens} tokens and the recipe's {key} is {limit}; "
                f"raise {key} or build the data with a smaller --budget."
            )
    trainer = Seq2SeqTrainer(
        model=model,
        args=args,
        processing_class=tokenizer,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        train_dataset=pairs["train"],
        eval_dataset=pairs.get("validation") if args.eval_strategy != "no" else None,
        callbacks=callbacks,
        compute_loss_func=token_mean,
        compute_metrics=_metrics,
        preprocess_logits_for_metrics=lambda logits, labels: (logits[0] if isinstance(logits, tuple) else logits).argmax(-1),
    )
    return trainer, longest["max_source_length"]


def make_seq2seq_student(student: Student) -> tuple[Any, Any]:
    """The model (float32) and tokenizer to train; see `seq2seq_trainer` for what is refused."""
    if not student.model or student.lora:
        raise InputError("A recipe with `trainer: seq2seq` trains all of a pretrained `model`; give one, without `scratch` and `lora`.")
    given = {"revision": student.revision, "trust_remote_code": False}
    try:
        if not AutoConfig.from_pretrained(student.model, **given).is_encoder_decoder:
            raise InputError(f"{student.model} is a causal checkpoint; take a recipe without `trainer: seq2seq` for it.")
        tokenizer = AutoTokenizer.from_pretrained(student.model, **given)
        model = AutoModelForSeq2SeqLM.from_pretrained(student.model, use_safetensors=True, dtype="float32", **given)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{student.model} cannot be loaded ({reason}); give a folder or Hub id of an encoder-decoder.") from None
    return model, tokenizer


def token_mean(outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None) -> torch.Tensor:
    """Cross-entropy over the answers' tokens: their sum here, by their number in the whole step."""
    total = torch.nn.functional.cross_entropy(outputs.logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100, reduction="sum")
    return total / ((labels != -100).sum() if num_items_in_batch is None else num_items_in_batch)


def _pairs(rows: Any, tokenizer: Any) -> Any:
    """A data set of ``input_ids``, ``attention_mask`` and ``labels``, a row an assistant turn."""

    def split(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        turns = [(messages[:i], m["content"]) for messages in batch["messages"] for i, m in enumerate(messages) if m["role"] == "assistant"]
        sources = tokenizer([as_text(before, tokenizer.eos_token) for before, _ in turns])
        return {**sources, "labels": tokenizer(text_target=[answer for _, answer in turns])["input_ids"]}

    for answer in {m["content"] for messages in rows["messages"] for m in messages if m["role"] == "assistant"}:
        back = tokenizer.decode(tokenizer(text_target=answer)["input_ids"], skip_special_tokens=True).strip()
        if back != answer:
            raise InputError(f"The student's tokenizer writes {answer!r} as {back!r}; give a model that knows its characters.")
    # The cache knows `as_text` by its name only, and would answer with what an earlier sgd-hf made.
    return rows.map(split, batched=True, remove_columns=rows.column_names, load_from_cache_file=False)


def _longest(pairs: Any, column: str) -> int:
    return compute.max(compute.list_value_length(pairs.data[column])).as_py()


def _metrics(found: Any) -> dict[str, float]:
    """Shares of tokens and of whole answers that greedy decoding would write as recorded."""
    owed = found.label_ids != -100
    right = (found.predictions == found.label_ids) | ~owed
    return {"mean_token_accuracy": float(right[owed].mean()), "exact_match": float(right.all(1).mean())}
