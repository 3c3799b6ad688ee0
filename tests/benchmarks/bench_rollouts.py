"""The engine against a sequential loop as in the paper's code: the same agent, the same episodes, one run.

The loop does what is known of that code: one episode after the other; the planner asked before every action and the
executor before it acts, each with `generate`, five beams and its whole prompt read anew; stock `ScienceWorldEnv.step`,
which lists the valid actions every time. Left to decide for itself it often stops early, after wrong repairs, and would
look fast; so it carries out the actions that the engine's agent chose, after the same sub-goals, and both do the same
work. It is spared the code's turns without an action (END in any beam) and its second step after a rejection.

The engine plays all episodes, the loop as many as begin within its time; start-up counts for both. Prints one JSON
line last: ``ratio`` is the engine's actions per minute over the loop's.

    python tests/benchmarks/bench_rollouts.py --agent runs/quickstart [--seconds N] [--per-task N] [--workers N]
"""

import argparse
import json
import os
import time
from multiprocessing import connection

from sgd_hf.core.prompts import State, Transcript
from sgd_hf.evaluation.arms import arm
from sgd_hf.evaluation.rollouts import play_all
from sgd_hf.scienceworld.environment import JVM_FLAGS
from sgd_hf.scienceworld.protocols import QUICKSTART_TASKS, Protocol, first

BEAMS = 5


def beams(decoder, messages) -> list[str]:
    """The best five answers of a module."""
    import torch

    prompt = decoder.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        written = decoder.model.generate(
            **prompt.to(decoder.model.device), num_beams=BEAMS, num_return_sequences=BEAMS, do_sample=False, max_new_tokens=30,
            eos_token_id=decoder.tokenizer.convert_tokens_to_ids("<|im_end|>"), pad_token_id=decoder.tokenizer.pad_token_id,
        )  # fmt: skip
    return [text.strip() for text in decoder.tokenizer.batch_decode(written[:, prompt["input_ids"].shape[1] :], skip_special_tokens=True)]


def sequential(env, rollout, modules, clock) -> int:
    """One episode of the loop along a rollout: the number of actions carried out."""

    def timed(name, function, *arguments):
        began = time.perf_counter()
        result = function(*arguments)
        clock[name] += time.perf_counter() - began
        return result

    episode, begins = rollout.episode, {trace.start: trace.subgoal for trace in rollout.subgoals}
    timed("simulator", env.load, episode.task, episode.variation, episode.simplification)
    _, info = timed("simulator", env.reset)
    transcript = Transcript(info["taskDesc"], State(info["look"], info["inv"]))
    for number, step in enumerate(rollout.steps):
        timed("model", beams, modules["planner"], transcript.planner())
        if number in begins:
            if transcript.subgoal:
                transcript.end("ended")
            transcript.begin(begins[number])
        timed("model", beams, modules["executor"], transcript.executor())
        observation, _, done, info = timed("simulator", env.step, step.action)
        transcript.act(step.action, observation, State(info["look"], info["inv"]))
        if done:
            return number + 1
    return len(rollout.steps)


def shares(parts: dict[str, float], wall: float) -> dict[str, float]:
    return {name: round(seconds / wall, 4) for name, seconds in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agent", required=True, metavar="DIR", help="a run or agent folder")
    parser.add_argument("--seconds", type=float, default=90.0, help="the loop begins no further episode after this time (default: 90)")
    parser.add_argument("--per-task", type=int, default=4, help="dev episodes of each of four tasks (default: 4)")
    parser.add_argument("--workers", type=int, default=2)
    a = parser.parse_args()
    made = arm("hierarchical", a.agent)
    rounds = [first("dev", a.per_task, (task,)) for task in QUICKSTART_TASKS]
    episodes = tuple(episode for group in zip(*rounds, strict=True) for episode in group)

    blocked = 0.0
    wait = connection.wait

    def waited(*arguments):
        nonlocal blocked
        start = time.perf_counter()
        ready = wait(*arguments)
        blocked += time.perf_counter() - start
        return ready

    connection.wait = waited
    began = time.perf_counter()
    rollouts = {r.episode: r for r in play_all(episodes, made, Protocol("bench", episodes), a.workers)}
    engine_s = time.perf_counter() - began
    ours = sum(len(r.steps) for r in rollouts.values())
    flown = {name: sum(getattr(r, f"{name}_seconds") for r in rollouts.values()) for name in ("simulator", "model", "waiting")}
    # The process's own view: what it spent neither in the model nor blocked until a simulator answers.
    scheduling = engine_s - flown["model"] - blocked
    print(f"engine: {len(episodes)} episodes, {ours} actions, {engine_s:.1f} s", flush=True)

    os.environ["JAVA_TOOL_OPTIONS"] = JVM_FLAGS  # the stock wrapper takes no JVM flags
    from scienceworld import ScienceWorldEnv

    played, actions, clock = [], 0, {"simulator": 0.0, "model": 0.0}
    began = time.perf_counter()
    env = ScienceWorldEnv(envStepLimit=10**9)
    while len(played) < len(episodes) and time.perf_counter() - began < a.seconds:
        played.append(episodes[len(played)])
        actions += sequential(env, rollouts[played[-1]], made.modules, clock)
        print(f"loop: {len(played)} episodes, {actions} actions, {time.perf_counter() - began:.1f} s", flush=True)
    loop_s = time.perf_counter() - began
    env.close()
    both = sum(len(rollouts[episode].steps) for episode in played)
    print(json.dumps({
        "benchmark": "rollouts", "ratio": round((ours / engine_s) / (actions / loop_s), 2), "workers": a.workers,
        "engine": {
            "episodes": len(episodes), "seconds": round(engine_s, 2), "episodes_per_minute": round(60 * len(episodes) / engine_s, 2),
            "actions": ours, "actions_per_minute": round(60 * ours / engine_s, 1), "of_episode_time": shares(flown, sum(flown.values())),
            "of_wall_time": shares({"model": flown["model"], "blocked": blocked, "scheduling": scheduling}, engine_s),
            "errors": sum(r.stop == "error" for r in rollouts.values()),
        },
        "loop": {
            "episodes": len(played), "seconds": round(loop_s, 2), "episodes_per_minute": round(60 * len(played) / loop_s, 2),
            "actions": actions, "of_the_engines": both, "actions_per_minute": round(60 * actions / loop_s, 1),
            "of_wall_time": shares(clock, loop_s),
        },
        "load": os.getloadavg()[0],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
