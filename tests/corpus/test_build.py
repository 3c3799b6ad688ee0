"""Rows and prompts (contracts 2 and 3): what a student learns from is what the live policy asks, byte for byte."""

import dataclasses
from itertools import pairwise

import pytest

from sgd_hf.agent.policy import Act, Ask, Patience, Reply, flat, hierarchical
from sgd_hf.core.errors import InputError, StoreError
from sgd_hf.core.prompts import BUDGET, COMPLETE, END, PAPER_BUDGET, PROMPT_VERSION, PaperTranscript, State, Transcript, flatten
from sgd_hf.core.reasons import heard, spoken
from sgd_hf.core.records import to_row
from sgd_hf.core.store import Store, read_manifest
from sgd_hf.core.texts import rejected
from sgd_hf.corpus.build import build, executor_rows, flat_rows, planner_rows

ENDLESS = Patience(actions=1000, rejections=1000, repeats=1000, repair=False, postconditions=False)
BUDGETS = (BUDGET, 2500, 2000)


def live(annotation, policy, budget, style=Transcript):
    """Drive a real policy with a model that answers as the annotation does and a simulator that replies from the
    recording: what was asked, as (module, messages, answer)."""
    gold = annotation.gold
    actions = [action.lower() for action in gold.actions]
    transcript = style(gold.description, State(gold.look, gold.inventory), budget)
    answers = {"planner": iter([*(s.subgoal for s in annotation.segments), COMPLETE]), "flat": iter(actions)}
    answers["executor"] = iter([a for s in annotation.segments for a in (*actions[s.start : s.end], END)])
    steps = iter(gold.steps)
    asked = []
    running = policy(transcript, ENDLESS)
    answer = None
    while True:
        request = running.send(answer)
        if isinstance(request, Ask):
            answer = next(answers[request.module], None)
            if answer is None:
                return asked
            if request.module == "planner":
                answer = spoken(answer, transcript.reason(answer))
            asked.append((request.module, [dict(m) for m in request.messages], answer))
            if answer == COMPLETE:
                return asked
        else:
            assert isinstance(request, Act)
            step = next(steps)
            assert request.action == step.action.lower()
            answer = Reply(step.observation, step.look, step.inventory, rejected(step.observation))


def unrolled(rows):
    """Each assistant turn of each row with what stands before it: what is learnt, and from what."""
    return [
        (messages[:i], message["content"])
        for messages, _, _ in rows
        for i, message in enumerate(messages)
        if message["role"] == "assistant"
    ]


@pytest.mark.parametrize("budget", BUDGETS)
def test_live_prompts_are_those_of_the_rows(annotations, budget):
    for annotation in annotations:
        asked = live(annotation, hierarchical, budget)
        for module, rows in (("planner", planner_rows), ("executor", executor_rows)):
            assert [(m, a) for name, m, a in asked if name == module] == unrolled(rows(annotation, budget)), annotation.key
        asked = live(annotation, flat, budget)
        assert [(m, a) for _, m, a in asked] == unrolled(flat_rows(annotation, budget)), annotation.key


@pytest.mark.parametrize("budget", [PAPER_BUDGET, 2000])
def test_live_prompts_in_the_papers_style_are_those_of_the_rows(annotations, budget):
    for annotation in annotations:
        asked = live(annotation, hierarchical, budget, PaperTranscript)
        executed = unrolled(executor_rows(annotation, budget, PaperTranscript))
        assert [(m, a) for name, m, a in asked if name == "executor"] == executed, annotation.key
        learnt = unrolled(planner_rows(annotation, budget, PaperTranscript))
        decided = [(m, a) for name, m, a in asked if name == "planner"]
        assert decided[0] == learnt[0] and decided == [pair for pair in learnt if pair in decided], annotation.key
        asked = live(annotation, flat, budget, PaperTranscript)
        assert [(m, a) for _, m, a in asked] == unrolled(flat_rows(annotation, budget, PaperTranscript)), annotation.key


def test_a_planner_asked_before_every_action_reads_its_rows(annotations):
    """As in the paper: it stays with a sub-goal until its last action is done, and then its answer takes the place."""
    unlike = [a for a in annotations if all(one.subgoal != two.subgoal for one, two in pairwise(a.segments))]
    assert len(unlike) > len(annotations) / 2
    for annotation in unlike:
        gold = annotation.gold
        rows = unrolled(planner_rows(annotation, PAPER_BUDGET, PaperTranscript))
        assert len(rows) == len(gold.steps) + len(annotation.segments) + 1
        learnt = {messages[0]["content"]: answer for messages, answer in rows}
        transcript = PaperTranscript(gold.description, State(gold.look, gold.inventory))
        running = hierarchical(transcript, ENDLESS, every_step=True)
        request = next(running)
        for step in gold.steps:
            while request.module == "planner":
                request = running.send(learnt[request.messages[0]["content"]])
            assert running.send(step.action.lower()) == Act(step.action.lower())
            request = running.send(Reply(step.observation, step.look, step.inventory, rejected(step.observation)))
        assert [past.subgoal for past in transcript.past] + [transcript.subgoal] == [s.subgoal for s in annotation.segments]
        assert learnt[request.messages[0]["content"]] == COMPLETE


