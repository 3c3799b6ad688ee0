"""A stage folder: an append-only row file that survives SIGKILL, beside a manifest that says what it is.

Guarantee: a row is on disk (fsynced) when `append` returns; a row torn by a crash is owed again, every other
row is kept; rows are unique by key; the same command resumes, a changed configuration is refused with the
keys that differ, and one process writes at a time.

    folder/manifest.json   stage, format, config, versions; ``summary`` appears when the stage is complete
    folder/rows.jsonl      one JSON object a line, its identity in ``"key"``

What a row was made from and must not be lost either goes to a `Journal` beside the rows.
"""

import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from sgd_hf.core.errors import StoreError

FORMAT = 1
LOCK = ".lock"


class Journal:
    """An append-only file of JSON objects, a line each, unique by key. Opening it cuts a tail that a crash left torn."""

    def __init__(self, path: Path):
        self.path = path
        _mend_tail(path)
        self.keys = {row["key"] for row in _read(path)}
        self._file = open(path, "ab")

    def append(self, key: str, row: dict[str, Any], sync: bool = True) -> None:
        """Put one row on disk; a key that is there already is a bug of the caller. Without ``sync`` it survives a crash
        of this process but not of the machine, until `sync` is called."""
        if key in self.keys:
            raise ValueError(f"row {key} is already stored in {self.path.parent}")
        self._file.write(json.dumps({"key": key, **row}, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        if sync:
            self.sync()
        self.keys.add(key)

    def sync(self) -> None:
        """Put on disk whatever was appended so far."""
        os.fsync(self._file.fileno())

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows stored so far, in the order in which they were appended."""
        return _read(self.path)

    def merge(self, other: "Journal") -> None:
        """Append the rows of another file whose keys are not here yet."""
        for row in other.rows():
            if row["key"] not in self.keys:
                self.append(row.pop("key"), row)

    def close(self) -> None:
        """Let go of the file; writes what a full disk has not taken yet, and fails again."""
        self._file.close()


class Store:
    """The writer of a stage folder; a context manager that holds the folder's lock.

    ``config`` is whatever determines the rows, and must be JSON; resuming with another one is refused.
    """

    def __init__(self, folder: str | Path, stage: str, config: dict[str, Any]):
        self.folder = Path(folder)
        self.stage = stage
        self.config = json.loads(json.dumps(config))

    def __enter__(self) -> "Store":
        self._begun()  # what is another's gets no lock
        self._lock = lock(self.folder)
        try:
            self._open()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for journal in self._journals:
                journal.close()
        finally:
            self._lock.close()

    def _begun(self) -> dict[str, Any] | None:
        """The folder's manifest, or None where nothing was begun; `StoreError` if it is another stage's or a stranger's."""
        if (self.folder / "manifest.json").exists():
            return read_manifest(self.folder, self.stage)
        there = {p.name for p in self.folder.iterdir()} if self.folder.is_dir() else set()
        if any(name not in (LOCK, "manifest.json.part") and not name.startswith("shard-") for name in there):
            raise StoreError(f"{self.folder} holds files that are not of an sgd stage; choose an empty folder for --out.")
        return None

    def _open(self) -> None:
        manifest = self._begun()
        if manifest:
            changed = sorted(k for k in {*manifest["config"], *self.config} if manifest["config"].get(k) != self.config.get(k))
            if changed:
                detail = ", ".join(f"{k} ({manifest['config'].get(k)!r} then, {self.config.get(k)!r} now)" for k in changed)
                raise StoreError(
                    f"{self.folder} was begun with another configuration, {detail}; repeat the first command to resume it or choose another --out."
                )
            if "summary" not in manifest and manifest["versions"].get("commit"):
                self._add_commits(manifest, versions())  # rows of both will be there
        else:
            manifest = {"stage": self.stage, "format": FORMAT, "config": self.config, "versions": versions()}
            write_json(self.folder / "manifest.json", manifest)
        self.manifest = manifest
        self._journals: list[Journal] = []
        self._rows = self.journal("rows")
        self.keys = self._rows.keys

    def _add_commits(self, manifest: dict[str, Any], more: dict[str, str]) -> None:
        """Let the manifest name the commits of those versions too, each once."""
        then = manifest["versions"].get("commit", "")
        commits = "+".join(dict.fromkeys(filter(None, [*then.split("+"), *more.get("commit", "").split("+")])))
        if commits != then:
            manifest["versions"]["commit"] = commits
            write_json(self.folder / "manifest.json", manifest)

    def journal(self, name: str) -> Journal:
        """The file ``name.jsonl`` beside the rows, under this store's lock and closed with it."""
        self._journals.append(Journal(self.folder / f"{name}.jsonl"))
        return self._journals[-1]

    def append(self, key: str, row: dict[str, Any], sync: bool = True) -> None:
        """Put one row on disk. ``sync``: False only for a row that can be made again from what is on disk."""
        self._rows.append(key, row, sync)

    def merge_shards(self, *journals: Journal) -> None:
        """Take in what the shards in this folder (`shard_folder`) hold that is not here yet: first of these journals, then
        the rows. Raises `StoreError` for a shard that is still being written or was begun with another configuration."""
        for folder in sorted(self.folder.glob("shard-*-of-*")):
            with Store(folder, self.stage, self.config) as part:
                for journal in journals:
                    journal.merge(part.journal(journal.path.stem))
                self._rows.merge(part._rows)
                self._add_commits(self.manifest, part.manifest["versions"])

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows stored so far, in the order in which they were appended."""
        return self._rows.rows()

    def finish(self, summary: dict[str, Any]) -> None:
        """Declare the stage complete. The next stage reads only complete folders."""
        self._rows.sync()
        self.manifest = {**self.manifest, "summary": summary}
        write_json(self.folder / "manifest.json", self.manifest)


def lock(folder: Path) -> IO[str]:
    """Make a folder and be the one process that writes into it, until the file that is returned is closed, or this process
    ends in whatever way."""
    folder.mkdir(parents=True, exist_ok=True)
    held = open(folder / LOCK, "a")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        if isinstance(error, BlockingIOError):
            raise StoreError(f"{folder} is being written by another sgd process; wait for it or choose another --out.") from None
        raise StoreError(f"{folder} cannot be locked against other processes ({error.strerror}); choose another --out.") from None
    return held


def shard_folder(out: str | Path, shard: tuple[int, int] | None) -> Path:
    """Where the share ``(i, n)`` of a stage that fills ``out`` is written; ``out`` itself for None."""
    return Path(out) / "shard-{}-of-{}".format(*shard) if shard else Path(out)


def read_manifest(folder: str | Path, stage: str, complete: bool = False) -> dict[str, Any]:
    """The manifest of a folder that ``sgd stage`` wrote; `StoreError` if it is anything else."""
    path = Path(folder) / "manifest.json"
    if not path.exists():
        raise StoreError(
            f"{folder} is not the output of `sgd {stage}` (it has no manifest.json); give the folder that `sgd {stage} --out` wrote."
        )
    try:
        manifest = json.loads(path.read_text())
        found, form, _ = manifest["stage"], manifest["format"], manifest["config"]
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{path} is damaged; restore it or run the stage again into another folder.") from None
    if found != stage:
        raise StoreError(f"{folder} is the output of `sgd {found}`, and `sgd {stage}`'s is needed here.")
    if form != FORMAT:
        raise StoreError(f"{folder} has format {form}, and this version reads format {FORMAT}; run `sgd {stage}` again.")
    if complete and "summary" not in manifest:
        raise StoreError(f"{folder} is not complete; repeat the `sgd {stage}` command that began it.")
    return manifest


def read_rows(folder: str | Path, stage: str, decode: Callable[[dict[str, Any]], Any] = dict, journal: str = "rows") -> Iterator[Any]:
    """The rows of a complete stage folder, or of a ``journal`` beside them, decoded; a row that ``decode`` refuses
    (`from_row` does) is a `StoreError` that names its file and line."""
    read_manifest(folder, stage, complete=True)
    yield from _read(Path(folder) / f"{journal}.jsonl", decode)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically: a reader sees the old one or the new one, whole."""
    scratch = path.with_name(path.name + ".part")
    with open(scratch, "w") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)


def versions() -> dict[str, str]:
    """Versions of whatever can change a result, the machine and the commit in a checkout among them; packages that are
    not installed are left out."""
    found = {"python": platform.python_version(), "machine": _machine()}
    checkout = Path(__file__).parents[3]
    if (checkout / ".git").exists() and shutil.which("git"):
        described = subprocess.run(
            ["git", "-C", checkout, "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True
        )
        found["commit"] = described.stdout.strip() or "none"
    for name in ("sgd-hf", "scienceworld", "torch", "transformers", "trl", "accelerate", "datasets"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _machine() -> str:
    """The processor and its cores, as ``AMD EPYC, 2 cores``; and the GPU that torch, if it is there already, has found."""
    torch = sys.modules.get("torch")
    gpu = f"{torch.cuda.get_device_name()}, " if torch and torch.cuda.is_available() else ""
    listed = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"^model name\s*: (.+)$", listed, re.MULTILINE)
    return f"{gpu}{found[1] if found else platform.machine()}, {os.cpu_count()} cores"


def _mend_tail(path: Path) -> None:
    """Cut a line that a crash left without its end; that row is owed again."""
    if not path.exists():
        return
    with open(path, "rb+") as file:
        data_end = file.seek(0, os.SEEK_END)
        position = data_end
        while position > 0:
            start = max(0, position - 65536)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                position = start + newline + 1
                break
            position = start
        if position != data_end:
            file.truncate(position)


def _read(path: Path, decode: Callable[[dict[str, Any]], Any] = dict) -> Iterator[Any]:
    if not path.exists():
        return
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                row["key"]
                row = decode(row)
            except StoreError as error:  # whole, but of another shape
                raise StoreError(f"line {number} of {path}: {error}") from None
            except (ValueError, KeyError, TypeError):
                raise StoreError(
                    f"line {number} of {path} is damaged; restore the file, or delete that line and repeat the command that wrote it."
                ) from None
            yield row
