"""A score checked without the model (contract 6): the actions of a rollout, played again in a fresh simulator.

Guarantee: a replay meets the limits of the protocol and lists valid actions exactly where the rollout did, so it
is exact: every text, score and stop reason must come out as stored, and each that does not is named. So is whatever
the folder says of its scores that its rollouts do not, or of its protocol that this version does not, each episode
that it lacks, and each that is not the protocol's. Rollouts that crashed have nothing to check and are counted apart;
one that cannot be replayed counts as a mismatch.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sgd_hf.agent.agent import read_json
from sgd_hf.core.errors import InputError, SimulatorError, StoreError
from sgd_hf.core.progress import progress
from sgd_hf.core.records import Episode, Rollout, Step
from sgd_hf.core.store import read_manifest
from sgd_hf.evaluation.rollouts import STAGE, read_rollouts, shape
from sgd_hf.evaluation.scoring import summarise
from sgd_hf.scienceworld.environment import ScienceWorld, provenance
from sgd_hf.scienceworld.protocols import Protocol, ending, protocol
from sgd_hf.scienceworld.workers import Pool

SETTLED = ("success", "failure", "move_limit", "no_progress")
"""stop reasons that follow from the actions and the protocol; the others are the agent's or the machine's own"""


@dataclass(frozen=True)
class Script:
    """What to play: the actions of an episode, before which of them valid actions are listed, and a protocol's
    ``limit`` (simulator moves; None for none) and ``patience`` (actions without a change of the score)."""

    episode: Episode
    actions: tuple[str, ...]
    listed: tuple[int, ...]
    limit: int | None
    patience: int


@dataclass(frozen=True)
class Mismatch:
    """``field`` of the rollout ``key`` is not what a replay gives; step fields are written ``steps[3].score``."""

    key: str
    field: str
    stored: Any
    replayed: Any

    def __str__(self) -> str:
        stored, replayed = _excerpts(self.stored, self.replayed)
        return f"{self.key}: {self.field} is stored as {stored}, and should be {replayed}"


@dataclass(frozen=True)
class Verdict:
    """Of ``rollouts`` in a folder, ``replayed`` were played again and ``errors`` crashed when they were evaluated.
    ``unnamed``: the protocol is none of this version's, so that its list of episodes could not be checked."""

    rollouts: int
    replayed: int
    errors: int
    mismatches: tuple[Mismatch, ...]
    unnamed: bool = False


def replay(folder: Path, workers: int = 2, every: int = 1) -> Verdict:
    """Replay a complete evaluation folder, or the rollouts of a release, or only one rollout in ``every``. Raises `InputError`
    where this machine's simulator is not the folder's, and `StoreError` for a folder that is neither."""
    said, simulator, expected, rollouts = _stored(folder)
    other = [f"{name} {simulator[name]} (here {value})" for name, value in provenance().items() if simulator[name] != value]
    if other:
        raise InputError(f"{folder} was played on another simulator, {', '.join(other)}; install that one to replay it.")
    now = _named(said["name"])
    mismatches = misreported(folder, rollouts)
    for arm, number in expected.items():
        own = [rollout for rollout in rollouts if rollout.arm == arm]
        held = len({rollout.episode.key for rollout in own})
        mismatches += departures(folder, said, now, own) if now else []
        mismatches += [Mismatch(str(folder), "number of episodes", number, held)] if held != number else []
    crashed = sum(rollout.stop == "error" for rollout in rollouts)
    chosen = sorted((rollout for rollout in rollouts if rollout.stop != "error"), key=lambda rollout: rollout.key)[::every]
    scripts: dict[Script, list[Rollout]] = defaultdict(list)
    for rollout in chosen:
        scripts[script_of(rollout, said["limit"], said["patience"])].append(rollout)
    with progress("replay", len(scripts)) as advance:
        for script, outcome in play_scripts(list(scripts), workers):
            mismatches += [found for rollout in scripts[script] for found in compared(rollout, outcome)]
            advance(script.episode.task)
    mismatches.sort(key=lambda mismatch: mismatch.key)
    return Verdict(len(rollouts), len(chosen), crashed, tuple(mismatches), now is None)


def _stored(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, int], list[Rollout]]:
    """The protocol and the simulator that a folder names, the episodes that it says to hold by arm, and its rollouts."""
    if (folder / "results.json").exists():
        results = read_json(folder / "results.json")
        try:
            said, simulator = results["protocol"], results["simulator"]
            episodes = {arm: row["episodes"] for arm, row in results["arms"].items()}
        except (KeyError, TypeError, AttributeError):
            raise StoreError(
                f"{folder / 'results.json'} holds no results; give the rollouts of a release, as `sgd release` wrote them."
            ) from None
    else:
        manifest = read_manifest(folder, STAGE, complete=True)
        simulator = manifest["config"]
        said, episodes = simulator["protocol"], {simulator["arm"]: manifest["summary"]["episodes"]}
    return said, simulator, episodes, read_rollouts(folder)


