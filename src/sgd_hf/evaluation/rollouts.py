"""Episodes of an arm under a protocol, several in flight, one stored row each.

Guarantee: each episode of the protocol gives exactly one `Rollout`, stored the moment it ends; a killed
evaluation continues with the episodes that are owed. A simulator that dies or hangs costs its episode one more
try, then the episode is a row with ``stop == "error"``. While one episode waits for its simulator, the model
writes for another. Of a sharded evaluation each shard plays its share into a folder of its own, and the same call
without a shard merges them, plays what is still owed, and gives the rows that one run would have given.
"""

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from random import Random
from typing import Any

from sgd_hf.agent.plans import draws
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
WORKER_EPISODES = 200
"""episodes after which a worker, and the JVM that it owns, is replaced by a fresh one"""
_LENGTHS = {"long": 0, "medium": 1, "short": 2}


def evaluate(
    out: Path,
    protocol: Protocol,
    arm: Arm,
    workers: int = 2,
    seed: int = 0,
    label: str = "",
    shard: tuple[int, int] | None = None,
    batch: bool | None = None,
    timeout_s: float = TIMEOUT_S,
) -> list[Rollout]:
    """Play what the folder ``out`` still owes and return all its rollouts, in the protocol's order.

    ``shard``: ``(i, n)`` with 1 <= i <= n plays and returns the i-th share only, in ``out/shard-i-of-n``. ``batch`` and
    ``timeout_s`` are those of `play_all`. Raises `StoreError` where a folder was begun with another configuration, or
    a shard is still being played.
    """
    config = _config(protocol, arm, seed)
    episodes, folder = protocol.episodes, out
    if shard:
        index, count = shard
        episodes, folder = episodes[index - 1 :: count], out / f"shard-{index}-of-{count}"
    with Store(folder, STAGE, config) as store:
        for other in sorted(out.glob("shard-*-of-*")) if not shard else ():
            with Store(other, STAGE, config) as part:
                for row in part.rows():
                    if row["key"] not in store.keys:
                        store.append(row.pop("key"), row)
        owed = [episode for episode in episodes if f"{arm.name}/{episode.key}" not in store.keys]
        # Long ones first: the last simulators to finish then have short ones.
        owed.sort(key=lambda episode: _LENGTHS[TASKS[episode.task].length])
        with progress(label or f"evaluate {arm.name}", len(episodes), len(episodes) - len(owed)) as advance:
            for rollout in play_all(owed, arm, protocol, workers, batch, timeout_s):
                store.append(rollout.key, to_row(rollout))
                advance(rollout.episode.task)
        rollouts = {row["key"]: from_row(Rollout, row) for row in store.rows()}
        store.finish({"episodes": len(rollouts), "errors": sum(r.stop == "error" for r in rollouts.values())})
    return [rollouts[f"{arm.name}/{episode.key}"] for episode in episodes]


def read_rollouts(folder: Path) -> list[Rollout]:
    """The rollouts of a complete evaluation folder."""
    return [from_row(Rollout, row) for row in read_rows(folder, STAGE)]


