"""The rows that a student learns from: which data set, which of its episodes, and how often each.

Guarantee: a choice of episodes is a pure function of the recipe and the data, the same in every process and on every
machine; episodes are taken in the order of their digests, so that a smaller choice is part of a larger one and no
accident of the simulator's numbering decides. No row is cut, and the rows of an episode stay together.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError
from sgd_hf.scienceworld.tasks import scattered
from sgd_hf.training.recipe import FIRST, Student
from sgd_hf.training.renaming import renamed

Variation = tuple[str, int]


def data_folder(data: str) -> tuple[Path, dict[str, str]]:
    """The folder of a data set that is given as a folder, or as a Hub id ``ORG/NAME`` or ``ORG/NAME@REVISION`` (fetched
    to the cache); and where it comes from: ``id`` and the ``revision``'s commit of a Hub one, nothing for a folder."""
    if Path(data).exists() or data.count("/") != 1 or data.startswith((".", "/")):
        return Path(data), {}
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = data.partition("@")
    try:
        wanted = ["manifest.json", "README.md", "*/*.parquet"]
        folder = Path(snapshot_download(name, repo_type="dataset", revision=revision or None, allow_patterns=wanted))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{data} is neither a folder nor a data set on the Hub ({reason}); give what `sgd build` wrote.") from None
    return folder, {"id": name, "revision": folder.name}


def learnt_rows(folder: Path, student: Student) -> dict[str, Any]:
    """The splits ``train`` and, where there is one, ``validation``: data sets of ``messages``, with the ``task`` and
    ``variation`` that they are of, balanced as the recipe says."""
    from datasets import concatenate_datasets, load_dataset

    parts = [load_dataset(str(folder), role) for role in student.roles]
    sets = {}
    for split in ("train", "validation"):
        if split not in parts[0]:
            continue
        columns = ["messages", "task", "variation", "number", "subgoal"]
        rows = concatenate_datasets([part[split].select_columns(columns) for part in parts])
        if student.role == FIRST:
            rows = rows.filter(lambda number: number == 0, input_columns="number")
            rows = rows.map(lambda messages: {"messages": messages[:2]}, input_columns="messages")
        cap, power = (student.task_cap, student.task_power) if split == "train" else (student.dev_cap, 1.0)
        places = _places(zip(rows["task"], rows["variation"], strict=True))
        tasks = {task for task, _ in places}
        if unknown := sorted(set(student.held_out) - tasks) if split == "train" else []:
            raise InputError(
                f"The recipe holds out {', '.join(unknown)}, which the data set has no train rows of; its tasks: {', '.join(sorted(tasks))}."
            )
        times = episode_times([place for place in places if place[0] not in student.held_out], cap, power)
        if times:
            picked = sorted(i for place, n in times.items() for _ in range(n) for i in places[place])
            if student.row_cap and split == "train":
                picked = _spread(picked, [_kind(*row) for row in zip(rows["task"], rows["subgoal"], strict=True)], student.row_cap)
            sets[split] = rows.select(picked).select_columns(["messages", "task", "variation"])
            if student.renamings and split == "train":
                sets[split] = concatenate_datasets([_renamed(sets[split], str(k)) for k in range(student.renamings)])
    if "train" not in sets:
        raise InputError(f"The recipe holds out every task of {folder}; leave at least one.")
    return sets


def variations_of(rows: Any) -> dict[str, list[int]]:
    """The variations of each task that some rows are of."""
    found: dict[str, set[int]] = defaultdict(set)
    for task, variation in zip(rows["task"], rows["variation"], strict=True):
        found[task].add(variation)
    return {task: sorted(found[task]) for task in sorted(found)}


def united(*episodes: dict[str, dict[str, list[int]]]) -> dict[str, dict[str, list[int]]]:
    """The variations of each split and task that are in any of these."""
    found: dict[str, dict[str, list[int]]] = {}
    for split, tasks in ((split, tasks) for some in episodes for split, tasks in some.items()):
        own = found.setdefault(split, {})
        for task, variations in tasks.items():
            own[task] = sorted({*own.get(task, ()), *variations})
    return found


def episode_times(episodes: Iterable[Variation], cap: int = 0, power: float = 1.0) -> dict[Variation, int]:
    """How often each episode is learnt from in an epoch; those not at all are left out. ``cap``: at most so many episodes
    a task (0: all). ``power``: a task of n episodes gets a share in proportion to n ** power, of as many as there are."""
    tasks: Mapping[str, list[Variation]] = defaultdict(list)
    for episode in scattered(episodes):
        if not cap or len(tasks[episode[0]]) < cap:
            tasks[episode[0]].append(episode)
    total, weight = sum(map(len, tasks.values())), sum(len(own) ** power for own in tasks.values())
    times: dict[Variation, int] = {}
    for _, own in sorted(tasks.items()):
        rounds, more = divmod(max(1, round(total * len(own) ** power / weight)), len(own))
        times |= {episode: rounds + (i < more) for i, episode in enumerate(own) if rounds or i < more}
    return times


def _renamed(rows: Any, key: str) -> Any:
    # Not by `map`, which knows `renamed` by its name: its cache, and those of what is made of it, are of any earlier sgd-hf.
    messages = [renamed(messages, f"{key}/{i}") for i, messages in enumerate(rows["messages"])]
    return rows.remove_columns("messages").add_column("messages", messages, feature=rows.features["messages"])


def _kind(task: str, subgoal: str) -> str:
    """What a row teaches: one about a sub-goal its verb, any other its task."""
    return subgoal.partition("(")[0] or task


def _spread(picked: Sequence[int], kinds: Sequence[str], cap: int) -> list[int]:
    """At most ``cap`` of the picked places of each kind, evenly spread over them."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i in picked:
        groups[kinds[i]].append(i)
    return sorted(own[k * len(own) // min(cap, len(own))] for own in groups.values() for k in range(min(cap, len(own))))


def _places(episodes: Iterable[Variation]) -> dict[Variation, list[int]]:
    places: dict[Variation, list[int]] = defaultdict(list)
    for i, episode in enumerate(episodes):
        places[episode].append(i)
    return places
