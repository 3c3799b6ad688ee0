"""Episodes of an arm under a protocol, several in flight, one stored row each.

Guarantee: each episode of the protocol gives exactly one `Rollout`, stored the moment it ends; a killed
evaluation continues with the episodes that are owed. A simulator that dies or hangs costs its episode one more
try, then the episode is a row with ``stop == "error"``. While one episode waits for its simulator, the model
writes for another.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any

from sgd_hf.agent.policy import Act, Ask, Policy, Reply
from sgd_hf.core.errors import SimulatorError
from sgd_hf.core.progress import progress
from sgd_hf.core.prompts import Transcript
from sgd_hf.core.records import Episode, Rollout, Step, SubgoalTrace, from_row, to_row
from sgd_hf.core.store import Store, read_rows
from sgd_hf.evaluation.arms import Arm
from sgd_hf.scienceworld.environment import ScienceWorld, provenance
from sgd_hf.scienceworld.protocols import Protocol
from sgd_hf.scienceworld.tasks import TASKS
from sgd_hf.scienceworld.workers import Worker

STAGE = "evaluate"
TIMEOUT_S = 120.0
"""seconds that the simulator may take for one answer"""
_LENGTHS = {"long": 0, "medium": 1, "short": 2}


def evaluate(out: Path, protocol: Protocol, arm: Arm, workers: int = 2, seed: int = 0, label: str = "") -> list[Rollout]:
    """Play what the folder ``out`` still owes and return all its rollouts, in the protocol's order."""
    with Store(out, STAGE, _config(protocol, arm, seed)) as store:
        owed = [episode for episode in protocol.episodes if f"{arm.name}/{episode.key}" not in store.keys]
        # Long ones first: the last simulators to finish then have short ones.
        owed.sort(key=lambda episode: _LENGTHS[TASKS[episode.task].length])
        with progress(label or f"evaluate {arm.name}", len(protocol.episodes), len(protocol.episodes) - len(owed)) as advance:
            for rollout in play_all(owed, arm, protocol, workers):
                store.append(rollout.key, to_row(rollout))
                advance(rollout.episode.task)
        rollouts = {row["key"]: from_row(Rollout, row) for row in store.rows()}
        store.finish({"episodes": len(rollouts), "errors": sum(r.stop == "error" for r in rollouts.values())})
    return [rollouts[f"{arm.name}/{episode.key}"] for episode in protocol.episodes]


def read_rollouts(folder: Path) -> list[Rollout]:
    """The rollouts of a complete evaluation folder."""
    return [from_row(Rollout, row) for row in read_rows(folder, STAGE)]


def play_all(episodes: Sequence[Episode], arm: Arm, protocol: Protocol, workers: int) -> Iterator[Rollout]:
    """Rollouts as they finish, with one episode in flight for each simulator."""
    owed = deque((episode, 0) for episode in episodes)
    flights: dict[connection.Connection, _Flight] = {}
    idle: list[Worker] = []
    try:
        while owed or flights:
            while owed and len(flights) < workers:
                worker = idle.pop() if idle else Worker()
                flight = _Flight(*owed.popleft(), worker, arm, protocol)
                flights[worker.connection] = flight
            nearest = min(flight.deadline for flight in flights.values())
            ready = connection.wait(list(flights), max(0.0, nearest - time.monotonic()))
            late = [key for key, flight in flights.items() if key not in ready and time.monotonic() >= flight.deadline]
            for key in [*ready, *late]:
                flight = flights[key]
                rollout = flight.go_on(hung=key in late)
                if rollout is None:
                    continue
                del flights[key]
                if flight.worker.alive:
                    idle.append(flight.worker)
                if rollout.stop == "error" and flight.retries == 0:
                    owed.appendleft((flight.episode, 1))
                else:
                    yield rollout
    finally:
        for worker in [*idle, *(flight.worker for flight in flights.values())]:
            worker.close()


