"""What is not fit to be published is refused before anything is sent, with its name."""

import shutil

import pytest

from sgd_hf.core.errors import CheckpointError
from sgd_hf.release.artifacts import Artifact
from sgd_hf.release.check import lint, load, recognise

CARD = "---\nlicense: apache-2.0\n---\n\n# A card\n"


@pytest.fixture
def artifact(tmp_path):
    folder = tmp_path / "planner"
    folder.mkdir()
    for name, text in {"README.md": CARD, "config.json": "{}", "sgd.json": '{"role": "planner"}', "model.safetensors": ""}.items():
        (folder / name).write_text(text)
    return Artifact("planner", folder, "acme/sgd-planner-x")


def test_a_finished_artifact_passes(artifact):
    lint(artifact)


@pytest.mark.parametrize("left", ["{{ title }}", "{% if x %}", "[More Information Needed]", "TODO"])
def test_a_card_with_a_placeholder_is_refused(artifact, left):
    (artifact.folder / "README.md").write_text(CARD + left)
    with pytest.raises(CheckpointError, match="still holds"):
        lint(artifact)


@pytest.mark.parametrize("card", ["", "# no front matter\n"])
def test_a_card_without_front_matter_is_refused(artifact, card):
    (artifact.folder / "README.md").write_text(card)
    with pytest.raises(CheckpointError, match="front matter"):
        lint(artifact)


def test_an_artifact_without_a_card_is_refused(artifact):
    (artifact.folder / "README.md").unlink()
    with pytest.raises(CheckpointError, match="no card"):
        lint(artifact)


@pytest.mark.parametrize("token", ["hf_" + "a" * 34, "sk-" + "b" * 40, "ghp_" + "c" * 36, "my-own"])
@pytest.mark.parametrize("name", ["README.md", "config.json"])
def test_a_token_in_a_text_is_refused(artifact, name, token, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "my-own")
    said = (artifact.folder / name).read_text()
    (artifact.folder / name).write_text(said + token if name == "README.md" else f'{{"key": "{token}"}}')
    with pytest.raises(CheckpointError, match=f"{name} .* token") as raised:
        lint(artifact)
    assert token not in str(raised.value)


def test_a_stray_file_is_refused(artifact):
    (artifact.folder / "notes.txt").write_text("")
    with pytest.raises(CheckpointError, match=r"notes\.txt"):
        lint(artifact)


def test_an_artifact_is_recognised_by_its_files(artifact, tmp_path):
    assert recognise(artifact.folder, "model") == "planner"
    (artifact.folder / "config.json").write_text('{"planner": {}, "executor": {}}')
    assert recognise(artifact.folder, "model") == "agent"


def test_a_metric_that_is_not_ours_is_not_run(tmp_path):
    (tmp_path / "scienceworld_score.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(CheckpointError, match="not run"):
        load(tmp_path, "metric", lambda id, revision: tmp_path)


def test_weights_that_a_vllm_server_was_scored_with_are_known_again(run, tmp_path):
    """vLLM's digest is that of the files, the decoder's that of the tensors; each evaluation names its own."""
    from sgd_hf.agent.decoder import Decoder
    from sgd_hf.core.safety import weights_digest

    folder = tmp_path / "planner"
    shutil.copytree(run / "planner", folder)
    (folder / "README.md").write_text(CARD)
    for digest in (f"{weights_digest(folder)}-vllm", Decoder.from_pretrained(folder).digest):
        load(folder, "planner", None, {"planner": digest})
    for digest in (f"{weights_digest(run / 'executor')}-vllm", "0" * 12):
        with pytest.raises(CheckpointError, match="not those that were scored"):
            load(folder, "planner", None, {"planner": digest})