def misreported(folder: Path, rollouts: Sequence[Rollout]) -> list[Mismatch]:
    """What a release's ``results.json`` says of its arms and its own rollouts do not; an evaluation folder says nothing."""
    if not (folder / "results.json").exists():
        return []
    said, found = read_json(folder / "results.json")["arms"], summarise(rollouts)
    for row in (row for arm in said.values() for row in arm["tasks"].values()):
        row.pop("interval", None)  # the release adds it for the cards
    return [
        Mismatch(f"{folder}'s {arm}", name, said[arm].get(name), value)
        for arm in found.keys() & said.keys()
        for name, value in json.loads(json.dumps(found[arm])).items()
        if said[arm].get(name) != value
    ]


def departures(folder: Path, said: dict[str, Any], now: Protocol, rollouts: Sequence[Rollout]) -> list[Mismatch]:
    """How what a folder says of its protocol, and the episodes that it holds, differ from the protocol of that name."""
    found = [Mismatch(str(folder), f"protocol's {name}", said[name], value) for name, value in shape(now).items() if said[name] != value]
    held, expected = ({episode.key for episode in some} for some in ((r.episode for r in rollouts), now.episodes))
    found += [Mismatch(key, "episode", "missing", f"one of {now.name}") for key in sorted(expected - held)]
    return found + [Mismatch(key, "episode", "played", f"none of {now.name}") for key in sorted(held - expected)]


def script_of(rollout: Rollout, limit: int | None, patience: int) -> Script:
    """The script that reproduces a rollout."""
    return Script(rollout.episode, tuple(step.action for step in rollout.steps), rollout.listed, limit, patience)


def play_scripts(scripts: Sequence[Script], workers: int) -> Iterator[tuple[Script, Rollout | SimulatorError]]:
    """Each script with its rollout, as they finish."""
    with Pool(workers) as pool:
        yield from pool.run(play_script, scripts)


def play_script(env: ScienceWorld, script: Script) -> Rollout:
    """Play a script from a fresh reset until it runs out (``stop == "gave_up"``) or a limit of the protocol ends it."""
    _, start = env.reset(script.episode, limit=script.limit)
    steps: list[Step] = []
    rejected, stop = 0, "gave_up"
    for i, action in enumerate(script.actions):
        for _ in range(script.listed.count(i)):
            env.valid_actions()
        observation, _, terminated, truncated, info = env.step(action)
        done = terminated or truncated
        steps.append(Step(action, observation, info["look"], info["inventory"], info["score"], info["moves"], done))
        rejected += info["rejected"]
        if ended := ending(steps, truncated, script.patience):
            stop = ended
            break
    scores = [start["score"], *(step.score for step in steps)]
    return Rollout(
        episode=script.episode,
        arm="replay",
        description=start["description"],
        steps=tuple(steps),
        subgoals=(),
        score=max(scores[-1], 0),
        raw_score=scores[-1],
        best_score=max(scores),
        stop=stop,
        rejected=rejected,
        repaired=0,
        listed=script.listed,
        look=start["look"],
        inventory=start["inventory"],
    )


def compared(stored: Rollout, replayed: Rollout | SimulatorError) -> list[Mismatch]:
    """Every score that differs, and any other field of the steps at the first step at which it does: what follows
    from a wrong action is wrong too."""
    if isinstance(replayed, SimulatorError):
        return [Mismatch(stored.key, "replay", stored.stop, str(replayed))]
    found = [
        (name, getattr(stored, name), getattr(replayed, name))
        for name in ("description", "look", "inventory", "score", "raw_score", "best_score", "rejected")
    ]
    left_open = replayed.stop == "gave_up" and stored.stop not in SETTLED
    found.append(("stop", stored.stop, stored.stop if left_open else replayed.stop))
    found.append(("number of steps", len(stored.steps), len(replayed.steps)))
    for field in fields(Step):
        values = [(getattr(a, field.name), getattr(b, field.name)) for a, b in zip(stored.steps, replayed.steps, strict=False)]
        differing = [(f"steps[{i}].{field.name}", a, b) for i, (a, b) in enumerate(values) if a != b]
        found += differing if field.name == "score" else differing[:1]
    return [Mismatch(stored.key, *difference) for difference in found if difference[1] != difference[2]]


def print_verdict(verdict: Verdict, folder: Path, console: Any) -> None:
    """Each mismatch on a line, then the summary."""
    for mismatch in verdict.mismatches:
        console.print(str(mismatch), markup=False, highlight=False, soft_wrap=True)
    crashed = f", {verdict.errors} crashed when they were evaluated and were not" if verdict.errors else ""
    summary = (
        f"{verdict.replayed} of {verdict.rollouts} rollouts in {folder} replayed{crashed}: {len(verdict.mismatches) or 'no'} mismatches"
    )
    console.print(summary, markup=False, highlight=False, soft_wrap=True)
    if verdict.unnamed:
        console.print("Its protocol is none that this version names: which episodes it must hold was not checked.", soft_wrap=True)


def _named(name: str) -> Protocol | None:
    try:
        return protocol(name)
    except InputError:
        return None


def _excerpts(a: Any, b: Any, width: int = 60) -> tuple[str, str]:
    """Both values on a line; of long texts the part where they part."""
    if not (isinstance(a, str) and isinstance(b, str)):
        return repr(a), repr(b)
    start = max(0, len(os.path.commonprefix([a, b])) - width // 3)
    left, right = (("…" if start else "") + text[start : start + width] + ("…" if text[start + width :] else "") for text in (a, b))
    return repr(left), repr(right)
