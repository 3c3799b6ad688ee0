"""One episode, watched while it is played: on the terminal, and frame by frame for whoever else shows it.

Guarantee: what is watched is what `sgd evaluate` plays, with the same driver, arms and limits. What has been told
is never told otherwise later: the story of a longer episode begins with the story of a shorter one. Whoever stops
looking keeps what was played, and leaves no simulator behind.
"""

import dataclasses
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sgd_hf.core.records import Episode, Rollout, Step
from sgd_hf.core.texts import flatten, rejected
from sgd_hf.evaluation.arms import Arm
from sgd_hf.evaluation.report import STOPS
from sgd_hf.evaluation.rollouts import turns
from sgd_hf.scienceworld.protocols import Protocol

if TYPE_CHECKING:
    from rich.text import Text

PLAYING, INTERRUPTED = "playing", "interrupted"
"""``stop`` of an episode that is under way, and of one that whoever watched it has ended"""
_FATES = {"reached": "green", "ended": "cyan", "stalled": "red", "replaced": "yellow", "differs": "yellow"}


@dataclass(frozen=True)
class Frame:
    """An episode at one moment; ``awaits`` is the module that writes, "simulator", or nothing when it is over."""

    rollout: Rollout
    awaits: str


@dataclass(frozen=True)
class Group:
    """``steps[start:end]`` ran under one sub-goal, or under none (``subgoal`` and ``fate`` are empty)."""

    subgoal: str
    start: int
    end: int
    fate: str
    why: str = ""


def protocol(episode: Episode) -> Protocol:
    """The limits of every other protocol, for one episode."""
    return Protocol("play", (episode,))


def frames(arm: Arm, episode: Episode) -> Iterator[Frame]:
    """The episode whenever something has happened in it, the last time with its finished rollout. Close the iterator
    to stop the episode."""
    with closing(turns([episode], arm, protocol(episode), workers=1)) as flights:
        for flight in flights:
            yield Frame(flight.rollout or flight.so_far(PLAYING), flight.awaits)


def watch(arm: Arm, episode: Episode, console: Any, since: float) -> Rollout:
    """Play an episode on a `rich` console. Ctrl-C ends it: the rollout is then what was played, with the stop `INTERRUPTED`.
    ``since``: when the user began to wait for the first action, of `time.monotonic`. To be called in the main thread."""
    from rich.live import Live
    from rich.spinner import Spinner

    limit = protocol(episode).limit
    first, told, begun = None, 0, -1
    waiting = Spinner("dots", "The simulator starts")
    # Lines that are told scroll away above; only the last one, which says what is awaited, changes in place.
    with _asked() as asked, Live(waiting, console=console, transient=True) as live, closing(frames(arm, episode)) as shown:
        for frame in shown:
            rollout = frame.rollout
            live.update(_status(frame, limit))
            if rollout.retries > begun:
                if rollout.retries:
                    console.print("The simulator died; the episode begins anew.\n")
                if begun < 0:
                    console.print(_title(rollout))
                told, begun = 0, rollout.retries
            lines = story(rollout)
            for line in lines[told:]:
                console.print(line, no_wrap=True, overflow="ellipsis")
            told = len(lines)
            if rollout.steps and first is None:
                first = time.monotonic() - since
            if asked and frame.awaits:
                rollout = dataclasses.replace(rollout, stop=INTERRUPTED)
                break
    console.print(f"\n{outcome(rollout)}", highlight=False)
    if first is not None:
        console.print(
            f"First action on screen after {first:.1f} s; {rollout.model_seconds:.1f} s of writing and "
            f"{rollout.simulator_seconds:.1f} s of simulation.", style="dim", highlight=False,
        )  # fmt: skip
    return rollout


def groups(rollout: Rollout) -> list[Group]:
    """Every step under its sub-goal, in order."""
    found, covered = [], 0
    for trace in rollout.subgoals:
        if trace.start > covered:
            found.append(Group("", covered, trace.start, ""))
        found.append(Group(trace.subgoal, trace.start, trace.end, trace.fate, trace.why))
        covered = max(covered, trace.end)
    if covered < len(rollout.steps):
        found.append(Group("", covered, len(rollout.steps), ""))
    return found


def gain(steps: tuple[Step, ...], index: int) -> str:
    """What a step did to the score, or why it did nothing, in one word; empty where there is nothing to say."""
    step = steps[index]
    change = step.score - (max(steps[index - 1].score, 0) if index else 0)
    if step.score < 0:
        return "failed"
    return "rejected" if rejected(step.observation) else f"{change:+d}" if change else ""


def story(rollout: Rollout) -> list["Text"]:
    """The lines that tell an episode on the terminal."""
    from rich.text import Text

    lines: list[Text] = []
    for group in groups(rollout):
        bar = ("│  ", "dim") if group.subgoal else ""
        if group.subgoal:
            verb, _, rest = group.subgoal.partition("(")
            lines += [Text(), Text.assemble(("● ", "blue"), (verb, "bold blue"), f"({rest}")]
            lines += [Text.assemble(bar, (group.why, "italic"))] if group.why else []
        for index in range(group.start, group.end):
            step, word = rollout.steps[index], gain(rollout.steps, index)
            style = "red" if word in ("rejected", "failed") or word.startswith("-") else "bold green"
            lines.append(Text.assemble(bar, (f"{index + 1:>3}  ", "dim"), step.action, "  ", (word, style)))
            lines.append(Text.assemble(bar, (f"     {flatten(step.observation)}", "dim")))
        if group.fate not in ("", "open"):
            lines.append(Text.assemble(("╰─ ", "dim"), (group.fate, _FATES.get(group.fate, "dim"))))
    return lines


def outcome(rollout: Rollout) -> str:
    """How an episode ended, in one line."""
    how = {**STOPS, PLAYING: "under way", INTERRUPTED: "stopped by you"}[rollout.stop]
    best = f" (best before the end: {rollout.best_score})" if rollout.best_score > rollout.score else ""
    counts = {"rejected": rollout.rejected, "repaired": rollout.repaired}
    some = "".join(f", {number} {word}" for word, number in counts.items() if number)
    moves = rollout.steps[-1].moves if rollout.steps else 0
    return f"{how} · score {rollout.score}{best} · {_count(len(rollout.steps), 'action')}{some} · {_count(moves, 'move')}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


@contextmanager
def _asked() -> Iterator[list[int]]:
    """A list that is filled by the first Ctrl-C, so that it does not tear a line that is being written; the second one
    interrupts as ever."""
    asked: list[int] = []

    def note(sign: int, _: Any) -> None:
        asked.append(sign)
        signal.signal(sign, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _title(rollout: Rollout) -> "Text":
    from rich.text import Text

    episode = rollout.episode
    where = f" · variation {episode.variation} ({episode.split}) · {rollout.arm}\n"
    return Text.assemble((episode.task, "bold"), (where, "dim"), rollout.description)


def _status(frame: Frame, limit: int) -> Any:
    """The line that changes in place."""
    from rich.spinner import Spinner
    from rich.text import Text

    rollout = frame.rollout
    score, moves = (max(rollout.steps[-1].score, 0), rollout.steps[-1].moves) if rollout.steps else (0, 0)
    doing = {"": "done", "simulator": "simulator answers"}.get(frame.awaits, f"{frame.awaits} writes")
    filled = round(score / 5)
    bar = (("━" * filled, "green"), ("━" * (20 - filled), "dim"))
    return Spinner(
        "dots", Text.assemble((f"{doing:<18}", "dim"), "  score ", *bar, f" {score:<3}", ("  moves ", "dim"), f"{moves} of {limit}")
    )