@dataclass
class _Flight:
    """One episode under way on one worker; `go_on` takes what the simulator said and sends what comes next."""

    episode: Episode
    retries: int
    worker: Worker
    arm: Arm
    protocol: Protocol
    steps: list[Step] = field(default_factory=list)
    rejected: int = 0
    repaired: int = 0
    listed: list[int] = field(default_factory=list)
    simulator_seconds: float = 0.0
    model_seconds: float = 0.0
    description: str = ""
    first_score: int = 0
    transcript: Transcript | None = None
    policy: Policy | None = None
    pending: Act | None = None

    def __post_init__(self) -> None:
        self._send(_reset, (self.episode, self.protocol.limit))

    def go_on(self, hung: bool = False) -> Rollout | None:
        """One answer of the simulator further; the rollout when the episode is over."""
        if hung:
            self.worker.close()
            return self._rollout("error", f"no answer within {TIMEOUT_S:g} s")
        try:
            answer, seconds = self.worker.receive()
        except SimulatorError as error:
            return self._rollout("error", str(error))
        self.simulator_seconds += seconds
        if self.policy is None:
            self.description, self.first_score = answer["description"], answer["score"]
            self.transcript, self.policy = self.arm.begin(self.episode, answer["description"], answer["look"], answer["inventory"])
            return self._advance(None)
        if self.pending is None:
            return self._advance(answer)
        observation, terminated, truncated, info = answer
        done = terminated or truncated
        self.steps.append(Step(self.pending.action, observation, info["look"], info["inventory"], info["score"], info["moves"], done))
        self.rejected += info["rejected"]
        self.repaired += self.pending.repaired
        reply = Reply(observation, info["look"], info["inventory"], info["rejected"])
        if done:
            self._tell(reply)
            return self._rollout("move_limit" if truncated else "success" if info["score"] == 100 else "failure")
        recent = self.steps[-self.protocol.patience - 1 :]
        if len(recent) > self.protocol.patience and len({step.score for step in recent}) == 1:
            self._tell(reply)
            return self._rollout("no_progress")
        return self._advance(reply)

    def _advance(self, answer: Any) -> Rollout | None:
        """Let the policy go on with an answer until it needs the simulator again; the model writes on the way."""
        request = self._tell(answer)
        while isinstance(request, Ask):
            begin = time.perf_counter()
            decoder = self.arm.modules[request.module]
            text = decoder.write(request.messages, request.among, request.never, slot=id(self.worker))
            self.model_seconds += time.perf_counter() - begin
            request = self._tell(text)
        if request is None:
            return self._rollout("gave_up")
        self.pending = request if isinstance(request, Act) else None
        if self.pending:
            self._send(_step, self.pending.action)
        else:
            self.listed.append(len(self.steps))
            self._send(_valid, None)
        return None

    def _tell(self, answer: Any) -> Any:
        """The policy's next request, None when it has returned."""
        try:
            return self.policy.send(answer)
        except StopIteration:
            return None

    def _send(self, function: Any, item: Any) -> None:
        self.deadline = time.monotonic() + TIMEOUT_S
        self.worker.send(function, item)

    def _rollout(self, stop: str, error: str = "") -> Rollout:
        raw = self.steps[-1].score if self.steps else self.first_score
        return Rollout(
            episode=self.episode,
            arm=self.arm.name,
            description=self.description,
            steps=tuple(self.steps),
            subgoals=tuple(_traces(self.transcript)) if self.transcript else (),
            score=0 if stop == "error" else max(raw, 0),
            raw_score=raw,
            best_score=max((self.first_score, *(step.score for step in self.steps))),
            stop=stop,
            rejected=self.rejected,
            repaired=self.repaired,
            listed=tuple(self.listed),
            retries=self.retries,
            error=error,
            simulator_seconds=self.simulator_seconds,
            model_seconds=self.model_seconds,
        )


def _traces(transcript: Transcript) -> Iterator[SubgoalTrace]:
    for past in transcript.past:
        yield SubgoalTrace(past.subgoal, past.start, past.end, past.fate)
    if transcript.subgoal:
        yield SubgoalTrace(transcript.subgoal, transcript.start, len(transcript.actions), "open")


def _config(protocol: Protocol, arm: Arm, seed: int) -> dict[str, Any]:
    shape = {"name": protocol.name, "digest": protocol.digest, "limit": protocol.limit, "patience": protocol.patience}
    return {"protocol": {**shape, "simplification": protocol.simplification}, "arm": arm.name, **arm.origin, "seed": seed, **provenance()}


def _reset(env: ScienceWorld, item: tuple[Episode, int]) -> tuple[dict[str, Any], float]:
    begin = time.perf_counter()
    _, info = env.reset(item[0], limit=item[1])
    return info, time.perf_counter() - begin


def _step(env: ScienceWorld, action: str) -> tuple[tuple[str, bool, bool, dict[str, Any]], float]:
    begin = time.perf_counter()
    observation, _, terminated, truncated, info = env.step(action)
    return (observation, terminated, truncated, info), time.perf_counter() - begin


def _valid(env: ScienceWorld, _: None) -> tuple[list[str], float]:
    begin = time.perf_counter()
    return env.valid_actions(), time.perf_counter() - begin
