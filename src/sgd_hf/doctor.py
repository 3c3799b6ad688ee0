"""`sgd doctor`: what this machine has, what is missing, and the one command that brings it.

Guarantee: the simulator is really started and asked for a step; nothing is changed. Raises `InputError` at the
end if something that is needed is missing.
"""

import os
import shutil
from importlib import metadata

from sgd_hf.core.errors import InputError, SgdError

TRAINING = ("torch", "transformers", "trl", "accelerate", "matplotlib")


def doctor() -> None:
    """Print a table of checks."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "check", "found")
    missing = 0
    for name, check in (("Java", _java), ("simulator", _simulator), ("training", _training), ("disk", _disk), ("processor", _cores)):
        try:
            mark, found = "[green]✓[/]", check()
        except SgdError as error:
            mark, found = "[red]✗[/]", str(error)
            missing += 1
        table.add_row(mark, name, found)
    Console().print(table)
    if missing:
        raise InputError(f"{missing} of the checks above failed; each says what to do.")


def _java() -> str:
    from sgd_hf.scienceworld.java import find_java, java_version

    path = find_java()
    return f"{java_version(path)}, {path}"


def _simulator() -> str:
    from sgd_hf.scienceworld.environment import ScienceWorld, provenance
    from sgd_hf.scienceworld.tasks import episode

    with ScienceWorld() as env:
        env.reset(episode("boil", 0))
        env.step("look around")
    said = provenance()
    return f"{said['simulator']}, jar {said['jar']}, {said['jvm']}"


def _training() -> str:
    try:
        return ", ".join(f"{name} {metadata.version(name)}" for name in TRAINING)
    except metadata.PackageNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed, and training, playing and reports need it; run `pip install 'sgd-hf[train]'`."
        ) from None


def _disk() -> str:
    free = shutil.disk_usage(os.getcwd()).free / 2**30
    if free < 1:
        raise InputError(f"{free:.1f} GiB are free here and a quickstart needs 1; make room or choose another --out.")
    return f"{free:.0f} GiB free here"


def _cores() -> str:
    return f"{os.cpu_count()} cores; quickstart trains two models at a time, one thread each"
