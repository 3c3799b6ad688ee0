"""Episodes of an arm under a protocol, several in flight, one stored row each.

Guarantee: each episode of the protocol gives exactly one `Rollout`, stored the moment it ends; a killed
evaluation continues with the episodes that are owed. A simulator that dies or hangs costs its episode one more
try, then the episode is a row with ``stop == "error"``. While one episode waits for its simulator, the model
writes for the others, and for all of them in one pass over its weights. Of a sharded evaluation each shard plays its
share into a folder of its own, and the same call without a shard merges them, plays what is still owed, and gives the
rows that one run would have given.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from multiprocessing import connection
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError, StoreError
from sgd_hf.core.progress import progress
from sgd_hf.core.records import Episode, Rollout, from_row, to_row
from sgd_hf.core.store import Store, read_rows, shard_folder
from sgd_hf.evaluation.arms import Arm
from sgd_hf.evaluation.flights import Flight
from sgd_hf.scienceworld.environment import provenance
from sgd_hf.scienceworld.java import find_java
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
    shard: tuple[int, int] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> list[Rollout]:
    """Play what the folder ``out`` still owes and return all its rollouts, in the protocol's order.

    ``shard``: ``(i, n)`` with 1 <= i <= n plays and returns the i-th share only, in ``out/shard-i-of-n``. ``timeout_s``
    is that of `play_all`. Raises `StoreError` where a folder was begun with another configuration, or
    a shard is still being played.
    """
    find_java()  # its absence is the user's to mend, not a crash of each episode
    config = _config(protocol, arm)
    if lacking := [episode.key for episode in protocol.episodes if arm.known is not None and episode.key not in arm.known]:
        raise InputError(
            f"The arm {arm.name} cannot play {len(lacking)} of the {len(protocol.episodes)} episodes of {protocol.name}, such as {lacking[0]}: "
            "what it was given has no accepted path of them; collect and annotate these, or choose another protocol."
        )
    index, count = shard or (1, 1)
    episodes = protocol.episodes[index - 1 :: count]
    with Store(shard_folder(out, shard), STAGE, config) as store:
        store.merge_shards()
        owed = [episode for episode in episodes if f"{arm.name}/{episode.key}" not in store.keys]
        # Long ones first: the last simulators to finish then have short ones.
        owed.sort(key=lambda episode: _LENGTHS[TASKS[episode.task].length])
        with progress(f"evaluate {arm.name}", len(episodes), len(episodes) - len(owed)) as advance:
            for rollout in play_all(owed, arm, protocol, workers, timeout_s):
                store.append(rollout.key, to_row(rollout))
                advance(rollout.episode.task)
        rollouts = {row["key"]: from_row(Rollout, row) for row in store.rows()}
        store.finish({"episodes": len(rollouts), "errors": sum(r.stop == "error" for r in rollouts.values())})
    return [rollouts[f"{arm.name}/{episode.key}"] for episode in episodes]


def read_rollouts(folder: Path) -> list[Rollout]:
    """The rollouts of a complete evaluation folder, or of the folder ``rollouts`` of a release."""
    if (folder / "results.json").exists():
        import pyarrow.parquet

        found = sorted(folder.glob("rollouts/*.parquet"))
        if not found:
            raise StoreError(f"{folder} holds results but no rollouts; give one of its evaluation folders, or the rollouts of a release.")
        try:
            tables = [pyarrow.parquet.read_table(path) for path in found]
        except pyarrow.ArrowException as error:
            raise StoreError(f"A table in {folder / 'rollouts'} is damaged ({error}); download or release it again.") from None
        return [from_row(Rollout, row) for table in tables for row in table.to_pylist()]
    return list(read_rows(folder, STAGE, lambda row: from_row(Rollout, row)))


def play_all(
    episodes: Sequence[Episode],
    arm: Arm,
    protocol: Protocol,
    workers: int,
    timeout_s: float = TIMEOUT_S,
) -> Iterator[Rollout]:
    """Rollouts as they finish, with one episode in flight for each simulator. ``timeout_s``: seconds until one counts as hung."""
    with closing(turns(episodes, arm, protocol, workers, timeout_s)) as flights:
        yield from (flight.rollout for flight in flights if flight.rollout)


def turns(
    episodes: Sequence[Episode],
    arm: Arm,
    protocol: Protocol,
    workers: int,
    timeout_s: float = TIMEOUT_S,
) -> Iterator[Flight]:
    """`play_all` for whoever looks on: the flights under way whenever something has happened in one, and each once more
    with its rollout when it has landed for good."""
    if workers < 1:
        raise InputError(f"Episodes are played on at least one simulator, and not on {workers}.")
    owed = deque((episode, 0) for episode in episodes)
    flights: dict[connection.Connection, Flight] = {}
    idle: list[Worker] = []
    served: Counter[Worker] = Counter()
    seats = list(range(workers))
    try:
        while owed or flights:
            while owed and len(flights) < workers:
                worker = idle.pop() if idle else Worker()
                served[worker] += 1
                flights[worker.connection] = Flight(*owed.popleft(), worker, seats.pop(), arm, protocol, timeout_s)
            for key in _answered(flights):
                flights[key].hear()
            for key, flight in list(flights.items()):
                if flight.rollout is None:
                    continue
                del flights[key]
                seats.append(flight.seat)
                if flight.worker.alive and served[flight.worker] < WORKER_EPISODES:
                    idle.append(flight.worker)
                else:
                    flight.worker.close()
                if flight.rollout.stop == "error" and flight.retries == 0:
                    owed.appendleft((flight.episode, 1))
                else:
                    yield flight
            yield from list(flights.values())
            _write([flight for flight in flights.values() if flight.writing], arm)
    finally:
        for worker in [*idle, *(flight.worker for flight in flights.values())]:
            worker.close()


def _answered(flights: dict[connection.Connection, Flight]) -> list[connection.Connection]:
    """The flights whose simulator has answered or is overdue; waits for one unless there is something else to do."""
    listening = {key: flight for key, flight in flights.items() if flight.awaits == "simulator"}
    at_once = len(listening) < len(flights)
    nearest = min((flight.deadline for flight in listening.values()), default=0.0)
    ready = connection.wait(list(listening), 0.0 if at_once else max(0.0, nearest - time.monotonic()))
    late = [key for key, flight in listening.items() if key not in ready and time.monotonic() >= flight.deadline]
    return [*ready, *late]


def _write(asking: Sequence[Flight], arm: Arm) -> None:
    """Let the module that most flights wait for write on at its answers; of two, the one that was asked first."""
    waiting: dict[int, list[Flight]] = defaultdict(list)
    for flight in sorted(asking, key=lambda flight: flight.asked):
        waiting[id(arm.modules[flight.awaits])].append(flight)  # one model may have two roles
    chosen = max(waiting.values(), key=len, default=[])
    if not chosen:
        return
    begin = time.perf_counter()
    arm.modules[chosen[0].awaits].advance([flight.writing for flight in chosen])
    seconds = (time.perf_counter() - begin) / len(chosen)
    for flight in chosen:
        flight.model_seconds += seconds
        if flight.writing.answer is not None:
            flight.go_on(flight.writing.answer)


def shape(protocol: Protocol) -> dict[str, Any]:
    """What a manifest says of a protocol."""
    said = {"name": protocol.name, "digest": protocol.digest, "limit": protocol.limit, "patience": protocol.patience}
    return {**said, "simplification": protocol.simplification}


def _config(protocol: Protocol, arm: Arm) -> dict[str, Any]:
    digests = {name: module.digest for name, module in arm.modules.items()}  # seconds each, which only who stores a score needs
    return {"protocol": shape(protocol), "arm": arm.name, **arm.origin, **digests, "seed": arm.seed, **provenance()}
