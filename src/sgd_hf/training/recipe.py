"""A recipe: one YAML file that says which student learns which role, and every training argument that matters.

Guarantee: the file is read strictly; an unknown key stops with its name and the nearest valid one. Keys are
those of `Student` below and those of TRL's `SFTConfig`; nothing else changes a run but ``--data`` and ``--out``.
"""

import dataclasses
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError
from sgd_hf.corpus.build import ROLES


@dataclass(frozen=True)
class Student:
    """The model to train: a pretrained one by ``model``, or one from scratch by ``scratch`` and ``vocabulary``."""

    role: str
    """planner, executor or flat: the configuration of the data set that it learns from"""
    model: str = ""
    """folder or Hub id of a causal checkpoint"""
    revision: str = "main"
    scratch: dict[str, Any] = field(default_factory=dict)
    """a transformers configuration, ``model_type`` included, for a model with random weights"""
    vocabulary: int = 0
    """entries of the byte-level BPE that is trained on the train rows of all roles"""


def read_recipe(path: Path, data: str, out: Path) -> tuple[Student, Any]:
    """The student and the ``SFTConfig`` of a recipe. Raises `InputError` for a file that cannot be meant."""
    import yaml
    from trl import SFTConfig

    try:
        keys = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as a recipe ({' '.join(str(error).split())}); give one of recipes/*/*.yaml.") from None
    if not isinstance(keys, dict) or keys.get("role") not in ROLES:
        raise InputError(f"{path} is not a recipe: it needs `role:` with one of {', '.join(ROLES)}.")
    own = {f.name for f in dataclasses.fields(Student)}
    defaults = {f.name: f.default for f in dataclasses.fields(SFTConfig) if f.init and f.name != "output_dir"}
    known = own | set(defaults)
    for key, value in keys.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0.0)[0]
            raise InputError(f"{path} has the unknown key {key!r}; the nearest valid one is {near!r}.")
        if type(defaults.get(key)) in (int, float) and not isinstance(value, (int, float)):
            raise InputError(
                f"{path} gives {value!r} for {key}, which is a number; note that YAML reads 1e-3 as text and 1.0e-3 as a number."
            )
    student = Student(**{key: value for key, value in keys.items() if key in own})
    if bool(student.model) == bool(student.scratch):
        raise InputError(f"{path} must give either `model` (a checkpoint) or `scratch` (a configuration), and not both.")
    try:
        config = SFTConfig(output_dir=str(out), **{key: value for key, value in keys.items() if key not in own})
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is refused by TRL's SFTConfig: {' '.join(str(error).split())}") from None
    return student, config
