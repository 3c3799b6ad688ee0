"""Rollouts to scores: what an arm did, in numbers that a reader can compute again by hand.

Guarantee: pure, and blind to the order of the rollouts. Every rollout counts: one that crashed or failed counts
0, none is dropped. The macro mean is the mean over tasks of the task's mean, and its interval resamples the
episodes within their task, so it speaks of these tasks and not of others. Nothing is rounded.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sgd_hf.core.records import Rollout
from sgd_hf.evaluation.diagnosis import label, looped, subgoal_metrics, wrong_focus
from sgd_hf.scienceworld.tasks import find

LENGTHS = ("short", "medium", "long")


def summarise(rollouts: Iterable[Rollout], seed: int = 0, resamples: int = 2000) -> dict[str, dict[str, Any]]:
    """The summary of each arm, as plain JSON types.

    Scores are 0 to 100 (``macro``, ``micro``, ``best_macro``, ``interval``, ``classes``, ``tasks``), shares 0 to 1
    (``success``, ``rejected_share``, ``looped``: episodes with a loop anywhere); ``mean_moves`` is in simulator ticks,
    ``seconds`` are those of model and simulator over all episodes;
    ``diagnosis`` counts the episodes of each label of `sgd_hf.evaluation.diagnosis`. ``interval`` is the 95 % percentile
    bootstrap of ``macro``. ``best_macro`` takes the best score before a failure or a crash. A class without a task is None,
    and so is ``subgoals`` for an arm that has none. Raises `InputError` for a task that the simulator has not.
    """
    arms = defaultdict(list)
    for rollout in rollouts:
        arms[rollout.arm].append(rollout)
    return {arm: _summary(sorted(arms[arm], key=lambda r: r.key), seed, resamples) for arm in sorted(arms)}


def score(rollout: Rollout) -> int:
    """The score under which a rollout counts: 0 for one that failed or crashed."""
    return 0 if rollout.stop in ("failure", "error") else max(rollout.score, 0)


def _summary(rollouts: Sequence[Rollout], seed: int, resamples: int) -> dict[str, Any]:
    tasks = defaultdict(list)
    for rollout in rollouts:
        tasks[rollout.episode.task].append(rollout)
    scores = {task: [score(r) for r in tasks[task]] for task in sorted(tasks)}
    actions = sum(len(r.steps) for r in rollouts)
    return {
        "episodes": len(rollouts),
        "errors": sum(r.stop == "error" for r in rollouts),
        "macro": _macro(scores.values()),
        "micro": _mean([score(r) for r in rollouts]),
        "interval": interval(list(scores.values()), seed, resamples),
        "success": _mean([score(r) == 100 for r in rollouts]),
        "best_macro": _macro([max(r.best_score, score(r)) for r in group] for _, group in sorted(tasks.items())),
        "rejected_share": sum(r.rejected for r in rollouts) / actions if actions else 0.0,
        "repaired": sum(r.repaired for r in rollouts),
        "failures": sum(r.stop == "failure" for r in rollouts),
        "focus_failures": sum(map(wrong_focus, rollouts)),
        "stops": dict(sorted(Counter(r.stop for r in rollouts).items())),
        "diagnosis": dict(sorted(Counter(map(label, rollouts)).items())),
        "looped": _mean([looped(r.steps) for r in rollouts]),
        "mean_moves": _mean([r.steps[-1].moves if r.steps else 0 for r in rollouts]),
        "mean_actions": actions / len(rollouts),
        "seconds": sum(r.model_seconds + r.simulator_seconds for r in rollouts),
        "classes": {length: _macro(s for task, s in scores.items() if find(task).length == length) for length in LENGTHS},
        "tasks": {
            task: {"episodes": len(values), "score": _mean(values), "success": _mean([value == 100 for value in values])}
            for task, values in scores.items()
        },
        "subgoals": _subgoals(rollouts),
    }


def _subgoals(rollouts: Sequence[Rollout]) -> dict[str, Any] | None:
    traces = [trace for rollout in rollouts for trace in rollout.subgoals]
    if not traces:
        return None
    return {
        "per_episode": len(traces) / len(rollouts),
        "actions_each": _mean([trace.end - trace.start for trace in traces]),
        "fates": dict(sorted(Counter(trace.fate for trace in traces).items())),
        **subgoal_metrics(rollouts),
    }


def interval(tasks: Sequence[Sequence[float]], seed: int, resamples: int) -> list[float]:
    """[low, high], the 95 % percentile bootstrap of the mean over tasks of each task's mean value; a task with a single
    episode adds no width. Of n episodes n - 1 are drawn (Rao and Wu 1988): n would give (n - 1) / n of the variance, and of
    the three of a task in `dev-mini` false alarms twice as often as said."""
    generator = np.random.default_rng(seed)
    macro = np.zeros(resamples)
    for values in tasks:
        drawn = generator.integers(0, len(values), (resamples, max(1, len(values) - 1)))
        macro += np.asarray(values)[drawn].mean(axis=1)
    return [float(bound) for bound in np.percentile(macro / len(tasks), [2.5, 97.5])]


def within(bounds: Sequence[float]) -> str:
    """An interval as it is displayed, empty where one episode a task says nothing of the spread."""
    low, high = bounds
    return f"{low:.1f}–{high:.1f}" if low < high else ""


def spread(bounds: Sequence[float]) -> str:
    """The interval of a difference as it is displayed."""
    low, high = bounds
    return f"95 % {low:+.1f} to {high:+.1f}"


def _macro(tasks: Iterable[Sequence[int]]) -> float | None:
    means = [_mean(values) for values in tasks]
    return _mean(means) if means else None


def _mean(values: Sequence[float]) -> float:
    return float(sum(values) / len(values))
