"""A planner is asked at every state of the gold paths, in the words of its training rows, and judged by the grammar."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgd_hf.agent.agent import SubgoalAgent
from sgd_hf.core.errors import StoreError
from sgd_hf.core.prompts import COMPLETE, PROMPT_VERSION, as_text
from sgd_hf.core.store import read_manifest
from sgd_hf.corpus.annotate import read_annotations
from sgd_hf.corpus.build import planner_rows
from sgd_hf.evaluation.match import match, read_match, summarise


class Said:
    """A planner that answers what a dictionary says, by the prompt; it counts what it was asked."""

    digest = "said"
    together = True

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def write_many(self, asks, draws):
        assert {ask.module for ask in asks} == {"planner"} and {ask.never for ask in asks} == {COMPLETE}
        self.asked += [as_text(ask.messages, "/") for ask in asks]
        return [self.answers(as_text(ask.messages, "/")) for ask in asks]


def unrolled(messages):
    """Each answer of a row, after what stands before it as one text."""
    return [(as_text(messages[:i], "/"), message["content"]) for i, message in enumerate(messages) if message["role"] == "assistant"]


@pytest.fixture(scope="module")
def cut(data):
    """A complete annotation folder, and its planner's answers but for the last of each episode: prompt to sub-goal."""
    folder = data.parent / "annotations" / "train"
    rows = [unrolled(messages) for annotation in read_annotations(folder) for messages, _, _ in planner_rows(annotation)]
    return folder, {prompt: label for row in rows for prompt, label in row if label != COMPLETE}


@pytest.fixture
def against(cut, tmp_path):
    """A function: what `match` finds of a planner that answers as a function says."""
    modules = {name: {"source": name, "revision": None} for name in ("planner", "executor")}
    SubgoalAgent({**modules, "prompt_version": PROMPT_VERSION}).save_pretrained(tmp_path / "agent")

    def found(answers, folder="out", digest="said", annotations=cut[0]):
        planner = Said(answers)
        planner.digest = digest
        return match(tmp_path / folder, annotations, tmp_path / "agent", load=lambda *_: planner), planner.asked

    return found


def test_a_planner_that_says_what_the_teacher_said_matches_everywhere(cut, against):
    found, asked = against(cut[1].__getitem__)
    assert sorted(asked) == sorted(cut[1]) and found["subgoals"] == len(asked)
    assert (found["exact_match"], found["verb_match"], found["parsed"], found["macro_exact"]) == (1, 1, 1, 1)
    assert found["agent"] == "agent" and found["planner"] == "said" and found["teacher"] == "rules"


def test_one_wrong_answer_does_not_end_the_episode(cut, against, tmp_path):
    first = next(iter(cut[1]))
    found, asked = against(lambda prompt: "no idea" if prompt == first else cut[1][prompt])
    assert len(asked) == len(cut[1]) and found["exact_match"] == found["parsed"] == 1 - 1 / len(asked)
    assert read_match(tmp_path / "out") == found


def test_what_was_answered_is_not_asked_again_and_another_planner_is_refused(cut, against, tmp_path):
    found, asked = against(cut[1].__getitem__)
    rows = (tmp_path / "out" / "rows.jsonl").read_text().splitlines()
    (tmp_path / "out" / "rows.jsonl").write_text("\n".join(rows[:3]) + "\n")
    again, rest = against(cut[1].__getitem__)
    assert again == found and sorted(rest) == sorted(asked[3:])
    with pytest.raises(StoreError, match="planner"):
        against(cut[1].__getitem__, digest="other")
    path = tmp_path / "cut" / "manifest.json"
    shutil.copytree(cut[0], path.parent)
    manifest = json.loads(path.read_text())
    manifest["summary"]["subgoals"] = 1  # the same teacher cut once more, of the same configuration
    path.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="annotations"):
        against(cut[1].__getitem__, annotations=path.parent)
    assert read_manifest(tmp_path / "out", "match", complete=True)


def row(task, expected, answer):
    return {"task": task, "expected": expected, "answer": answer}


def test_the_judge_reads_the_grammar_and_not_the_spelling():
    said = ["pick_up(metal pot)", "Pick up( the metal  pot ).", "pick_up(jug)", "open(metal pot)", "take it"]
    found = summarise([row("boil", "pick_up(metal pot)", answer) for answer in said])
    assert (found["exact_match"], found["verb_match"], found["parsed"]) == (2 / 5, 3 / 5, 4 / 5)


@given(st.lists(st.tuples(st.sampled_from(["boil", "melt"]), st.sampled_from(["wait(1)", "wait(2)", "use(cup)", "?"])), min_size=1))
def test_an_exact_match_is_a_verb_match_is_a_subgoal(said):
    found = summarise([row(task, "wait(1)", answer) for task, answer in said])
    for shares in (found, *found["tasks"].values()):
        assert 0 <= shares["exact_match"] <= shares["verb_match"] <= shares["parsed"] <= 1
    assert sum(each["subgoals"] for each in found["tasks"].values()) == found["subgoals"] == len(said)


def test_answers_to_questions_are_counted_apart():
    why = {"why": "nothing is on, it is electrically nonconductive, place it in the red box"}
    right = {**row("test-conductivity", "put(comb, red box)", f"{why['why']}: put(comb, red box)"), **why}
    found = summarise([right, {**right, "answer": "put(comb, blue box)"}, row("boil", "wait(1)", "wait(2)")])
    assert (found["questions"], found["answered"], found["exact_match"]) == (2, 1 / 2, 1 / 3)
    assert (found["tasks"]["boil"]["questions"], found["tasks"]["boil"]["answered"]) == (0, None)


@pytest.mark.slow
def test_the_verb_asks_a_trained_planner(run, tmp_path, sgd):
    given = ("--agent", run, "--annotations", run / "annotations" / "dev", "--out", tmp_path / "out")
    assert sgd("match", *given)[0] == 0
    found = read_match(tmp_path / "out")
    assert found["subgoals"] > 0 and found["teacher"] == "rules" and sgd("match", *given)[0] == 0
