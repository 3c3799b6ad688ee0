"""What a shared pass saves: the released agent's model on its own recorded episodes, several side by side in each pass over the
weights, against one after the other with the same decoder.

No simulator: replies are those of the committed rollouts, of which those are taken that never listed valid actions. Both ways
begin with nothing read and nothing guessed. An episode ends early where it parts from its record, as the last digits of another
machine's numbers may have it; it must be the same episodes in both ways. Prints one JSON line last: ``ratio`` is seconds one by
one / seconds side by side, of writing alone.

    python tests/benchmarks/bench_beside.py [--release recipes/smollm2-135m/release] [--episodes N] [--beside N]
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

from bench_guesses import rollouts

from sgd_hf.agent.agent import SubgoalAgent
from sgd_hf.agent.decoder import Decoder
from sgd_hf.agent.decoding import Writing
from sgd_hf.agent.policy import Ask, Reply
from sgd_hf.core.records import Rollout
from sgd_hf.core.texts import rejected


class Recorded:
    """An episode that is written again: what it asks, and the recorded replies to what it does."""

    def __init__(self, agent: SubgoalAgent, rollout: Rollout, slot: int):
        _, self._policy = agent.policy(rollout.description, rollout.look, rollout.inventory)
        self._steps, self._slot = iter(rollout.steps), slot
        self.parted, self.writing = False, None
        self.go_on(None)

    def go_on(self, answer) -> None:
        """To the next question; ``writing`` is None when the record is at its end, or was left."""
        request, self.writing = self._policy.send(answer), None
        while not isinstance(request, Ask):
            step = next(self._steps, None)
            self.parted = step is None or step.action != getattr(request, "action", "")
            if self.parted or step.done:
                return
            request = self._policy.send(Reply(step.observation, step.look, step.inventory, rejected(step.observation)))
        self.writing = Writing(request, self._slot)


def seconds(agent: SubgoalAgent, episodes: list[Rollout], beside: int) -> tuple[float, set[str]]:
    """Seconds of writing them, ``beside`` at a time, and the keys of those that parted from their record."""
    modules = {name: Decoder(module.model, module.tokenizer, module.decoding) for name, module in agent.modules().items()}
    owed, under_way, parted, spent = list(episodes), {}, set(), 0.0
    while owed or under_way:
        while owed and len(under_way) < beside:
            slot = min(set(range(beside)) - set(under_way))
            rollout = owed.pop(0)
            under_way[slot] = (rollout, Recorded(agent, rollout, slot))
        waiting = defaultdict(list)
        for _, recorded in under_way.values():
            waiting[recorded.writing.ask.module].append(recorded)
        name = max(waiting, key=lambda module: len(waiting[module]))
        begin = time.perf_counter()
        modules[name].advance([recorded.writing for recorded in waiting[name]])
        spent += time.perf_counter() - begin
        for slot, (rollout, recorded) in list(under_way.items()):
            if recorded.writing.answer is not None:
                recorded.go_on(recorded.writing.answer)
            if recorded.writing is None:
                parted |= {rollout.key} if recorded.parted else set()
                del under_way[slot]
                print(f"{beside} at a time: {rollout.key}, {spent:.1f} s so far", flush=True)
    return spent, parted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--release", type=Path, default=Path("recipes/smollm2-135m/release"))
    parser.add_argument("--episodes", type=int, default=12, metavar="N", help="episodes, of a task each (default: 12)")
    parser.add_argument("--beside", type=int, default=6, metavar="N", help="episodes side by side (default: 6)")
    arguments = parser.parse_args()
    agent = SubgoalAgent.from_pretrained(str(arguments.release / "agent"))
    episodes = rollouts(arguments.release, arguments.episodes)
    (beside, parted), (alone, parted_alone) = (seconds(agent, episodes, at_once) for at_once in (arguments.beside, 1))
    if parted != parted_alone:
        raise SystemExit(f"{min(parted ^ parted_alone)} is written otherwise side by side.")
    print(json.dumps({
        "benchmark": "beside", "ratio": round(alone / beside, 2), "episodes": len(episodes), "parted": len(parted),
        "beside": arguments.beside, "alone_s": round(alone, 1), "beside_s": round(beside, 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
