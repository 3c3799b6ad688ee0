"""What guesses save: the released agent's model on its own recorded episodes, with what it answered to the same words before
read along as a guess, against writing every answer token by token.

No simulator: replies are those of the committed rollouts, of which those are taken that never listed valid actions. Two decoders
of the same weights write the same answers, episode by episode in turn, each going first half of the time. Prints one JSON
line last: ``ratio`` is plain seconds / guessing seconds, of writing alone.

    python tests/benchmarks/bench_guesses.py [--release recipes/smollm2-135m/release] [--episodes N]
"""

import argparse
import json
import time
from pathlib import Path

from sgd_hf.agent.agent import SubgoalAgent
from sgd_hf.agent.decoder import Decoder
from sgd_hf.agent.policy import Ask, Reply
from sgd_hf.core.records import Rollout
from sgd_hf.core.texts import rejected
from sgd_hf.evaluation.rollouts import read_rollouts


class Plain(Decoder):
    """A decoder that never guesses."""

    def _guess(self, question: str) -> list[int]:
        return []


def rollouts(release: Path, most: int) -> list[Rollout]:
    """The first recorded episodes of as many tasks."""
    found: dict[str, Rollout] = {}
    for rollout in read_rollouts(release / "rollouts"):
        if rollout.arm == "hierarchical" and not rollout.listed:
            found.setdefault(rollout.episode.task, rollout)
    return list(found.values())[:most]


def played(agent: SubgoalAgent, modules: dict[str, Decoder], rollout: Rollout) -> tuple[float, list[str]]:
    """Seconds of writing an episode, and what was written."""
    _, policy = agent.policy(rollout.description, rollout.look, rollout.inventory)
    steps = iter(rollout.steps)
    written: list[str] = []
    seconds, request = 0.0, next(policy)
    while True:
        if isinstance(request, Ask):
            begin = time.perf_counter()
            answer = modules[request.module].write(request)
            seconds += time.perf_counter() - begin
            written.append(answer)
        else:
            step = next(steps)
            if step.action != request.action:
                raise SystemExit(f"{rollout.key} plays {request.action!r} where {step.action!r} is recorded; these are other weights.")
            if step.done or step is rollout.steps[-1]:
                return seconds, written
            answer = Reply(step.observation, step.look, step.inventory, rejected(step.observation))
        request = policy.send(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--release", type=Path, default=Path("recipes/smollm2-135m/release"))
    parser.add_argument("--episodes", type=int, default=10, metavar="N", help="episodes, of a task each (default: 10)")
    arguments = parser.parse_args()
    agent = SubgoalAgent.from_pretrained(str(arguments.release / "agent"))
    guessing = agent.modules()
    plain = {name: Plain(module.model, module.tokenizer, module.decoding) for name, module in guessing.items()}
    totals = {"guessing": 0.0, "plain": 0.0}
    answers = 0
    for number, rollout in enumerate(rollouts(arguments.release, arguments.episodes)):
        ways = {"guessing": guessing, "plain": plain}
        found = {way: played(agent, ways[way], rollout) for way in sorted(ways, reverse=bool(number % 2))}
        if found["guessing"][1] != found["plain"][1]:
            raise SystemExit(f"{rollout.key} is written otherwise with guesses.")
        answers += len(found["plain"][1])
        for way, (seconds, _) in found.items():
            totals[way] += seconds
        print(f"{rollout.key}: {len(found['plain'][1])} answers, " + ", ".join(f"{way} {found[way][0]:.1f} s" for way in ways), flush=True)
    print(json.dumps({
        "benchmark": "guesses", "ratio": round(totals["plain"] / totals["guessing"], 2), "answers": answers,
        **{f"{way}_s": round(seconds, 1) for way, seconds in totals.items()},
    }))  # fmt: skip


if __name__ == "__main__":
    main()
