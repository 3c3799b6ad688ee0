"""`sgd play`: what is watched is what is evaluated, told once and in order, and Ctrl-C keeps what was played."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from said import Said

from sgd_hf.agent.policy import guided
from sgd_hf.core.prompts import State, Transcript
from sgd_hf.core.records import Rollout, Step, SubgoalTrace
from sgd_hf.core.texts import flatten
from sgd_hf.evaluation.arms import Arm, arm
from sgd_hf.evaluation.play import INTERRUPTED, Frame, frames, groups, outcome, protocol, story, watch
from sgd_hf.evaluation.report import write_replay
from sgd_hf.evaluation.rollouts import play_all
from sgd_hf.scienceworld.tasks import episode

HARNESS = Path(__file__).parents[1] / "harness"


def guided_arm(annotation):
    """A planner that says what the annotation says, carried out by the gold path: real sub-goals, no model."""
    gold = annotation.gold
    segments = [(s.subgoal, gold.actions[s.start : s.end]) for s in annotation.segments]

    def begin(_, description, look, inventory):
        transcript = Transcript(description, State(look, inventory))
        return transcript, guided(transcript, segments)

    said = iter(subgoal for subgoal, _ in segments)
    return Arm("hierarchical", begin, {"planner": Said(lambda ask: next(said))})


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def plain(rollout):
    return dataclasses.replace(rollout, simulator_seconds=0.0, model_seconds=0.0, waiting_seconds=0.0)


def rollout(**changes):
    steps = tuple(
        Step(action, observation, "This room is called the kitchen.", "nothing", score, moves, False)
        for action, observation, score, moves in (
            ("look around", "A kitchen\n\twith a stove", 0, 1), ("boil [red]water[/red]", "No known action matches that input.", 0, 1),
            ("activate stove", "The stove is now activated.", 30, 2), ("focus on chair", "You focus on the chair.", -100, 3),
        )
    )  # fmt: skip
    goals = (SubgoalTrace("examine(stove)", 1, 1, "stalled"), SubgoalTrace("activate(stove)", 1, 3, "ended"), SubgoalTrace("use(chair)", 3, 4, "open"))  # fmt: skip
    made = Rollout(episode("boil", 14), "hierarchical", "Boil water.", steps, goals, 0, -100, 30, "failure", 1, 0)
    return dataclasses.replace(made, **changes)


def test_every_step_stands_under_its_sub_goal_and_the_rest_under_none():
    found = [(group.subgoal, group.start, group.end) for group in groups(rollout())]
    assert found == [("", 0, 1), ("examine(stove)", 1, 1), ("activate(stove)", 1, 3), ("use(chair)", 3, 4)]
    assert [(g.start, g.end) for g in groups(rollout(subgoals=()))] == [(0, 4)]
    assert groups(rollout(subgoals=(), steps=())) == []


def test_the_story_says_what_was_done_what_came_of_it_and_how_each_sub_goal_ended():
    told = [line.plain for line in story(rollout())]
    assert [line.split() for line in told if line] == [
        ["1", "look", "around"], ["A", "kitchen", "with", "a", "stove"],
        ["●", "examine(stove)"], ["╰─", "stalled"],
        ["●", "activate(stove)"], ["│", "2", "boil", "[red]water[/red]", "rejected"], ["│", "No", "known", "action", "matches", "that", "input."],
        ["│", "3", "activate", "stove", "+30"], ["│", "The", "stove", "is", "now", "activated."], ["╰─", "ended"],
        ["●", "use(chair)"], ["│", "4", "focus", "on", "chair", "failed"], ["│", "You", "focus", "on", "the", "chair."],
    ]  # fmt: skip
    assert outcome(rollout()) == "failed the task · score 0 (best before the end: 30) · 4 actions, 1 rejected · 3 moves"
    assert "· 1 action, 1 rejected · 1 move" in outcome(rollout(steps=rollout().steps[:1])) and "0 moves" in outcome(rollout(steps=()))


def test_a_reason_stands_under_its_sub_goal(tmp_path):
    shown = rollout(subgoals=(SubgoalTrace("use(chair)", 0, 4, "open", "nothing is on"),))
    assert [line.plain for line in story(shown)][1:3] == ["● use(chair)", "│  nothing is on"]
    write_replay(shown, tmp_path / "page.html")
    assert data(tmp_path / "page.html")["episodes"][0]["subgoals"] == [["use(chair)", 0, 4, "open", "nothing is on"]]


def data(page):
    return json.loads(re.search(r'id="replays">(.*?)</script>', page.read_text("utf-8"), re.S)[1])


def test_a_replay_page_holds_the_episode_and_nothing_else(tmp_path):
    write_replay(rollout(stop=INTERRUPTED, description="</script><b>bold</b>"), tmp_path / "new" / "page.html")
    [shown] = data(tmp_path / "new" / "page.html")["episodes"]
    assert [step[0] for step in shown["steps"]] == [step.action for step in rollout().steps] and shown["stop"] == INTERRUPTED
    page = (tmp_path / "new" / "page.html").read_text("utf-8")
    assert "<b>bold" not in page and not re.search(r"(?:src|href)=\"?(?:https?:)?//", page)
    assert "Scores" not in page and "macro" not in page


@pytest.fixture(scope="module")
def watched(annotations):
    """All frames of an episode of several sub-goals, and the annotation that it follows."""
    short = min((a for a in annotations if len(a.segments) >= 3), key=lambda a: len(a.gold.steps))
    return list(frames(guided_arm(short), short.gold.episode)), short


@pytest.mark.slow
def test_what_is_watched_is_what_is_evaluated(watched):
    shown, annotation = watched
    [evaluated] = play_all([annotation.gold.episode], guided_arm(annotation), protocol(annotation.gold.episode), 1)
    assert plain(shown[-1].rollout) == plain(evaluated) and evaluated.stop == "success"
    assert (protocol(evaluated.episode).limit, protocol(evaluated.episode).patience) == (100, 50)


@pytest.mark.slow
def test_frames_grow_and_what_was_told_is_never_told_otherwise(watched):
    shown, annotation = watched
    assert {len(frame.rollout.steps) for frame in shown} == set(range(len(annotation.gold.steps) + 1))
    assert {"planner"} <= {frame.awaits for frame in shown[:-1]} <= {"planner", "simulator"} and shown[-1].awaits == ""
    told = []
    for frame in shown:
        lines = [line.plain for line in story(frame.rollout)]
        assert lines[: len(told)] == told
        told = lines
    assert [line.removeprefix("● ") for line in told if line.startswith("●")] == [s.subgoal for s in annotation.segments]
    heard = iter(told)
    for step in annotation.gold.steps:  # in this order
        assert any(step.action in line for line in heard) and any(flatten(step.observation) in line for line in heard)


@pytest.mark.slow
def test_the_terminal_shows_an_episode_and_its_outcome(annotations):
    short = min((a for a in annotations if len(a.segments) >= 3), key=lambda a: len(a.gold.steps))
    console = Console(record=True, width=200, file=open(os.devnull, "w"))
    ended = watch(guided_arm(short), short.gold.episode, console, time.monotonic())
    said = console.export_text()
    assert said.count("● ") == len(short.segments) and outcome(ended) in said and short.gold.description.split(".")[0] in said
    assert float(re.search(r"First action on screen after ([\d.]+) s", said)[1]) < 60
    assert all(said.count(line.plain) for line in story(ended))


def test_a_simulator_that_dies_at_once_does_not_hide_the_task(monkeypatch):
    shown = [Frame(rollout(retries=1, steps=(), subgoals=()), "simulator"), Frame(rollout(retries=1), "")]
    monkeypatch.setattr("sgd_hf.evaluation.play.frames", lambda *_: (frame for frame in shown))
    console = Console(record=True, width=200, file=open(os.devnull, "w"))
    watch(Arm("flat", None), rollout().episode, console, 0.0)
    said = console.export_text()
    assert said.count("The simulator died") == 1 and said.count(rollout().description) == 1


@pytest.mark.slow
def test_an_episode_that_is_no_longer_looked_at_leaves_no_simulator():
    shown = frames(arm("do-nothing"), episode("boil", 14))
    next(shown)
    mine = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    java = [pid for child in mine.read_text().split() for pid in Path(f"/proc/{child}/task/{child}/children").read_text().split()]
    assert java
    shown.close()
    deadline = time.monotonic() + 20
    while any(map(running, java)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_played(tmp_path):
    command = [sys.executable, HARNESS / "play_slowly.py", "play", "--task", "1-1", "--html", tmp_path / "page.html"]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    said = ""
    while not re.search(r"^ +1  ", said, re.M):
        line = child.stdout.readline()
        assert line, child.stderr.read()
        said += line
    child.send_signal(signal.SIGINT)
    rest, errors = child.communicate(timeout=60)
    assert child.returncode == 130 and "Traceback" not in errors and "stopped by you" in rest, rest + errors
    [shown] = data(tmp_path / "page.html")["episodes"]
    assert shown["stop"] == INTERRUPTED and len(re.findall(r"^ +\d+  ", said + rest, re.M)) == len(shown["steps"]) >= 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "boyl"], ["'boyl'", "'boil'"]),
        (["--task", "boil", "--variation", "30"], ["variation 30", "0 to 29"]),
        (["--task", "boil"], ["--agent"]),
        (["--task", "boil", "--agent", "nowhere"], ["nowhere"]),
        (["--task", "boil", "--arm", "lucky"], ["lucky"]),
        (["--task", "boil", "--arm", "do-nothing", "--html", "."], ["--html"]),
    ],
)
def test_what_cannot_be_played_is_one_sentence(sgd, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, said = sgd("play", *arguments)
    assert code == 2 and said.count("\n") == 1 and said.startswith("sgd: "), said
    assert all(word in said for word in words), said


@pytest.mark.slow
def test_a_trained_agent_plays_on_the_command_line(sgd, run, tmp_path, capsys):
    assert sgd("play", "--agent", run, "--task", "find-plant", "--html", tmp_path / "page.html") == (0, "")
    [shown] = data(tmp_path / "page.html")["episodes"]
    assert (shown["arm"], shown["task"], shown["variation"]) == ("hierarchical", "find-plant", 150)
