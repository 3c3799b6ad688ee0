"""The loopback Hub answers the real client as the Hub would: commits are whole, references are kept, refusals have their codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from frontmatter import complaints

CLIENT = """
import io, json, os
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard
from huggingface_hub.errors import (GatedRepoError, HfHubHTTPError, RemoteEntryNotFoundError, RepositoryNotFoundError,
                                    RevisionNotFoundError)

api, found = HfApi(), {}

def refused(call, *errors):
    try:
        call()
    except errors as error:
        return [type(error).__name__, error.response.status_code]

api.create_repo("acme/m", private=True)
found["exists"] = refused(lambda: api.create_repo("acme/m"), HfHubHTTPError)
big = bytes(range(256)) * 400
files = {f"many/{i:03}.txt": b"x" for i in range(120)} | {"model.safetensors": big, "note.txt": b"one"}
first = api.create_commit("acme/m", [CommitOperationAdd(n, c) for n, c in files.items()], commit_message="first")
found["listed"] = sorted(api.list_repo_files("acme/m")) == sorted([*files, ".gitattributes"])
again = api.create_commit("acme/m", [CommitOperationAdd("model.safetensors", big)], commit_message="nothing new")
found["nothing new"] = again.oid == first.oid
stale = [CommitOperationAdd("note.txt", b"two")]
api.create_commit("acme/m", stale, commit_message="second", parent_commit=first.oid)
found["stale"] = refused(lambda: api.create_commit("acme/m", [CommitOperationAdd("note.txt", b"3")], commit_message="x", parent_commit=first.oid), HfHubHTTPError)
api.create_commit("acme/m", [CommitOperationDelete("many/", is_folder=True)], commit_message="fewer")
found["immutable"] = open(api.hf_hub_download("acme/m", "note.txt", revision=first.oid)).read()
found["whole"] = open(api.hf_hub_download("acme/m", "model.safetensors"), "rb").read() == big
fs = __import__("huggingface_hub").HfFileSystem()
with fs.open("acme/m/model.safetensors", block_size=64) as file:
    file.seek(300)
    found["ranged"] = list(file.read(5))
pull = api.create_commit("acme/m", [CommitOperationAdd("note.txt", b"pulled")], commit_message="Please", create_pr=True)
found["main before"] = open(api.hf_hub_download("acme/m", "note.txt")).read()
found["pulled"] = open(api.hf_hub_download("acme/m", "note.txt", revision="refs/pr/1")).read()
api.merge_pull_request("acme/m", pull.pr_num)
found["main after"] = open(api.hf_hub_download("acme/m", "note.txt")).read()
found["merged"] = [d.status for d in api.get_repo_discussions("acme/m")]
api.create_tag("acme/m", tag="v1")
found["twice"] = refused(lambda: api.create_tag("acme/m", tag="v1"), HfHubHTTPError)
api.create_branch("acme/m", branch="b")
refs = api.list_repo_refs("acme/m", include_pull_requests=True)
found["refs"] = [[r.name for r in part] for part in (refs.branches, refs.tags, refs.pull_requests)]
found["no revision"] = refused(lambda: api.hf_hub_download("acme/m", "note.txt", revision="v9"), RevisionNotFoundError)
found["no file"] = refused(lambda: api.hf_hub_download("acme/m", "nothing"), RemoteEntryNotFoundError)
found["no repo"] = refused(lambda: api.model_info("acme/nothing"), RepositoryNotFoundError)
found["nobody"] = refused(lambda: HfApi(token=False).model_info("acme/m"), RepositoryNotFoundError)
stranger = HfApi(token="hf_loopbackreader")
found["stranger"] = refused(lambda: stranger.model_info("acme/m"), RepositoryNotFoundError)
api.update_repo_settings("acme/m", private=False)
found["read only"] = refused(lambda: stranger.create_tag("acme/m", tag="v2"), HfHubHTTPError)
found["public"] = HfApi(token=False).model_info("acme/m").private
api.create_repo("acme/gated")
found["gated"] = refused(lambda: stranger.model_info("acme/gated"), GatedRepoError)
try:
    ModelCard("---\\nlicense: of my own\\n---\\n").validate()
    found["card"] = ""
except ValueError as error:
    found["card"] = "license" in str(error)
found["paths"] = [p.path for p in api.get_paths_info("acme/m", ["note.txt", "nothing"])]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_the_real_client_sees_a_hub(tmp_path):
    from server import serving

    with serving(tmp_path / "hub") as hub:
        hub.multipart = 30_000
        hub.gated.add("models/acme/gated")
        environment = hub.environment(tmp_path / "home") | {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        child = subprocess.run([sys.executable, "-c", CLIENT], env=environment, capture_output=True, text=True, timeout=300)
        assert child.returncode == 0, child.stderr
        found = json.loads(child.stdout.splitlines()[-1])
        assert sum(path.startswith("/lfs/") and "/part/" in path for _, path, _ in hub.requests) == 4  # 102,400 bytes by 30,000
    assert found == {
        "exists": ["HfHubHTTPError", 409], "listed": True, "nothing new": True, "stale": ["HfHubHTTPError", 412], "immutable": "one",
        "whole": True, "ranged": [44, 45, 46, 47, 48], "main before": "two", "pulled": "pulled", "main after": "pulled", "merged": ["merged"],
        "twice": ["HfHubHTTPError", 409], "refs": [["main", "b"], ["v1"], ["1"]], "no revision": ["RevisionNotFoundError", 404],
        "no file": ["RemoteEntryNotFoundError", 404], "no repo": ["RepositoryNotFoundError", 404], "nobody": ["RepositoryNotFoundError", 401],
        "stranger": ["RepositoryNotFoundError", 404], "read only": ["HfHubHTTPError", 403], "public": False, "gated": ["GatedRepoError", 403],
        "card": True, "paths": ["note.txt"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "head", "wrong"),
    [
        ("model", "license: apache-2.0\nbase_model: a/b\ntags: [x]", False),
        ("model", "license: mine", True),
        ("model", "base_model: /some/folder", True),
        ("model", "datasets: [just-a-name]", True),
        ("model", "tags: {a: 1}", True),
        ("model", "model-index: [{name: x, results: [{task: {type: t}, dataset: {type: d, name: n}, metrics: [{value: '1'}]}]}]", True),
        ("dataset", "configs: [{config_name: a, data_files: [{split: train, path: x}]}]", False),
        ("dataset", "configs: [{config_name: a, data_files: [{path: x}]}]", True),
        ("dataset", "size_categories: many", True),
        ("space", "title: t\nsdk: gradio", False),
        ("space", "title: t", True),
        ("space", "title: t\nsdk: gradio\ncolorFrom: mauve", True),
    ],
)
def test_front_matter_is_judged(kind, head, wrong):
    assert bool(complaints(f"---\n{head}\n---\n\ntext\n", kind)) == wrong


def test_damaged_front_matter_is_a_complaint():
    assert complaints("---\na: [\n---\n", "model")
