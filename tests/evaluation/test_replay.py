"""A replay gives exactly what was stored, and names whatever was changed."""

import dataclasses
import json
import shutil

import pytest
from recorded import gold_paths

from sgd_hf.agent.policy import Act, Valid
from sgd_hf.core.errors import CheckpointError, InputError, SimulatorError, StoreError
from sgd_hf.core.store import write_json
from sgd_hf.evaluation import replay as module
from sgd_hf.evaluation.arms import Arm, arm
from sgd_hf.evaluation.replay import Script, compared, misreported, play_script, replay, script_of
from sgd_hf.evaluation.results import gather
from sgd_hf.evaluation.rollouts import evaluate, read_rollouts
from sgd_hf.release.tables import rollouts_tables
from sgd_hf.scienceworld.environment import ScienceWorld
from sgd_hf.scienceworld.protocols import Protocol, first

EPISODES = first("dev", 1, ("find-plant", "use-thermometer", "lifespan-shortest-lived"))
LIMITS = (30, 5)
PROTOCOL = Protocol("three", EPISODES, *LIMITS)


@pytest.fixture(scope="module")
def env():
    with ScienceWorld() as env:
        yield env


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Three random episodes, which list valid actions before each of theirs."""
    folder = tmp_path_factory.mktemp("played") / "random"
    evaluate(folder, PROTOCOL, arm("random-valid", seed=3), workers=1)
    return folder


@pytest.fixture(scope="module")
def rollout(played):
    """The longest of the three."""
    return max(read_rollouts(played), key=lambda rollout: len(rollout.steps))


@pytest.fixture(scope="module")
def again(env, rollout):
    """Its replay."""
    return play_script(env, script_of(rollout, *LIMITS))


@pytest.fixture
def tampered(env, played, tmp_path, monkeypatch):
    """A function: a copy of the folder whose rows and manifest two functions have changed. It is replayed in this process."""
    monkeypatch.setattr(module, "play_scripts", lambda scripts, workers: ((script, play_script(env, script)) for script in scripts))

    def made(change_rows, change_manifest=lambda manifest: None):
        rows = [json.loads(line) for line in (played / "rows.jsonl").read_text().splitlines()]
        manifest = json.loads((played / "manifest.json").read_text())
        change_rows(rows)
        change_manifest(manifest)
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        return tmp_path

    return made


def fields(stored, replayed):
    return [mismatch.field for mismatch in compared(stored, replayed)]


def with_step(rollout, i, **changes):
    steps = list(rollout.steps)
    steps[i] = dataclasses.replace(steps[i], **changes)
    return dataclasses.replace(rollout, steps=tuple(steps))


@pytest.mark.slow
def test_rollouts_replay_as_they_were_stored(played):
    verdict = replay(played, workers=2)
    assert (verdict.rollouts, verdict.replayed, verdict.errors, verdict.mismatches) == (3, 3, 0, ())


@pytest.mark.slow
def test_a_releases_rollouts_of_several_arms_replay_and_a_changed_score_is_named(played, tmp_path, monkeypatch, env):
    monkeypatch.setattr(module, "play_scripts", lambda scripts, workers: ((script, play_script(env, script)) for script in scripts))
    evaluate(tmp_path / "idle", PROTOCOL, arm("do-nothing"), workers=1)
    results, rollouts = gather([played, tmp_path / "idle"])
    for change, mismatches in ({}, set()), ({"score": 77}, {rollouts[0].key, f"{tmp_path / 'release'}'s random-valid"}):
        rollouts = [dataclasses.replace(rollouts[0], **change), *rollouts[1:]]
        shutil.rmtree(tmp_path / "release", ignore_errors=True)  # as a release is: whole, in the place of the old one
        rollouts_tables(tmp_path / "release", rollouts)
        write_json(tmp_path / "release" / "results.json", results)
        verdict = replay(tmp_path / "release")
        assert (verdict.rollouts, verdict.replayed, {mismatch.key for mismatch in verdict.mismatches}) == (6, 6, mismatches)


def test_a_number_of_a_release_that_its_rollouts_do_not_give_is_named(played, tmp_path):
    results, rollouts = gather([played])
    write_json(tmp_path / "results.json", results)
    assert misreported(tmp_path, rollouts) == []
    results["arms"]["random-valid"]["macro"] = 90.0
    write_json(tmp_path / "results.json", results)
    [mismatch] = misreported(tmp_path, rollouts)
    assert (mismatch.field, mismatch.stored) == ("macro", 90.0)


def test_a_run_with_results_is_no_release(tmp_path):
    write_json(tmp_path / "results.json", {"arms": {}, "protocol": {}, "simulator": {}})
    with pytest.raises(StoreError, match="no rollouts"):
        replay(tmp_path)


@pytest.mark.parametrize("damaged", ["", "[]", "{}", '{"protocol": {}, "simulator": {}, "arms": []}'])
def test_damaged_results_are_one_sentence(tmp_path, damaged):
    (tmp_path / "results.json").write_text(damaged)
    with pytest.raises((CheckpointError, StoreError), match=r"results\.json"):
        replay(tmp_path)


def test_a_torn_table_is_one_sentence(tmp_path):
    write_json(tmp_path / "results.json", {"arms": {}, "protocol": {}, "simulator": {}})
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "rollouts" / "test.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(StoreError, match="is damaged"):
        replay(tmp_path)


def test_a_changed_action_is_named_though_the_score_is_the_same(env):
    stored = play_script(env, Script(EPISODES[0], ("look around", "wait1"), (), *LIMITS))
    changed = with_step(stored, 0, action="inventory")
    assert fields(changed, play_script(env, script_of(changed, *LIMITS))) == ["steps[0].observation"]


@pytest.mark.parametrize("field", ["score", "raw_score", "best_score", "rejected"])
def test_a_changed_figure_is_named_alone(rollout, again, field):
    changed = dataclasses.replace(rollout, **{field: getattr(rollout, field) + 7})
    [mismatch] = compared(changed, again)
    assert mismatch == module.Mismatch(rollout.key, field, getattr(changed, field), getattr(rollout, field))


def test_every_changed_step_score_is_named(rollout, again):
    changed = with_step(with_step(rollout, 0, score=1), 1, score=2)
    assert fields(changed, again) == ["steps[0].score", "steps[1].score"]


@pytest.mark.parametrize("stop", ["success", "gave_up", "no_progress", "failure", "move_limit"])
def test_a_changed_stop_reason_is_named(rollout, again, stop):
    assert fields(dataclasses.replace(rollout, stop=stop), again) == ["stop"] * (stop != rollout.stop)


def test_a_settled_end_cannot_be_claimed_for_actions_that_merely_run_out(env, rollout):
    short = dataclasses.replace(rollout, steps=rollout.steps[:1], score=0, raw_score=0, best_score=0)
    out = play_script(env, script_of(short, *LIMITS))
    assert out.stop == "gave_up" and "stop" in fields(short, out)
    assert "stop" not in fields(dataclasses.replace(short, stop="gave_up"), out)


@pytest.mark.parametrize("field", ["look", "inventory"])
def test_a_changed_first_state_is_named(rollout, again, field):
    assert fields(dataclasses.replace(rollout, **{field: "nothing"}), again) == [field]


def test_a_protocol_that_says_otherwise_now_is_named(tampered, monkeypatch):
    folder = tampered(lambda rows: None)
    assert replay(folder).unnamed
    monkeypatch.setattr(module, "protocol", lambda name: PROTOCOL)
    assert not replay(folder).unnamed and replay(folder).mismatches == ()
    other = Protocol("three", EPISODES[::-1], *LIMITS)
    monkeypatch.setattr(module, "protocol", lambda name: other)
    [mismatch] = replay(folder).mismatches
    assert (mismatch.field, mismatch.stored, mismatch.replayed) == ("protocol's digest", PROTOCOL.digest, other.digest)


def test_episodes_that_are_missing_or_foreign_are_named(tampered, monkeypatch):
    folder = tampered(lambda rows: None)
    others = Protocol("three", (*EPISODES[1:], *first("dev", 1, ("boil",))), *LIMITS)
    monkeypatch.setattr(module, "protocol", lambda name: others)
    found = {mismatch.key: mismatch.stored for mismatch in replay(folder).mismatches if mismatch.field == "episode"}
    assert found == {others.episodes[-1].key: "missing", EPISODES[0].key: "played"}


def test_long_texts_are_shown_where_they_part(rollout, again):
    text = rollout.description + " Then stop."
    [mismatch] = compared(dataclasses.replace(rollout, description=text), again)
    assert "Then stop." in str(mismatch) and len(str(mismatch)) < 300


def test_a_rollout_that_cannot_be_replayed_is_a_mismatch(rollout):
    [mismatch] = compared(rollout, SimulatorError("It died; try again."))
    assert mismatch.field == "replay" and "It died" in str(mismatch)


def test_a_row_that_is_missing_is_named(tampered):
    folder = tampered(lambda rows: rows.pop())
    [mismatch] = replay(folder).mismatches
    assert (mismatch.field, mismatch.stored, mismatch.replayed) == ("number of episodes", 3, 2)


def test_a_crashed_rollout_is_counted_apart(tampered):
    verdict = replay(tampered(lambda rows: rows[0].update(stop="error", score=0)))
    assert (verdict.rollouts, verdict.replayed, verdict.errors, verdict.mismatches) == (3, 2, 1, ())


def test_one_in_two_replays_no_more_and_still_reads_all(tampered):
    def wrong(rows):
        rows.sort(key=lambda row: row["key"])
        for row in rows:
            row["best_score"] += 1

    verdict = replay(tampered(wrong, lambda manifest: manifest["summary"].update(episodes=4)), every=2)
    assert (verdict.rollouts, verdict.replayed, verdict.errors) == (3, 2, 0)
    assert [mismatch.field for mismatch in verdict.mismatches].count("best_score") == 2
    assert "number of episodes" in [mismatch.field for mismatch in verdict.mismatches]


def test_another_simulator_is_refused(tampered):
    folder = tampered(lambda rows: None, lambda manifest: manifest["config"].update(jar="0" * 16))
    with pytest.raises(InputError, match="another simulator"):
        replay(folder)


def test_an_unfinished_folder_is_refused(tampered):
    folder = tampered(lambda rows: None, lambda manifest: manifest.pop("summary"))
    with pytest.raises(StoreError, match="not complete"):
        replay(folder)


def test_the_verb_exits_0_when_all_is_well_and_2_with_one_sentence_when_not(tampered, sgd):
    assert sgd("replay", tampered(lambda rows: None)) == (0, "")
    code, said = sgd("replay", tampered(lambda rows: rows[0].update(score=99)))
    assert code == 2 and said.count("\n") == 1 and "does not replay" in said


@pytest.mark.slow
def test_listing_valid_actions_at_the_same_steps_makes_a_replay_exact(env):
    """Bees pollinate at random, and listing draws from the same random numbers."""
    gold = next(g for g in gold_paths() if g.episode.task == "grow-fruit")
    everywhere = Script(gold.episode, gold.actions, tuple(range(len(gold.steps))), 300, 100)
    rollout = play_script(env, everywhere)
    assert compared(rollout, play_script(env, script_of(rollout, 300, 100))) == []
    assert compared(rollout, play_script(env, dataclasses.replace(everywhere, listed=())))


@pytest.mark.slow
def test_a_rollout_records_where_it_listed(tmp_path):
    def policy():
        yield Act("look around")
        yield Valid()
        yield Act("wait1")
        yield Act("look around")
        yield Valid()

    listing = Arm("listing", lambda episode, *state: (arm("do-nothing").begin(episode, *state)[0], policy()))
    [rollout] = evaluate(tmp_path / "out", Protocol("one", EPISODES[:1]), listing, workers=1)
    assert rollout.listed == (1, 3) and rollout.stop == "gave_up"
    assert replay(tmp_path / "out", workers=1).mismatches == ()
