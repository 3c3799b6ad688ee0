"""A vLLM server of our own: started for one command, and gone when that command is gone.

Guarantee: inside `serving` a real ``vllm serve`` answers on loopback; afterwards none of its processes is left, not
on an error, not after Ctrl-C, and not after this process is killed with SIGKILL. A server that does not come up is
one sentence with the last thing it said. vLLM lives in an environment of its own, which `sgd doctor
--make-vllm-env` makes; this file only starts its executable.
"""

import contextlib
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from sgd_hf.core.errors import InputError, ServerError

PATIENCE_S = 1800.0
"""a large model is downloaded and compiled before it answers"""
# The second makes answers say how much of the prompt was cached.
_FLAGS = ("--structured-outputs-config", '{"backend":"xgrammar","disable_any_whitespace":true}', "--enable-prompt-tokens-details")
_CPU_FLAGS = ("--max-model-len", "8192", "--kv-cache-memory-bytes", "1G", "--enforce-eager")
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
_GRACE_S = 5.0


def vllm_home() -> Path:
    """The environment that holds vLLM: ``SGD_VLLM_ENV``, else a folder in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SGD_VLLM_ENV") or Path(cache) / "sgd-hf" / "vllm")


def has_gpu() -> bool:
    """Whether NVIDIA's driver lists a GPU."""
    with contextlib.suppress(OSError):
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True).stdout.startswith(b"GPU ")
    return False


@contextlib.contextmanager
def serving(
    model: str,
    *,
    flags: Sequence[str] = (),
    environment: Path | None = None,
    log: Path | None = None,
    patience_s: float = PATIENCE_S,
) -> Iterator[str]:
    """``http://127.0.0.1:PORT/v1`` of a ``vllm serve`` that answers for ``model``, a folder or a Hub id, under that name.

    ``flags`` are vLLM's own and win over the defaults; ``environment`` is where vLLM lives (`vllm_home`); what the
    server says goes to ``log``, else to a temporary file that stays only if the server failed. Raises `InputError`
    where there is no vLLM and `ServerError` if the server dies or is not healthy within ``patience_s`` seconds.
    """
    if own := {flag.partition("=")[0] for flag in flags} & {"--host", "--port", "--api-key"}:
        raise InputError(
            f"{own.pop()} is not for this server, which listens on loopback, on a free port and for this command only; leave it out."
        )
    port = _free_port()
    command = [*_executable(environment or vllm_home()), "serve", model, "--host", "127.0.0.1", "--port", str(port)]
    command += [*_defaults(flags), *flags]
    kept = log is not None
    log = log or Path(tempfile.mkstemp(prefix="sgd-vllm-", suffix=".log")[1])
    with open(log, "w") as said:
        said.write(shlex.join(command) + "\n")
        said.flush()
        keeper = subprocess.Popen(
            [sys.executable, "-m", __name__, *command],
            stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        _wait(f"http://127.0.0.1:{port}/health", keeper, model, log, patience_s)
        try:
            yield f"http://127.0.0.1:{port}/v1"
        except Exception as error:
            if keeper.poll() is None:
                raise
            raise ServerError(f"vLLM ended while it was used: {_last_words(log)} (all of it is in {log}).") from error
    finally:
        failed = isinstance(sys.exception(), ServerError)
        keeper.stdin.close()
        keeper.wait()
        if not kept and not failed:
            log.unlink()


def _executable(home: Path) -> list[str]:
    found = home / "bin" / "vllm"
    if not found.exists():
        raise InputError(
            f"There is no vLLM in {home}; run `sgd doctor --make-vllm-env`, or name an environment that has it in SGD_VLLM_ENV."
        )
    return [str(found)]


def _defaults(flags: Sequence[str]) -> list[str]:
    """What a user does not say: structured outputs without white space, and on a CPU a bounded memory, and float32
    where bfloat16 would be emulated, which is eight times slower."""
    said = {flag.partition("=")[0] for flag in flags}
    options = [*_FLAGS]
    if not has_gpu():
        options += [*_CPU_FLAGS, "--dtype", "auto" if _BF16 & _processor() else "float32"]
    chosen, name = [], ""
    for word in options:
        name = word if word.startswith("--") else name
        if name not in said:
            chosen.append(word)
    return chosen


def _processor() -> set[str]:
    """The instruction sets that Linux lists; none elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.partition(":")[0].strip().lower() in ("flags", "features"):
                return set(line.partition(":")[2].split())
    return set()


def _surroundings() -> dict[str, str]:
    env = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "PYTHONUNBUFFERED": "1"}
    for name in ("PYTHONPATH", "VLLM_API_KEY"):  # another environment's packages; a key that nobody would send
        env.pop(name, None)
    if not has_gpu():
        env.setdefault("OMP_NUM_THREADS", "1")  # on few cores torch's threads spin against each other
        env.setdefault("TORCHDYNAMO_DISABLE", "1")  # else the first request with logprobs waits for a compiler
    return env


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(url: str, keeper: subprocess.Popen, model: str, log: Path, patience_s: float) -> None:
    began, direct = time.monotonic(), urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with _waiting(f"vLLM is loading {model}"):
        while True:
            if keeper.poll() is not None:
                raise ServerError(f"vLLM could not serve {model}: {_last_words(log)} (all of it is in {log}).")
            with contextlib.suppress(OSError), direct.open(url, timeout=5):  # OSError: not there yet, or 503
                return
            if time.monotonic() - began > patience_s:
                raise ServerError(f"vLLM did not answer for {model} within {patience_s:g} s; see {log} for what it was doing.")
            time.sleep(0.5)


@contextlib.contextmanager
def _waiting(words: str) -> Iterator[None]:
    """A line with the seconds where a person looks, nothing where nobody does."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(SpinnerColumn(), TextColumn(words), TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        bar.add_task("", total=None)
        yield


def _last_words(log: Path) -> str:
    """The last error that the log names, else its last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()[1:] if line.strip()]
    errors = [found[0] for line in lines if (found := re.search(r"\b\w*(?:Error|Exception): .+", line))]
    return (errors or lines or ["it said nothing"])[-1][:300].rstrip(".")


def _keep(command: list[str]) -> int:
    """Run the server as long as standard input stays open, then end the whole session; its first process is this one.

    The pipe ends with whoever holds its other end, however that process dies.
    """
    signal.signal(signal.SIGTERM, lambda *_: None)  # the session's SIGTERM below; a handler, because the child would inherit SIG_IGN
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=_surroundings())
    while child.poll() is None and not select.select([sys.stdin], [], [], 0.2)[0]:
        pass
    code = child.poll()
    os.killpg(0, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_GRACE_S)
    os.killpg(0, signal.SIGKILL)
    return code or 0


if __name__ == "__main__":
    sys.exit(_keep(sys.argv[1:]))
