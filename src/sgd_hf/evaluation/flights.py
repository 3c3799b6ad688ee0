"""One episode under way: the go-between of a policy, the simulator that it plays on and the model that writes for it.

Guarantee: nothing here waits, neither for the simulator nor for the model. Whatever happens to the simulator, the
flight lands with exactly one `Rollout`, whose simulator, model and waiting seconds add up to its wall time.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sgd_hf.agent.decoding import Writing
from sgd_hf.agent.plans import draws
from sgd_hf.agent.policy import Act, Ask, Policy, Reply, understood
from sgd_hf.core.errors import SimulatorError
from sgd_hf.core.prompts import Transcript
from sgd_hf.core.records import Episode, Rollout, Step, SubgoalTrace
from sgd_hf.evaluation.arms import Arm
from sgd_hf.scienceworld.environment import ScienceWorld
from sgd_hf.scienceworld.protocols import Protocol, ending
from sgd_hf.scienceworld.workers import NotStarted, Worker


@dataclass
class Flight:
    """One episode under way on one worker: it waits for the simulator, or for a module while it has a ``writing``, and is
    over when it has a ``rollout``."""

    episode: Episode
    retries: int
    worker: Worker
    seat: int
    """which of the episodes in flight this is; a module keeps what it has read by it"""
    arm: Arm
    protocol: Protocol
    timeout_s: float
    steps: list[Step] = field(default_factory=list)
    rejected: int = 0
    repaired: int = 0
    listed: list[int] = field(default_factory=list)
    simulator_seconds: float = 0.0
    model_seconds: float = 0.0
    planned: int = 0
    unusable: int = 0
    start: dict[str, Any] = field(default_factory=lambda: {"description": "", "look": "", "inventory": "", "score": 0})
    transcript: Transcript | None = None
    policy: Policy | None = None
    pending: Act | None = None
    writing: Writing | None = None
    asked: float = 0.0
    rollout: Rollout | None = None

    def __post_init__(self) -> None:
        self.begin = time.perf_counter()
        self.draw: Random = draws(self.arm.seed, self.episode.key)
        self._send(_reset, (self.episode, self.protocol.limit))

    @property
    def awaits(self) -> str:
        """The module that writes for it, "simulator", or nothing when it is over."""
        return "" if self.rollout else self.writing.ask.module if self.writing else "simulator"

    def hear(self) -> None:
        """Take what the simulator said, or that it says nothing, and go on."""
        if not self.worker.connection.poll():
            self.worker.close()
            return self._land("error", f"The simulator gave no answer within {self.timeout_s:g} s.")
        try:
            answer, seconds = self.worker.receive()
        except SimulatorError as error:
            if isinstance(error, NotStarted) and self.retries:
                raise  # nothing is stored of an episode that no machine has begun
            return self._land("error", str(error))
        self.simulator_seconds += seconds
        if self.policy is None:
            self.start = answer
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
        if stop := ending(self.steps, truncated, self.protocol.patience):
            self._tell(reply)
            return self._land(stop)
        return self.go_on(reply)

    def go_on(self, answer: Any) -> None:
        """Let the policy go on with an answer: it asks a module, needs the simulator, or gives up."""
        if self.awaits in ("planner", "first"):
            self.planned += 1
            self.unusable += understood(answer) is None
        request = self._tell(answer)
        self.writing = Writing(request, self.seat, self.draw) if isinstance(request, Ask) else None
        self.pending = request if isinstance(request, Act) else None
        if request is None:
            self._land("gave_up")
        elif self.writing:
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
        self.rollout = self.so_far(stop, error)

    def so_far(self, stop: str, error: str = "") -> Rollout:
        """What has happened until now, as the episode would be stored if it stopped here for the reason ``stop``."""
        wall = time.perf_counter() - self.begin
        raw = self.steps[-1].score if self.steps else self.start["score"]
        return Rollout(
            episode=self.episode,
            arm=self.arm.name,
            description=self.start["description"],
            steps=tuple(self.steps),
            subgoals=tuple(_traces(self.transcript)) if self.transcript else (),
            score=0 if stop == "error" else max(raw, 0),
            raw_score=raw,
            best_score=max((self.start["score"], *(step.score for step in self.steps))),
            stop=stop,
            rejected=self.rejected,
            repaired=self.repaired,
            listed=tuple(self.listed),
            look=self.start["look"],
            inventory=self.start["inventory"],
            planned=self.planned,
            unusable=self.unusable,
            retries=self.retries,
            error=error,
            simulator_seconds=self.simulator_seconds,
            model_seconds=self.model_seconds,
            waiting_seconds=max(0.0, wall - self.simulator_seconds - self.model_seconds),
        )


def _traces(transcript: Transcript) -> Iterator[SubgoalTrace]:
    for past in transcript.past:
        yield SubgoalTrace(past.subgoal, past.start, past.end, past.fate, past.why)
    if transcript.subgoal:
        yield SubgoalTrace(transcript.subgoal, transcript.start, len(transcript.actions), "open", transcript.why)


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
