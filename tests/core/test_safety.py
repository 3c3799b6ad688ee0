"""Nothing that can run, leads away, or does not belong passes, and what was refused is named."""

import json

import pytest

from sgd_hf.core.errors import CheckpointError
from sgd_hf.core.safety import CHECKPOINT, HUB, refuse_unsafe


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "module"
    made.mkdir()
    (made / "config.json").write_text('{"model_type": "llama"}')
    (made / "model.safetensors").write_bytes(b"")
    (made / "tokenizer.json").write_text('{"model": {"vocab": {"auto_map": 1}}}')
    (made / "README.md").write_text("auto_map")
    return made


def test_a_checkpoint_passes(folder):
    refuse_unsafe(folder)
    refuse_unsafe(folder, (*CHECKPOINT, *HUB))


@pytest.mark.parametrize(
    "name",
    [
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "adapter_config.json",
        "adapter_model.safetensors",
        ".eval_results/x.yaml",
    ],
)
def test_every_layout_of_a_checkpoint_passes(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    refuse_unsafe(folder, (*CHECKPOINT, *HUB))


@pytest.mark.parametrize("name", ["a.pkl", "pytorch_model.bin", "optimizer.pt", "modeling_evil.py", "deep/down/b.PKL", "c.pickle", "d.npy"])
def test_what_can_run_is_refused_by_name(folder, name):
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    (folder / name).write_bytes(b"")
    for layout in ((), (*CHECKPOINT, *HUB)):
        with pytest.raises(CheckpointError, match=name):
            refuse_unsafe(folder, layout)


def test_a_stranger_is_refused_where_a_layout_is_given(folder):
    (folder / "notes.txt").write_text("")
    refuse_unsafe(folder)
    with pytest.raises(CheckpointError, match=r"notes\.txt does not belong"):
        refuse_unsafe(folder, CHECKPOINT + HUB)


@pytest.mark.parametrize("said", ['{"auto_map": {}}', '{"text_config": [{"auto_map": {}}]}', '{"auto\\u005fmap": {}}'])
def test_code_of_its_own_is_refused(folder, said):
    (folder / "config.json").write_text(said)
    assert "auto_map" in str(json.loads(said))
    with pytest.raises(CheckpointError, match=r"config\.json .*auto_map"):
        refuse_unsafe(folder)


def test_a_damaged_configuration_is_refused(folder):
    (folder / "config.json").write_text('{"auto_map":')
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        refuse_unsafe(folder)


@pytest.mark.parametrize("to", ["file", "folder"])
def test_a_link_that_leads_out_is_refused(folder, tmp_path, to):
    outside = tmp_path / "outside"
    outside.mkdir() if to == "folder" else outside.write_text("{}")
    (folder / "chat_template.jinja").symlink_to(outside)
    with pytest.raises(CheckpointError, match=r"chat_template\.jinja .* leads out"):
        refuse_unsafe(folder, CHECKPOINT + HUB)


def test_links_of_the_hubs_cache_pass_and_no_others(tmp_path):
    repository = tmp_path / "models--acme--x"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "abc").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    refuse_unsafe(snapshot, CHECKPOINT)
    (tmp_path / "secret").write_text("{}")
    (snapshot / "tokenizer.json").symlink_to("../../../secret")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        refuse_unsafe(snapshot, CHECKPOINT)


def test_a_space_may_hold_the_code_that_it_names(folder):
    (folder / "app.py").write_text("")
    refuse_unsafe(folder, (*CHECKPOINT, *HUB, "app.py"))
    (folder / "other.py").write_text("")
    with pytest.raises(CheckpointError, match=r"other\.py"):
        refuse_unsafe(folder, (*CHECKPOINT, *HUB, "app.py"))