def play_all(
    episodes: Sequence[Episode],
    arm: Arm,
    protocol: Protocol,
    workers: int,
    batch: bool | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Iterator[Rollout]:
    """Rollouts as they finish, with one episode in flight for each simulator.

    ``batch``: whether the model writes for all episodes that are ready at once, or for one after the other with what
    it has read kept; None: at once where its modules prefer that. ``timeout_s``: seconds until a simulator counts as hung.
    """
    together = any(getattr(module, "together", False) for module in arm.modules.values()) if batch is None else batch
    owed = deque((episode, 0) for episode in episodes)
    flights: dict[connection.Connection, _Flight] = {}
    idle: list[Worker] = []
    served: Counter[Worker] = Counter()
    try:
        while owed or flights:
            while owed and len(flights) < workers:
                worker = idle.pop() if idle else Worker()
                served[worker] += 1
                flights[worker.connection] = _Flight(*owed.popleft(), worker, arm, protocol, timeout_s)
            for key in _answered(flights, any(flight.ask for flight in flights.values())):
                flights[key].hear()
            _write([flight for flight in flights.values() if flight.ask], arm, together)
            for key, flight in list(flights.items()):
                if flight.rollout is None:
                    continue
                del flights[key]
                if flight.worker.alive and served[flight.worker] < WORKER_EPISODES:
                    idle.append(flight.worker)
                else:
                    flight.worker.close()
                if flight.rollout.stop == "error" and flight.retries == 0:
                    owed.appendleft((flight.episode, 1))
                else:
                    yield flight.rollout
    finally:
        for worker in [*idle, *(flight.worker for flight in flights.values())]:
            worker.close()


def _answered(flights: "dict[connection.Connection, _Flight]", at_once: bool) -> list[connection.Connection]:
    """The flights whose simulator has answered or is overdue; waits for one unless there is something else to do."""
    listening = {key: flight for key, flight in flights.items() if not flight.ask}
    nearest = min((flight.deadline for flight in listening.values()), default=0.0)
    ready = connection.wait(list(listening), 0.0 if at_once else max(0.0, nearest - time.monotonic()))
    late = [key for key, flight in listening.items() if key not in ready and time.monotonic() >= flight.deadline]
    return [*ready, *late]


def _write(asking: "Sequence[_Flight]", arm: Arm, together: bool) -> None:
    """Let the model write: for the longest waiting flight, or for all that ask the same module as it."""
    if not asking:
        return
    asking = sorted(asking, key=lambda flight: flight.asked)
    module = asking[0].ask.module
    chosen = [flight for flight in asking if flight.ask.module == module] if together else asking[:1]
    begin = time.perf_counter()
    if together:
        texts = arm.modules[module].write_many([flight.ask for flight in chosen], [flight.draw for flight in chosen])
    else:
        [flight], ask = chosen, chosen[0].ask
        texts = [arm.modules[module].write(ask.messages, ask.among, ask.never, slot=id(flight.worker), draw=flight.draw)]
    seconds = (time.perf_counter() - begin) / len(chosen)
    for flight, text in zip(chosen, texts, strict=True):
        flight.model_seconds += seconds
        flight.go_on(text)


@dataclass
class _Flight:
    """One episode under way on one worker: it waits for the simulator, or for the model while ``ask`` is set, and is
    over when it has a ``rollout``."""

    episode: Episode
    retries: int
    worker: Worker
    arm: Arm
    protocol: Protocol
    timeout_s: float
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

    ask: Ask | None = None
    asked: float = 0.0
    rollout: Rollout | None = None

    def __post_init__(self) -> None:
        self.begin = time.perf_counter()
        self.draw: Random = draws(self.arm.seed, self.episode.key)
        self._send(_reset, (self.episode, self.protocol.limit))

    def hear(self) -> None:
        """Take what the simulator said, or that it says nothing, and go on."""
        if not self.worker.connection.poll():
            self.worker.close()
            return self._land("error", f"no answer within {self.timeout_s:g} s")
        try:
            answer, seconds = self.worker.receive()
        except SimulatorError as error:
            return self._land("error", str(error))
        self.simulator_seconds += seconds
        if self.policy is None:
            self.description, self.first_score = answer["description"], answer["score"]
            self.transcript, self.policy = self.arm.begin(self.episode, answer["description"], answer["look"], answer["inventory"])
            return self.go_on(None)
        if self.pending is None:
            return self.go_on(answer)
        observation, terminated, truncated, info = answer
        done = terminated or truncated
        self.steps.append(Step(self.pending.action, observation, info["look"], info["inventory"], info["score"], info["moves"], done))
        self.rejected += info["rejected"]
        self.repaired += self.pending.repaired
        reply = Reply(observation, info["look"], info["inventory"], info["rejected"])
        if done:
            self._tell(reply)
            return self._land("move_limit" if truncated else "success" if info["score"] == 100 else "failure")
        recent = self.steps[-self.protocol.patience - 1 :]
        if len(recent) > self.protocol.patience and len({step.score for step in recent}) == 1:
            self._tell(reply)
            return self._land("no_progress")
        return self.go_on(reply)

    def go_on(self, answer: Any) -> None:
        """Let the policy go on with an answer: it asks a module, needs the simulator, or gives up."""
        request = self._tell(answer)
        self.ask = request if isinstance(request, Ask) else None
        self.pending = request if isinstance(request, Act) else None
        if request is None:
            self._land("gave_up")
        elif self.ask:
            self.asked = time.perf_counter()
        elif self.pending:
            self._send(_step, self.pending.action)
        else:
            self.listed.append(len(self.steps))
            self._send(_valid, None)

    def _tell(self, answer: Any) -> Any:
        """The policy's next request, None when it has returned."""
        try:
            return self.policy.send(answer)
        except StopIteration:
            return None

    def _send(self, function: Any, item: Any) -> None:
        self.deadline = time.monotonic() + self.timeout_s
        self.worker.send(function, item)

    def _land(self, stop: str, error: str = "") -> None:
        wall = time.perf_counter() - self.begin
        raw = self.steps[-1].score if self.steps else self.first_score
        self.rollout = Rollout(
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
            waiting_seconds=max(0.0, wall - self.simulator_seconds - self.model_seconds),
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
