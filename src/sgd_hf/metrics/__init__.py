"""Modules that `evaluate.load` loads; each folder is also what is pushed as a Space."""

from pathlib import Path


def path(name: str = "scienceworld_score") -> str:
    """The folder of a module: ``evaluate.load(sgd_hf.metrics.path())``, offline."""
    return str(Path(__file__).with_name(name))
