"""Progress bars on standard error where a person looks, nothing where nobody does."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress(label: str, total: int, done: int = 0) -> Iterator[Callable[[str], None]]:
    """Gives a function to be called when one more item is finished, with a word on what it was."""
    if not sys.stderr.isatty():
        yield lambda word: None
        return
    with _bars("{task.fields[word]}") as bar:
        task = bar.add_task(label, total=total, completed=done, word="")
        yield lambda word: bar.update(task, advance=1, word=word)


@contextmanager
def bars(labels: dict[str, str]) -> Iterator[Callable[[str, int, int], None]]:
    """Several bars at once: gives a function of a bar's name, what is done, and of how much."""
    if not sys.stderr.isatty():
        yield lambda name, done, total: None
        return
    with _bars("") as bar:
        tasks = {name: bar.add_task(label, total=None) for name, label in labels.items()}
        yield lambda name, done, total: bar.update(tasks[name], completed=done, total=total)


def _bars(word: str) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn(word), console=Console(stderr=True))
