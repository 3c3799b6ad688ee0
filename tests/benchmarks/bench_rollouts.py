"""The engine against a sequential loop as in the paper's code: the same agent, the same episodes, one run.

The loop is rebuilt from what is known of that code: stock `ScienceWorldEnv.step`, which lists the valid actions at
every step; one episode after the other; the planner asked at every step and the executor decoded with five beams,
each with `generate` on its whole prompt; END in any beam is a turn without an action; an action that the simulator
rejects is replaced by the valid one with the most words in common (but never by a focus: nearly every one fails the
task at once, and the loop would be through in no time); at most 200 turns, 100 moves, 50 turns of one score. Prompts
are this agent's own. Start-up counts for both.

The loop runs until its time is over, then the engine plays the episodes that it finished. Prints one JSON line last:
``ratio`` is episodes per minute of the engine over those of the loop, ``ratio_actions`` the same for actions.

    python tests/benchmarks/bench_rollouts.py --agent runs/quickstart [--seconds N] [--workers N]
"""

import argparse
import json
import os
import time
from multiprocessing import connection

from sgd_hf.core.prompts import COMPLETE, END, State, Transcript
from sgd_hf.core.subgoals import parse
from sgd_hf.core.texts import rejected
from sgd_hf.evaluation.arms import arm
from sgd_hf.evaluation.rollouts import play_all
from sgd_hf.scienceworld.environment import JVM_FLAGS
from sgd_hf.scienceworld.protocols import QUICKSTART_TASKS, Protocol, first

BEAMS, TURNS, MOVES, STILL = 5, 200, 100, 50


def beams(decoder, messages) -> list[str]:
    """The five answers of a module, best first."""
    import torch

    prompt = decoder.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        written = decoder.model.generate(
            **prompt.to(decoder.model.device), num_beams=BEAMS, num_return_sequences=BEAMS, do_sample=False, max_new_tokens=30,
            eos_token_id=decoder.tokenizer.convert_tokens_to_ids("<|im_end|>"), pad_token_id=decoder.tokenizer.pad_token_id,
        )  # fmt: skip
    return [text.strip() for text in decoder.tokenizer.batch_decode(written[:, prompt["input_ids"].shape[1] :], skip_special_tokens=True)]


def sequential(env, episode, modules, clock) -> tuple[int, int]:
    """One episode of the loop: score (0 for a failure) and number of actions."""

    def timed(name, function, *arguments):
        began = time.perf_counter()
        result = function(*arguments)
        clock[name] = clock.get(name, 0.0) + time.perf_counter() - began
        return result

    def ask(module, messages):
        return timed("model", beams, modules[module], messages)

    timed("simulator", env.load, episode.task, episode.variation, episode.simplification)
    _, info = timed("simulator", env.reset)
    transcript = Transcript(info["taskDesc"], State(info["look"], info["inv"]))
    scores, actions, last = [info["score"]], 0, ""
    for _ in range(TURNS):
        answer = next((text for text in ask("planner", transcript.planner()) if text != COMPLETE), "")
        try:
            subgoal = str(parse(answer))
        except ValueError:
            subgoal = last  # it knows no giving up: it goes on with what it has
        if not subgoal:
            break
        last = subgoal
        if subgoal != transcript.subgoal:
            if transcript.subgoal:
                transcript.end("ended")
            transcript.begin(subgoal)
        answers = ask("executor", transcript.executor())
        if END in answers:
            transcript.end("ended")
        else:
            valid = info["valid"]
            observation, _, done, info = timed("simulator", env.step, answers[0])
            action, actions = answers[0], actions + 1
            if rejected(observation) and not done:
                words = set(answers[0].split())
                action = max(sorted(v for v in valid if not v.startswith("focus")), key=lambda other: len(words & set(other.split())))
                observation, _, done, info = timed("simulator", env.step, action)
                actions += 1
            transcript.act(action, observation, State(info["look"], info["inv"]))
            if done or info["moves"] > MOVES:
                scores.append(info["score"])
                break
        scores.append(info["score"])
        if len(scores) > STILL and len(set(scores[-STILL:])) == 1:
            break
    return max(scores[-1], 0), actions


def shares(parts: dict[str, float], wall: float) -> dict[str, float]:
    return {name: round(seconds / wall, 4) for name, seconds in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agent", required=True, metavar="DIR", help="a run or agent folder")
    parser.add_argument("--seconds", type=float, default=120.0, help="the loop starts no further episode after this time (default: 120)")
    parser.add_argument("--workers", type=int, default=2)
    a = parser.parse_args()
    os.environ["JAVA_TOOL_OPTIONS"] = JVM_FLAGS  # the stock wrapper takes no JVM flags
    from scienceworld import ScienceWorldEnv

    made = arm("hierarchical", a.agent)
    rounds = [first("dev", 4, (task,)) for task in QUICKSTART_TASKS]
    episodes = [episode for group in zip(*rounds, strict=True) for episode in group]

    played, clock, scores, actions = [], {}, [], 0
    began = time.perf_counter()
    env = ScienceWorldEnv(envStepLimit=10**9)
    while len(played) < len(episodes) and time.perf_counter() - began < a.seconds:
        episode = episodes[len(played)]
        score, count = sequential(env, episode, made.modules, clock)
        played.append(episode)
        scores.append(score)
        actions += count
        print(f"loop: {episode.key}: score {score}, {count} actions, {time.perf_counter() - began:.1f} s so far", flush=True)
    loop_s = time.perf_counter() - began
    env.close()
    del os.environ["JAVA_TOOL_OPTIONS"]

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
    rollouts = list(play_all(played, made, Protocol("bench", tuple(played), MOVES, STILL), a.workers))
    engine_s = time.perf_counter() - began
    flown = {name: sum(getattr(r, f"{name}_seconds") for r in rollouts) for name in ("simulator", "model", "waiting")}
    # The process's own view: what it spent neither in the model nor blocked until a simulator answers.
    overhead = engine_s - flown["model"] - blocked
    ours = sum(len(r.steps) for r in rollouts)
    print(json.dumps({
        "benchmark": "rollouts", "episodes": len(played), "workers": a.workers,
        "ratio": round(loop_s / engine_s, 2), "ratio_actions": round((ours / engine_s) / (actions / loop_s), 2),
        "engine": {
            "seconds": round(engine_s, 2), "episodes_per_minute": round(60 * len(played) / engine_s, 2), "actions": ours,
            "mean_score": round(sum(r.score for r in rollouts) / len(rollouts), 1), "errors": sum(r.stop == "error" for r in rollouts),
            "of_episode_time": shares(flown, sum(flown.values())),
            "of_wall_time": shares({"model": flown["model"], "blocked": blocked, "scheduling": overhead}, engine_s),
        },
        "loop": {
            "seconds": round(loop_s, 2), "episodes_per_minute": round(60 * len(played) / loop_s, 2), "actions": actions,
            "mean_score": round(sum(scores) / len(scores), 1), "of_wall_time": shares(clock, loop_s),
        },
        "load": os.getloadavg()[0],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
