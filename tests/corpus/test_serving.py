"""A server of our own is there inside the context and nowhere afterwards, however the context ends."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from sgd_hf.core.errors import InputError, ServerError
from sgd_hf.corpus.serving import serving, vllm_home

HARNESS = Path(__file__).parents[1] / "harness"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An environment whose `vllm` is tests/harness/fake_vllm.py; its pids appear as files in ``pids``."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "pids").mkdir()
    monkeypatch.setenv("FAKE_VLLM_PIDS", str(tmp_path / "pids"))
    executable = tmp_path / "bin" / "vllm"
    executable.write_text(f"#!{sys.executable}\n" + (HARNESS / "fake_vllm.py").read_text().partition("\n")[2])
    executable.chmod(0o755)
    return tmp_path


def pids(home):
    return [path.name for path in (home / "pids").iterdir()]


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(home, seconds=10.0):
    deadline = time.monotonic() + seconds
    while any(map(running, pids(home))):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_server_answers_inside_and_is_gone_with_its_children_afterwards(home):
    with serving("late", environment=home) as url:
        assert url.startswith("http://127.0.0.1:") and url.endswith("/v1")
        assert urllib.request.urlopen(url.removesuffix("/v1") + "/health").status == 200
        assert len(pids(home)) == 2 and all(map(running, pids(home)))
    assert gone(home, 0.5)


def test_flags_of_the_user_win_over_ours_and_all_others_pass_through(home, monkeypatch):
    monkeypatch.setattr("sgd_hf.corpus.serving.has_gpu", lambda: False)
    with serving(
        "m", flags=("--max-model-len", "512", "--kv-cache-memory-bytes=2G", "--seed", "7"), environment=home, log=home / "serve.log"
    ):
        pass
    [words] = [line.split() for line in (home / "serve.log").read_text().splitlines() if line.startswith("words:")]
    assert words[1:5] == ["serve", "m", "--host", "127.0.0.1"] and words[-2:] == ["--seed", "7"]
    assert words.count("--max-model-len") == 1 and "--kv-cache-memory-bytes" not in words
    assert "--enforce-eager" in words and "--structured-outputs-config" in words


@pytest.mark.parametrize(("has", "dtype"), [({"avx2", "amx_bf16"}, "auto"), ({"avx2"}, "float32")])
def test_a_processor_that_would_emulate_bfloat16_gets_float32(has, dtype, home, monkeypatch):
    monkeypatch.setattr("sgd_hf.corpus.serving.has_gpu", lambda: False)
    monkeypatch.setattr("sgd_hf.corpus.serving._processor", lambda: has)
    with serving("m", environment=home, log=home / "serve.log"):
        pass
    assert f"--dtype {dtype}\n" in (home / "serve.log").read_text()


def test_a_gpu_gets_vllms_own_memory_settings(home, monkeypatch):
    monkeypatch.setattr("sgd_hf.corpus.serving.has_gpu", lambda: True)
    with serving("m", environment=home, log=home / "serve.log"):
        pass
    said = (home / "serve.log").read_text()
    assert "--structured-outputs-config" in said and "--enforce-eager" not in said and "--max-model-len" not in said


def test_a_server_that_dies_is_one_sentence_with_its_error(home):
    with (
        pytest.raises(ServerError, match="could not serve dies: ValueError: this model has no tokenizer") as raised,
        serving("dies", environment=home),
    ):
        pass
    log = Path(re.search(r"all of it is in (\S+)\)", str(raised.value))[1])
    assert "and more lines" in log.read_text() and gone(home)
    log.unlink()


def test_a_server_that_dies_while_it_is_used_is_what_is_reported(home):
    with pytest.raises(ServerError, match="while it was used"), serving("m", environment=home):
        for pid in pids(home):
            os.kill(int(pid), signal.SIGKILL)
        time.sleep(1)
        raise ConnectionResetError
    assert gone(home)


def test_patience_ends(home):
    with pytest.raises(ServerError, match="within 1 s"), serving("mute", environment=home, patience_s=1):
        pass
    assert gone(home)


def test_an_error_inside_ends_the_server_and_is_raised(home):
    with pytest.raises(KeyError), serving("m", environment=home):
        raise KeyError("ours")
    assert gone(home, 0.5)


@pytest.mark.parametrize(
    ("model", "sent"), [("m", signal.SIGKILL), ("m", signal.SIGINT), pytest.param("stubborn", signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_nothing_is_left_when_the_program_is_killed_or_interrupted(home, model, sent):
    parent = subprocess.Popen([sys.executable, HARNESS / "serving_parent.py", home, model], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert parent.stdout.readline().startswith(b"http://127.0.0.1:") and len(pids(home)) == 2
    parent.send_signal(sent)
    _, said = parent.communicate()
    assert gone(home, 20.0)
    assert parent.returncode == (-signal.SIGKILL if sent == signal.SIGKILL else 130) and b"Traceback" not in said


def test_nothing_is_left_when_the_program_is_killed_while_it_waits(home):
    parent = subprocess.Popen([sys.executable, HARNESS / "serving_parent.py", home, "mute"], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while len(pids(home)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids(home)) == 2
    parent.kill()
    parent.wait()
    assert gone(home)


@pytest.mark.parametrize("flag", ["--api-key=secret", "--port=1", "--host=0.0.0.0"])
def test_where_it_listens_and_to_whom_is_not_to_be_chosen(home, flag):
    with pytest.raises(InputError, match="leave it out") as raised, serving("m", flags=(flag,), environment=home):
        pass
    assert "secret" not in str(raised.value)


def test_without_vllm_the_sentence_says_how_to_get_it(tmp_path):
    with pytest.raises(InputError, match="sgd doctor --make-vllm-env"), serving("m", environment=tmp_path):
        pass


def test_the_environment_is_the_users_choice_or_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("SGD_VLLM_ENV", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert vllm_home() == tmp_path / "sgd-hf" / "vllm"
    monkeypatch.setenv("SGD_VLLM_ENV", "/elsewhere")
    assert vllm_home() == Path("/elsewhere")