@pytest.mark.parametrize("budget", BUDGETS)
def test_rows_fit_and_nothing_owed_is_cut(annotations, budget):
    for annotation in annotations:
        task = flatten(annotation.gold.description).lower()
        labels = [s.subgoal for s in annotation.segments]
        for rows in (planner_rows, executor_rows, flat_rows):
            for messages, subgoal, _ in rows(annotation, budget):
                assert sum(len(m["content"]) for m in messages) <= budget
                assert messages[0]["content"].startswith(f"task: {task}\n")
                assert "\nroom: " in messages[0]["content"] and "\ninventory: " in messages[0]["content"]
                if rows is executor_rows:
                    assert all(m["content"].endswith(f"\nsub-goal: {subgoal}") for m in messages[:-1] if m["role"] == "user")
        assert [heard(answer)[0] for _, answer in unrolled(planner_rows(annotation, budget))] == [*labels, COMPLETE]


def test_every_action_is_learnt_once_and_end_closes_a_segment(annotations):
    for annotation in annotations:
        ends = [answer for _, answer in unrolled(executor_rows(annotation))]
        actions = [action.lower() for action in annotation.gold.actions]
        assert [a for a in ends if a != END] == actions and ends.count(END) == len(annotation.segments)
        assert [answer for _, answer in unrolled(flat_rows(annotation))] == actions


def test_a_small_budget_shortens_and_counts(annotations):
    longest = max(annotations, key=lambda a: len(a.gold.steps))
    for rows in (planner_rows, executor_rows, flat_rows):
        assert sum(short for _, _, short in rows(longest, 2000)) > sum(short for _, _, short in rows(longest, 20000)) == 0


def stored(annotations, folder):
    with Store(folder, "annotate", {"teacher": "rules"}) as store:
        for annotation in annotations:
            store.append(annotation.key, to_row(annotation))
        store.finish({})
    return folder


def test_the_folder_loads_as_a_data_set(data):
    from datasets import load_dataset

    summary = read_manifest(data, "build", complete=True)["summary"]
    for config, counts in summary["rows"].items():
        rows = load_dataset(str(data), config)
        assert {split: len(part) for split, part in rows.items()} == counts and set(counts) == {"train", "validation", "test"}
    planner = load_dataset(str(data), split="train")
    assert {"messages", "subgoal", "task", "split", "teacher"} <= set(planner.column_names)
    assert set(planner["teacher"]) == {"rules"} and set(planner["prompt_version"]) == {PROMPT_VERSION}
    assert set(planner["subgoal"]) == {""} and all(
        subgoal != "" for subgoal in load_dataset(str(data), "executor", split="train")["subgoal"]
    )


def test_a_folder_says_its_style(paper_data):
    from datasets import load_dataset

    manifest = read_manifest(paper_data, "build", complete=True)
    assert (manifest["config"]["prompt_version"], manifest["config"]["budget"]) == ("paper-1", PAPER_BUDGET)
    for role in ("planner", "executor", "flat"):
        rows = load_dataset(str(paper_data), role, split="train")
        assert set(rows["prompt_version"]) == {"paper-1"} and {len(messages) for messages in rows["messages"]} == {2}
        assert 0 < manifest["summary"]["characters"][role] <= PAPER_BUDGET


def test_building_again_replaces_and_gives_the_same_files(annotations, tmp_path):
    folder = stored(annotations[:3], tmp_path / "annotations")
    first = build([folder], tmp_path / "data")
    files = sorted(str(path) for path in (tmp_path / "data").rglob("*.parquet"))
    assert build([folder], tmp_path / "data") == first
    assert sorted(str(path) for path in (tmp_path / "data").rglob("*.parquet")) == files


def test_other_rows_in_a_folder_of_the_same_name_are_not_answered_from_the_cache(annotations, tmp_path):
    from datasets import load_dataset

    for name, some in (("one", annotations[:1]), ("two", annotations[1:3])):
        build([stored(some, tmp_path / name / "annotations")], tmp_path / name / "data")
        rows = load_dataset(str(tmp_path / name / "data"), "gold_paths", split="train")
        assert [row["episode"]["task"] for row in rows] == [a.gold.episode.task for a in some]


def test_unusable_input_is_refused(annotations, gold_folder, tmp_path):
    folder = stored(annotations[:2], tmp_path / "annotations")
    with pytest.raises(InputError, match="more than one"):
        build([folder, folder], tmp_path / "data")
    with pytest.raises(StoreError, match="sgd collect"):
        build([gold_folder], tmp_path / "data")
    with pytest.raises(StoreError, match="sgd annotate"):
        build([folder], folder)
    with pytest.raises(InputError, match="budget"):
        build([folder], tmp_path / "data", budget=600)
    empty = stored([dataclasses.replace(annotations[0], segments=(), reason="no")], tmp_path / "empty")
    with pytest.raises(InputError, match="No accepted"):
        build([empty], tmp_path / "data")
    assert not (tmp_path / "data" / "manifest.json").exists()


def test_what_it_reads_is_not_deleted_with_the_rows_of_before(annotations, tmp_path):
    data = tmp_path / "data"
    build([stored(annotations[:1], tmp_path / "annotations")], data)
    inner = stored(annotations[:1], data / "cut")
    (tmp_path / "link").symlink_to(data)
    for out in (data, tmp_path / "link"):
        with pytest.raises(InputError, match="cut lies in .*data, which is made anew"):
            build([inner], out)
    assert read_manifest(inner, "annotate", complete=True) and read_manifest(data, "build", complete=True)


def test_a_folder_of_something_else_is_left_alone(annotations, tmp_path):
    folder = stored(annotations[:1], tmp_path / "annotations")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "README.md").write_text("mine")
    with pytest.raises(StoreError):
        build([folder], tmp_path / "data")
    assert (tmp_path / "data" / "README.md").read_text() == "mine"
