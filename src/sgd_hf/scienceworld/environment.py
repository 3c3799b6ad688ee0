"""ScienceWorld behind Gymnasium's contract: one object, one JVM, one episode at a time.

Guarantee: the same episode and actions give the same text, state and score in every JVM (identity hashes are
fixed by a flag, and `step` never lists valid actions, which would consume the simulator's random numbers).
An action is atomic: the simulator's question which of several objects was meant is answered "0" within the
step. Play never goes on after the end, and a failure of the simulator is a `SimulatorError`, never a score.
"""

import functools
import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Sequence
from typing import Any

from sgd_hf.core.errors import InputError, SimulatorError
from sgd_hf.core.records import Episode, Step
from sgd_hf.core.texts import rejected
from sgd_hf.scienceworld import tasks
from sgd_hf.scienceworld.java import find_java

VERSION = "1.2.3"
REJECTED = "No known action matches that input."
AMBIGUOUS = "Ambiguous request"

# They cost no move and belong to a human's session; "reset task" would turn a failure back into the earlier score.
_META = re.compile(r"(reset|task|help|objects)( task)?")
_ARTICLE = re.compile(r"\b(a|an|the)\b")


JVM_FLAGS = "-XX:+UnlockExperimentalVMOptions -XX:hashCode=2 -Xmx512m -XX:+UseSerialGC"
"""hashCode=2 gives all objects the same identity hash, without which hash sets iterate in another order each run"""


class Lost(SimulatorError):
    """The JVM, or the worker that owns it, died: the machine's doing, for all that is known, and not the episode's."""


