"""The tables of a release that no earlier stage has written: episodes, rollouts, traces, and the statistics of a data set.

Guarantee: every row and every figure is computed from the simulator's frozen tables, from stored rollouts, or from the
data set's own files; the same input gives the same bytes.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sgd_hf.core.reasons import spoken
from sgd_hf.core.records import HUB_SPLIT, SPLITS, Rollout, features, to_row
from sgd_hf.core.subgoals import parse
from sgd_hf.scienceworld.protocols import PROTOCOLS, protocol
from sgd_hf.scienceworld.tasks import TASKS, variations

EPISODES, ROLLOUTS = "episodes", "rollouts"
HARNESS = "sgd-hf"


def episodes(folder: Path) -> list[dict[str, str]]:
    """Write every variation of every task, with the protocols that play it; returns the ``data_files``."""
    from datasets import Features, List, Value

    member = defaultdict(list)
    for name in PROTOCOLS:
        for episode in protocol(name).episodes:
            member[episode.task, episode.variation].append(name)
    text = Value("string")
    schema = Features({"task": text, "id": text, "length": text, "variation": Value("int64"), "split": text, "protocols": List(text)})
    files = []
    for split in SPLITS:
        rows = [
            {"task": task.name, "id": task.id, "length": task.length, "variation": number, "split": split, "protocols": member[task.name, number]}
            for task in TASKS.values()
            for number in variations(task.name, split)
        ]  # fmt: skip
        files.append(_write(folder, EPISODES, HUB_SPLIT[split], rows, schema))
    return files


def rollouts_tables(folder: Path, rollouts: Sequence[Rollout]) -> list[dict[str, str]]:
    """Write the rollouts of all arms, a file a split; returns the ``data_files``."""
    split_rows = defaultdict(list)
    for rollout in sorted(rollouts, key=lambda r: r.key):
        split_rows[HUB_SPLIT[rollout.episode.split]].append(to_row(rollout))
    return [_write(folder, ROLLOUTS, split, rows, features(Rollout)) for split, rows in split_rows.items()]


def traces(folder: Path, rollouts: Sequence[Rollout]) -> None:
    """Write each episode of an arm that sets sub-goals as JSON lines that the Hub's trace viewer reads:
    a session, then the messages of the simulator (user) and of the agent (assistant, the sub-goal as its reasoning)."""
    for rollout in rollouts:
        if rollout.subgoals:
            path = folder / "traces" / rollout.arm / f"{rollout.episode.task}-{rollout.episode.variation}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in _trace(rollout)))


def statistics(data: Path) -> dict[str, Any]:
    """Counts of a data set that ``sgd build`` wrote, and the ``simulator`` (with its ``jar``) of its gold paths: ``episodes``
    by task and split, ``subgoals`` by verb, ``subgoals_each`` (episodes by their number of sub-goals) and ``actions_each``
    (sub-goals by their number of actions)."""
    import pyarrow.parquet

    tasks: dict[str, Counter[str]] = defaultdict(Counter)
    verbs, each, actions = Counter(), Counter(), Counter()
    for path in sorted((data / "annotations").glob("*.parquet")):
        for row in pyarrow.parquet.read_table(path, columns=["task", "split", "segments"]).to_pylist():
            tasks[row["task"]][HUB_SPLIT[row["split"]]] += 1
            each[len(row["segments"])] += 1
            actions.update(len(segment["actions"]) for segment in row["segments"])
            verbs.update(parse(segment["subgoal"]).verb for segment in row["segments"])
    simulators = {key: set() for key in ("simulator", "jar")}
    for path in sorted((data / "gold_paths").glob("*.parquet")):
        for key, column in pyarrow.parquet.read_table(path, columns=list(simulators)).to_pydict().items():
            simulators[key].update(column)
    return {
        "simulator": {key: ", ".join(sorted(found)) for key, found in simulators.items()},
        "episodes": {task: dict(sorted(tasks[task].items())) for task in TASKS if task in tasks},
        "subgoals": dict(sorted(verbs.items(), key=lambda item: (-item[1], item[0]))),
        "subgoals_each": {str(count): each[count] for count in sorted(each)},
        "actions_each": {str(count): actions[count] for count in sorted(actions)},
    }


def _write(folder: Path, config: str, split: str, rows: list[dict[str, Any]], schema: Any) -> dict[str, str]:
    import pyarrow
    import pyarrow.parquet

    path = folder / config / f"{split}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist(rows, schema=schema.arrow_schema), path, compression="zstd", write_page_index=True
    )
    # As `sgd build` names its files, and for its reason: no cache answers with what stood here before.
    path = path.rename(path.with_stem(f"{split}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"))
    return {"split": split, "path": f"{config}/{path.name}"}


def _trace(rollout: Rollout) -> Iterator[dict[str, Any]]:
    name = f"{rollout.arm}: {rollout.episode.task} {rollout.episode.variation} → {rollout.score}"
    yield {"type": "session", "harness": HARNESS, "id": rollout.key, "name": name}
    yield _message("user", rollout.description)
    for number, step in enumerate(rollout.steps):
        subgoal = next((spoken(trace.subgoal, trace.why) for trace in rollout.subgoals if trace.start == number), None)
        yield _message("assistant", step.action, **({"reasoningContent": subgoal} if subgoal else {}))
        yield _message("user", step.observation)


def _message(role: str, content: str, **more: str) -> dict[str, Any]:
    return {"type": "message", "message": {"role": role, "content": content, **more}}
