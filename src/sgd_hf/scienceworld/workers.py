"""Worker processes that each own one JVM, and a pool that survives their deaths.

Guarantee: every item given to `Pool.run` comes back exactly once, as a result or as a `SimulatorError`. A worker
that hangs or dies is killed with its JVM and replaced, a JVM that fails is replaced alone, and the item is tried
once more. Nothing stays behind: not after `close`, not after Ctrl-C, and not after this process is killed with SIGKILL.
Nor does a worker run the program that started it, with or without a ``__main__`` guard.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection
from types import ModuleType
from typing import Any, TypeVar

from sgd_hf.core.errors import SimulatorError
from sgd_hf.scienceworld.environment import Lost, ScienceWorld, jar_path
from sgd_hf.scienceworld.java import find_java

Item = TypeVar("Item")
Result = TypeVar("Result")


class NotStarted(SimulatorError):
    """No JVM came up: the machine's fault, and no item's."""


class Worker:
    """One spawned process with one `ScienceWorld`, which lives from item to item.

    `send` a top-level function ``f(env, item)`` of a module that can be imported; wait for ``connection``, alone or among others, with
    ``multiprocessing.connection.wait``; `receive` what it returned. One item at a time.
    """

    def __init__(self):
        context = multiprocessing.get_context("spawn")  # a forked child would share the parent's py4j socket
        self.connection, theirs = context.Pipe()
        self._jvm = context.RawValue("i", 0)
        self._process = context.Process(target=_serve, args=(theirs, self._jvm), daemon=True)
        # The child inherits the mask: Ctrl-C in the terminal reaches only this process, which then closes its workers.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        # A spawned child imports the program: one without a ``__main__`` guard would run again in each. It is shown an empty one.
        program = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            self._process.start()
        finally:
            sys.modules["__main__"] = program
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def send(self, function: Callable[[ScienceWorld, Item], Any], item: Item) -> None:
        """Begin one item. A worker that died meanwhile says so in `receive`."""
        with contextlib.suppress(OSError):
            self.connection.send((function, item))

    def receive(self) -> Any:
        """What the function returned; raises what it raised, and `Lost` if the worker died."""
        try:
            ok, value = self.connection.recv()
        except (EOFError, OSError):
            self.close()
            raise Lost("A simulator worker died before it answered; see whether the machine ran out of memory.") from None
        if not ok:
            raise value
        return value

    def close(self) -> None:
        """Kill the process and its JVM, whatever they are doing; harmless when they are gone."""
        self._process.kill()
        self._process.join()
        if self._jvm.value:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._jvm.value, signal.SIGKILL)
            self._jvm.value = 0
        self.connection.close()


class Pool:
    """``workers`` processes; an item without an answer after ``timeout_s`` seconds counts as hung.

    A context manager. Raises `SimulatorError` where there is no Java or another simulator, and from `run` where a JVM
    does not start, twice.
    """

    def __init__(self, workers: int, timeout_s: float = 300.0):
        find_java()
        jar_path()
        self._workers = workers
        self._timeout = timeout_s
        self._idle: list[Worker] = []

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self, function: Callable[[ScienceWorld, Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | SimulatorError]]:
        """Each item with its result, as they finish. Any error but `SimulatorError` is the function's own and raised."""
        owed = deque((item, True) for item in items)
        busy: dict[Worker, tuple[Item, bool, float]] = {}
        try:
            while owed or busy:
                while owed and len(busy) < self._workers:
                    item, again = owed.popleft()
                    worker = self._take()
                    busy[worker] = (item, again, time.monotonic() + self._timeout)
                    worker.send(function, item)
                nearest = min(deadline for _, _, deadline in busy.values())
                ready = connection.wait([worker.connection for worker in busy], max(0.0, nearest - time.monotonic()))
                for worker, (item, again, deadline) in list(busy.items()):
                    if worker.connection not in ready and time.monotonic() < deadline:
                        continue
                    outcome = self._outcome(worker, worker.connection in ready)
                    del busy[worker]
                    if worker.alive:
                        self._idle.append(worker)
                    if isinstance(outcome, NotStarted) and not again:
                        raise outcome
                    if isinstance(outcome, SimulatorError) and again:
                        owed.appendleft((item, False))
                    else:
                        yield item, outcome
        finally:
            for worker in busy:
                worker.close()

    def settled(
        self, function: Callable[[ScienceWorld, Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | SimulatorError]]:
        """As `run`, without the items that are `Lost`: when all others have come back, one `SimulatorError` counts them."""
        lost: list[Lost] = []
        for item, outcome in self.run(function, items):
            if isinstance(outcome, Lost):
                lost.append(outcome)
            else:
                yield item, outcome
        if lost:
            reason = str(lost[-1]).partition(";")[0]
            raise SimulatorError(f"{len(lost)} paths failed with the simulator ({reason}); repeat the command, which tries them again.")

    def close(self) -> None:
        """End all workers and their JVMs."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            worker.close()
        return Worker()

    def _outcome(self, worker: Worker, ready: bool) -> Any:
        if not ready:
            worker.close()
            # Not `Lost`: an episode that hangs may hang for ever, and the others must not wait for it.
            return SimulatorError(f"The simulator gave no answer within {self._timeout:g} s.")
        try:
            return worker.receive()
        except SimulatorError as error:
            return error


def _started() -> ScienceWorld:
    try:
        return ScienceWorld()
    except SimulatorError as error:
        raise NotStarted(str(error)) from None


def _serve(pipe: connection.Connection, jvm: Any) -> None:
    threading.Thread(target=_follow_parent, args=(jvm,), daemon=True).start()
    env = None
    while True:
        try:
            function, item = pipe.recv()
        except EOFError:
            return
        try:
            if env is None:
                env = _started()
                jvm.value = env.pid
            answer = (True, function(env, item))
        except Exception as error:
            error.add_note(f"In a simulator worker:\n{traceback.format_exc()}")
            answer = (False, error)
            if env is not None and isinstance(error, SimulatorError):
                jvm.value = 0
                env.close()
                env = None
        pipe.send(answer)


def _follow_parent(jvm: Any) -> None:
    """Go when the parent goes, even in the middle of an item: its sentinel becomes readable when it dies."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    with contextlib.suppress(ProcessLookupError):
        if jvm.value:
            os.kill(jvm.value, signal.SIGKILL)
    os._exit(1)