class ScienceWorld:
    """A context manager that owns one JVM, started here and gone after `close` or with this process.

    Not thread-safe; create it after a fork. Raises `SimulatorError` if Java or the simulator does not start.
    """

    def __init__(self):
        from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

        logging.getLogger("py4j").setLevel(logging.CRITICAL)  # each failed call would log a traceback beside our one sentence
        java = find_java()
        # Each load writes the same table of object types to the JVM's directory: not to the user's, and one for all JVMs.
        scratch = os.path.join(tempfile.gettempdir(), f"sgd-hf-{os.getuid()}")
        os.makedirs(scratch, mode=0o700, exist_ok=True)
        try:
            port, token, self._process = launch_gateway(
                classpath=jar_path(),
                javaopts=JVM_FLAGS.split(),
                java_path=java,
                die_on_exit=True,
                cwd=scratch,
                enable_auth=True,
                create_new_process_group=True,  # Ctrl-C is for us; the JVM goes when its standard input closes
                return_proc=True,
            )
        except (OSError, ValueError) as error:
            raise SimulatorError(f"{java} did not start ScienceWorld ({error}); see what `sgd doctor` says of Java.") from None
        self._gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token), java_process=self._process)
        self._server = self._call(lambda: self._gateway.jvm.scienceworld.runtime.pythonapi.PythonInterface())
        self._episode: Episode | None = None
        self._over = True

    def __enter__(self) -> "ScienceWorld":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id of the JVM."""
        return self._process.pid

    def reset(self, episode: Episode, limit: int | None = None) -> tuple[str, dict[str, Any]]:
        """Load an episode; the first look around (free), and info: description, look, inventory, score, moves.

        ``limit``: the episode is truncated when its moves (simulator ticks) exceed it; None for no limit.
        """
        self._load(episode, gold=False)
        self._limit = limit
        description = self._call(self._server.getTaskDescription)
        observation = self._step("look around")
        self._score = 0
        info = self._state()
        self._score = info["score"]
        self._over = False
        return observation, {"description": description, **info}

    def step(self, action: str) -> tuple[str, int, bool, bool, dict[str, Any]]:
        """Carry out one action: observation, reward (change of the 0-100 score), terminated, truncated, info.

        ``info``: look and inventory after the action, score (-100 for a failed task), moves, rejected. Commands
        about the session rather than the world (reset, task, help, objects) are rejected without being sent.
        """
        if self._over:
            raise InputError("This episode has ended or none was loaded; call reset before the next step.")
        if _META.fullmatch(" ".join(_ARTICLE.sub(" ", action.lower()).split())):
            observation = REJECTED
        else:
            observation = self._step(action)
            if observation.startswith(AMBIGUOUS):
                observation = self._step("0")
        info = self._state()
        reward = info["score"] - self._score
        self._score = info["score"]
        terminated = self._score < 0 or bool(self._call(self._server.getCompleted))
        truncated = not terminated and self._limit is not None and info["moves"] > self._limit
        self._over = terminated or truncated
        return observation, reward, terminated, truncated, {**info, "rejected": rejected(observation)}

    def valid_actions(self) -> list[str]:
        """What the simulator believes can be done now, about 25 % of which it then rejects.

        Costs ten steps and consumes the simulator's random numbers: what follows can differ from a run without it.
        """
        if self._over:
            raise InputError("This episode has ended or none was loaded; call reset before asking for valid actions.")
        return sorted(self._strings(self._server.getValidActionObjectCombinations))

    def gold_actions(self, episode: Episode) -> list[str]:
        """The simulator's own oracle path. Leaves no episode loaded: call `reset` next."""
        # The oracle's path cache outlives a load: cleared, the path does not depend on what this JVM loaded before.
        self._call(lambda: self._gateway.jvm.scienceworld.goldagent.PathFinder.precomputedExhaustivePaths().clear())
        self._load(episode, gold=True)
        actions = self._strings(self._server.getGoldActionSequence)
        if not actions or actions[0].startswith("ERROR"):
            raise SimulatorError(f"The simulator has no gold path for {episode.key}; leave this variation out.")
        return actions

    def close(self) -> None:
        """Shut the JVM down; harmless when it is down already."""
        self._over = True
        self._gateway.shutdown()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()

    def _load(self, episode: Episode, gold: bool) -> None:
        if tasks.episode(episode.task, episode.variation, episode.simplification) != episode:
            raise InputError(f"Episode {episode.key} is not of split {episode.split!r}; make episodes with scienceworld.tasks.episode.")
        self._over = True
        self._episode = episode
        reply = self._call(self._server.load, episode.task, episode.variation, episode.simplification, gold)
        if "ERROR" in (reply or ""):
            raise SimulatorError(f"The simulator could not load {episode.key}: {' '.join(reply.split())}")

    def _step(self, action: str) -> str:
        observation = self._call(self._server.step, action)
        if observation.startswith(("ERROR", "java.", "scala.")):
            self._over = True
            raise SimulatorError(f"The simulator failed at {action!r} in {self._episode.key}: {observation.splitlines()[0]}")
        return observation

    def _state(self) -> dict[str, Any]:
        return {
            "look": self._call(self._server.freeActionLook),
            "inventory": self._call(self._server.freeActionInventory),
            "score": int(round(100 * self._call(self._server.getScore))),
            "moves": self._call(self._server.getNumMoves),
        }

    def _strings(self, method: Any) -> list[str]:
        # One string through the gateway, not one call for each of up to 3,800 strings.
        joined = self._call(lambda: self._gateway.jvm.java.lang.String.join("\n", method()))
        return joined.split("\n") if joined else []

    def _call(self, method: Any, *arguments: Any) -> Any:
        from py4j.protocol import Py4JError, Py4JJavaError

        try:
            return method(*arguments)
        except (Py4JError, OSError) as error:
            self._over = True
            state = "is gone" if self._process.poll() is not None else "failed"
            kind = SimulatorError if isinstance(error, Py4JJavaError) else Lost  # thrown in the JVM, or no answer of it
            raise kind(f"The JVM {state} ({type(error).__name__}); open a new ScienceWorld and reset the episode.") from None


def play(env: ScienceWorld, episode: Episode, actions: Sequence[str]) -> tuple[dict[str, Any], list[Step]]:
    """Replay actions from a fresh reset until they run out or the episode terminates: reset's info, and the steps."""
    _, start = env.reset(episode)
    steps = []
    for action in actions:
        observation, _, terminated, truncated, info = env.step(action)
        done = terminated or truncated
        steps.append(Step(action, observation, info["look"], info["inventory"], info["score"], info["moves"], done))
        if done:
            break
    return start, steps


def jar_path() -> str:
    """The simulator's jar; `SimulatorError` if the installed package is not the pinned version."""
    from importlib import metadata

    found = metadata.version("scienceworld")
    if found != VERSION:
        raise SimulatorError(f"scienceworld {found} is installed, not the pinned {VERSION}; run `pip install scienceworld=={VERSION}`.")
    return str(metadata.distribution("scienceworld").locate_file("scienceworld/scienceworld.jar"))


@functools.cache
def provenance() -> dict[str, str]:
    """What a row must say of the simulator that made it: simulator, jar (16 hex digits of its SHA-256), jvm (flags)."""
    with open(jar_path(), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"simulator": f"scienceworld {VERSION}", "jar": digest[:16], "jvm": JVM_FLAGS}
