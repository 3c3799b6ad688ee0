"""Arguments that several verbs take, and what is read from them."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError

Command = argparse.ArgumentParser
Run = Callable[[argparse.Namespace], None]


def folder(command: Command, flag: str, about: str, **more: Any) -> None:
    """A folder, required unless ``more`` says otherwise."""
    command.add_argument(flag, type=Path, help=about, **{"required": True, "metavar": "DIR", **more})


def count(text: str) -> int:
    """A number of things."""
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, and not {text!r}")
    return int(text)


def simulators(command: Command, about: str = "simulators at once", default: int = 2) -> None:
    command.add_argument("--workers", type=count, default=default, metavar="N", help=f"{about} (default: {default})")


def shard(text: str | None) -> tuple[int, int] | None:
    """``I/N`` as numbers; else this process's place under `accelerate launch`, None where it is alone."""
    if text is None:
        rank, processes = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
        shared = rank.isdecimal() and processes.isdecimal() and int(processes) > 1
        return (int(rank) + 1, int(processes)) if shared else None
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise InputError(f"--shard takes I/N with I from 1 to N, such as 1/4, and got {text!r}.")
    return int(index), int(count)


def say_share(index: int, count: int) -> None:
    """The last line of a verb that did a share of its work."""
    print(f"Share {index} of {count} is complete; when all are, repeat the command as one process without --shard to merge them.")
