"""A release against a Hub on loopback, with the real clients: whole or not at all, resumed, verified, refused where it must be."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HARNESS = Path(__file__).parents[1] / "harness"
SGD = (sys.executable, "-m", "sgd_hf.cli")


def command(hub, home, *arguments, token=None, run=SGD):
    """A child process with an empty cache: exit code, what it said, and its errors without the client's progress bars."""
    environment = hub.environment(home, **({} if token is None else {"token": token}))
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "OMP_NUM_THREADS": "1"}
    child = subprocess.run([*run, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=600)
    return child.returncode, child.stdout, child.stderr


@pytest.fixture
def release(hub, scored, tmp_path):
    """A function: `sgd release` of the scored run, with the cache of its own."""
    names = ("--org", "acme", "--name", "tiny", "--out", tmp_path / "out")
    return lambda *more, run=scored, **options: command(hub, tmp_path / "home", "release", run, *names, *more, **options)


@pytest.fixture(scope="module")
def published(scored, tmp_path_factory):
    """A Hub that holds a release, for tests that only read."""
    from server import serving

    folder = tmp_path_factory.mktemp("published")
    with serving(folder / "hub") as hub:
        hub.multipart = 50_000
        done = command(hub, folder / "home", "release", scored, "--org", "acme", "--name", "tiny", "--out", folder / "out", "--tag", "v1")
        assert done[0] == 0, done[2]
        yield hub, folder


def test_everything_loads_in_another_process_with_an_empty_cache(published, scored, tmp_path):
    hub, folder = published
    code, said, errors = command(hub, tmp_path / "home", "v1", run=(sys.executable, HARNESS / "hub_reader.py"))
    assert code == 0, errors
    found = json.loads(said.splitlines()[-1])
    rows = json.loads((scored / "data" / "manifest.json").read_text())["summary"]["rows"]
    assert {config: count for config, count in found["rows"].items() if config != "episodes"} == rows
    assert found["rows"]["episodes"] == {"train": 3592, "validation": 1796, "test": 1819}
    assert set(found["streamed"]) == set(found["rows"]) and "messages" in found["default"]
    assert all(0 < words <= 4 for words in found["words"].values())
    for role, pin in found["pins"].items():
        assert pin == {"source": f"acme/sgd-{role}-tiny", "revision": hub.repo("model", f"acme/sgd-{role}-tiny")["tags"]["v1"]}
    assert found["score"] == 100.0 and found["played"]["episodes"] == 1 and found["played"]["errors"] == 0
    assert set(map(tuple, found["tags"].values())) == {("v1",)} and set(found["collection"]) == set(found["tags"])


def test_hf_download_gives_the_staged_files(published, tmp_path):
    hub, folder = published
    code, said, errors = command(
        hub, tmp_path / "home", "download", "acme/sgd-planner-tiny", "--revision", "v1", "--local-dir", tmp_path / "got",
        run=(Path(sys.executable).with_name("hf"),),
    )  # fmt: skip
    assert code == 0, errors
    for path in (folder / "out" / "planner").rglob("*"):
        if path.is_file():
            assert (tmp_path / "got" / path.relative_to(folder / "out" / "planner")).read_bytes() == path.read_bytes()


def test_every_published_artifact_is_verified(published, tmp_path):
    ids = [f"acme/{name}" for name in ("sgd-agent-tiny@v1", "sgd-flat-tiny", "scienceworld-subgoals@v1", "sgd-rollouts-tiny", "scienceworld_score",
                                       "sgd-demo-tiny")]  # fmt: skip
    code = "import sys; from sgd_hf.release.hub import verify; [verify(id, print) for id in sys.argv[1:]]"
    code, said, errors = command(published[0], tmp_path / "home", *ids, run=(sys.executable, "-c", code))
    assert code == 0 and said.count("complete, safe, and loaded") == len(ids), errors


def test_verification_names_what_is_not_there(published, tmp_path):
    said = {"acme/nothing": "not on the Hub", "acme/sgd-agent-tiny@v9": "no such revision", "runs/release/agent": "give ORG/NAME"}
    for id, what in said.items():
        code, _, errors = command(published[0], tmp_path / "home", "release", "--verify", id)
        assert code == 2 and what in errors and len(errors.strip().splitlines()) == 1


def test_repositories_are_private_and_the_token_is_nowhere(published):
    hub, folder = published
    assert all(repo["private"] for repo in hub.state["repos"].values())
    for path in [*folder.rglob("out/**/*"), *folder.rglob("hub/blobs/*")]:
        assert not path.is_file() or b"hf_loopback" not in path.read_bytes()


def test_one_commit_a_repository_and_no_file_sent_twice(published):
    hub, _ = published
    assert all(len(repo["commits"]) == 3 for repo in hub.state["repos"].values())  # its creation, the pull request, the merge
    assert len(hub.sent) == len(set(hub.sent))


def test_releasing_again_sends_nothing(release, hub):
    assert release("--tag", "v1")[0] == 0
    sent, commits = list(hub.sent), {id: list(repo["commits"]) for id, repo in hub.state["repos"].items()}
    code, said, errors = release("--tag", "v1")
    assert code == 0, errors
    assert hub.sent == sent and commits == {id: repo["commits"] for id, repo in hub.state["repos"].items()}
    code, said, _ = release("--tag", "v2", "--public")  # the same content under another tag
    assert code == 0 and hub.sent == sent
    assert all(set(repo["tags"]) == {"v1", "v2"} and not repo["private"] for repo in hub.state["repos"].values())
    assert [found["private"] for found in hub.state["collections"].values()] == [False]


def test_a_tag_is_not_moved_and_another_one_changes_only_what_differs(release, hub, scored, tmp_path):
    assert release("--tag", "v1")[0] == 0
    changed = shutil.copytree(scored, tmp_path / "run")
    said = json.loads((changed / "flat" / "sgd.json").read_text())
    (changed / "flat" / "sgd.json").write_text(json.dumps(said | {"teacher": "rules, twice"}))
    requests = len(hub.requests)
    code, _, errors = release("--tag", "v1", run=changed)
    assert code == 2 and "sgd-flat-tiny" in errors and "--tag" in errors and len(errors.strip().splitlines()) == 1
    assert {method for method, path, _ in hub.requests[requests:]} == {"GET"}
    code, said, errors = release("--dry-run", "--tag", "v2", run=changed)
    assert code == 0 and re.findall(r"^  [~+-] (\S+)", said.split("acme/sgd-flat-tiny")[1].split("model acme")[0], re.MULTILINE) == [
        "README.md",
        "sgd.json",
    ]
    heads = {id: repo["branches"]["main"] for id, repo in hub.state["repos"].items()}
    assert release("--tag", "v2", run=changed)[0] == 0
    moved = {id for id, repo in hub.state["repos"].items() if repo["branches"]["main"] != heads[id]}
    assert moved == {"models/acme/sgd-flat-tiny"}


def test_dry_run_says_all_and_changes_nothing(release, hub, tmp_path):
    code, said, errors = release("--dry-run")
    assert code == 0, errors
    assert not hub.state["repos"] and {method for method, _, _ in hub.requests} <= {"GET"}
    for path in (tmp_path / "out").glob("*/**/*"):
        if path.is_file() and path.name != "README.md":
            assert re.search(rf"^  \+ \S*{re.escape(path.name)}  [\d.]+ [kMG]?B$", said, re.MULTILINE), path
    for card in (tmp_path / "out").glob("*/README.md"):
        assert f"card: {card}" in said


def test_data_and_rollouts_can_be_pushed_by_their_scripts(hub, scored, tmp_path):
    from sgd_hf.core.assets import asset

    corpus = (asset("dataset_scripts", "push_corpus.py"), "--data", shutil.copytree(scored / "data", tmp_path / "data"), "--org", "acme")
    rollouts = (
        asset("dataset_scripts", "push_rollouts.py"),
        *sorted((scored / "evaluation").iterdir()),
        "--id",
        "acme/r",
        "--out",
        tmp_path / "r",
    )
    for script, id in ((corpus, "acme/scienceworld-subgoals"), (rollouts, "acme/r")):
        code, said, errors = command(hub, tmp_path / "home", *script, "--dry-run", run=(sys.executable,))
        assert code == 0 and f"dataset {id}" in said and f"datasets/{id}" not in hub.state["repos"], errors
        assert command(hub, tmp_path / "home", *script, run=(sys.executable,))[0] == 0
        assert set(hub.repo("dataset", id)["tags"]) == {"v1.0.0"}


def test_who_may_not_write_is_told_so(release, hub):
    for token, what in (("hf_loopbackreader", "403"), ("", "hf auth login")):
        code, _, errors = release(token=token)
        assert code == 2 and what in errors and len(errors.strip().splitlines()) == 1, errors
    code, said, errors = release("--dry-run", token="")  # to whom what is private looks new
    assert code == 2 and "hf auth login" in errors and not said
    assert not hub.state["repos"] and not hub.sent


def test_nothing_of_an_unsafe_run_is_sent(release, hub, scored, tmp_path):
    run = shutil.copytree(scored, tmp_path / "run")
    (run / "planner" / "modeling.py").touch()
    code, _, errors = release(run=run)
    assert code == 2 and "modeling.py" in errors and not hub.requests


def test_weights_that_were_not_scored_are_refused_before_anything_is_sent(release, hub, scored, tmp_path):
    run = shutil.copytree(scored, tmp_path / "run")
    shutil.copy2(run / "executor" / "model.safetensors", run / "planner" / "model.safetensors")
    code, _, errors = release(run=run)
    assert code == 2 and "not those that were scored" in errors and not hub.requests


def test_a_pull_request_that_somebody_overtook_is_opened_anew(release, hub):
    hub.faults(lambda number, method, path: 403 if path.endswith("/merge") else None)
    assert release("--tag", "v1")[0] == 2
    hub.faults(None)
    repo = hub.repo("dataset", "acme/scienceworld-subgoals")
    note = hub.tree("dataset", "acme/scienceworld-subgoals")[".gitattributes"]
    repo["branches"]["main"] = hub.commit(repo, {".gitattributes": note, "note.txt": note}, "a note", repo["branches"]["main"])
    code, _, errors = release("--tag", "v1")
    assert code == 2 and "changed by somebody else" in errors and repo["discussions"][0]["status"] == "closed"
    code, _, errors = release("--tag", "v1")
    assert code == 0, errors
    assert "note.txt" not in hub.tree("dataset", "acme/scienceworld-subgoals", "v1")


def test_an_unsafe_file_on_the_hub_is_found(release, hub, tmp_path):
    assert release("--tag", "v1")[0] == 0
    repo = hub.repo("model", "acme/sgd-planner-tiny")
    tree = hub.tree("model", "acme/sgd-planner-tiny") | {"evil.pkl": hub.tree("model", "acme/sgd-planner-tiny")["sgd.json"]}
    repo["branches"]["main"] = hub.commit(repo, tree, "evil", repo["branches"]["main"])
    code, _, errors = command(hub, tmp_path / "other", "release", "--verify", "acme/sgd-planner-tiny")
    assert code == 2 and "evil.pkl" in errors


def test_interrupted_at_any_request_it_is_whole_or_not_there(tmp_path):
    """The k-th request and all after it fail, for a k of every phase of a small release: a server that hangs up, one that
    answers with a status, one that does what it was asked and hangs up. Then the same command again. By hand, the
    harness does so for every k."""
    run = (sys.executable, HARNESS / "release_interrupted.py", tmp_path, "phases")
    child = subprocess.run(run, capture_output=True, text=True, timeout=1800)
    assert child.returncode == 0, child.stderr[-2000:]
    found = json.loads(child.stdout.splitlines()[-1])
    assert found["broken"] == []
    assert found["requests"] > 100 and found["interruptions"] >= 50
    phases = {re.sub("models|datasets|spaces", "*", met.rsplit(" ", 1)[0]) for met in found["met"]}
    assert phases >= {
        "POST api/repos/create", "GET api/*/refs", "GET api/*/tree", "POST api/validate-yaml", "POST api/*/preupload",
        "POST info/lfs/objects/batch", "PUT lfs", "PUT lfs/part", "POST lfs/complete", "POST lfs/verify", "POST api/*/commit",
        "GET api/*/discussions", "POST api/*/discussions/merge", "POST api/collections", "POST api/collections/items", "POST api/*/tag",
    }  # fmt: skip
