"""The engine against a sequential loop as in the paper's code: the same models and episodes, in one run, both playing freely.

The loop does what is known of that code: one episode after the other; before every action the planner and then the
executor, each with `generate`, five beams and its whole prompt read anew; END in any beam is a turn without an action;
stock `ScienceWorldEnv.step`, which lists the valid actions every time; a rejected action is followed by the listed one
that is among the beams, else by the one that shares most words with the first. Both stop after the same number of
actions an episode (a rejected one counts), so that neither looks fast by giving up, and both take a stand-in for an
answer that is no sub-goal, so that a model that never learned the format plays on. Start-up counts for both; the loop
begins no episode after its time. Prints one JSON line last: ``ratio`` is the engine's actions per minute over the loop's.

    python tests/benchmarks/bench_rollouts.py [--agent DIR | --model DIR] [--per-task N] [--actions N] [--seconds N] [--workers N]
"""

import argparse
import json
import os
import sys
import time
from multiprocessing import connection
from pathlib import Path

from sgd_hf.agent import decoder as decoding
from sgd_hf.agent.decoder import Decoder
from sgd_hf.agent.policy import Act, Patience, hierarchical, planned, understood
from sgd_hf.core.prompts import END, State, Transcript
from sgd_hf.core.texts import rejected
from sgd_hf.evaluation.arms import Arm, arm
from sgd_hf.evaluation.rollouts import play_all
from sgd_hf.scienceworld.environment import JVM_FLAGS
from sgd_hf.scienceworld.protocols import QUICKSTART_TASKS, Protocol, first

BEAMS = 5
TOKENS = 30
"""of one answer at most, in both: what the paper's targets were cut to"""
TURNS = 200
"""of one episode at most: the loop's own limit"""
STAND_IN = "examine(substance)"
TINY = {
    "model_type": "llama", "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 384, "tie_word_embeddings": True, "initializer_range": 0.2,
}  # fmt: skip


def made_up() -> Decoder:
    """A tiny llama with random weights, its tokenizer trained on recorded episodes."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from sgd_hf.training.student import chat_template, scratch_tokenizer

    sys.path.insert(0, str(Path(__file__).parents[1] / "corpus"))
    from recorded import gold_paths

    torch.manual_seed(0)
    texts = [text.lower() for path in gold_paths() for step in path.steps for text in (step.action, step.observation, step.look)]
    tokenizer = scratch_tokenizer(texts, 1024)
    tokenizer.chat_template = chat_template()
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(**TINY, vocab_size=len(tokenizer), max_position_embeddings=8192, **ids)
    return Decoder(AutoModelForCausalLM.from_config(config), tokenizer)


def pretrained(folder: Path) -> Decoder:
    """A causal checkpoint that knows ChatML, trained for this or not."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from sgd_hf.training.student import chat_template

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = chat_template()
    return Decoder(AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, dtype="float32"), tokenizer)


def forgiving(transcript, wrong):
    """The planner's answer, or the stand-in."""
    answer = yield from planned(transcript, wrong)
    return answer if understood(answer) else STAND_IN


def capped(policy, most: int):
    """A policy that stops after so many actions."""
    answer, actions = None, 0
    while actions < most:
        try:
            request = policy.send(answer)
        except StopIteration:
            return
        actions += isinstance(request, Act)
        answer = yield request


def beams(decoder: Decoder, messages) -> list[str]:
    """The best five answers of a module."""
    import torch

    prompt = decoder.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        written = decoder.model.generate(
            **prompt.to(decoder.model.device), num_beams=BEAMS, num_return_sequences=BEAMS, do_sample=False, max_new_tokens=TOKENS,
            eos_token_id=decoder.tokenizer.convert_tokens_to_ids("<|im_end|>"), pad_token_id=decoder.tokenizer.pad_token_id,
        )  # fmt: skip
    return [text.strip() for text in decoder.tokenizer.batch_decode(written[:, prompt["input_ids"].shape[1] :], skip_special_tokens=True)]


def sequential(env, episode, modules, most: int, patience: int, clock: dict[str, float]) -> int:
    """One episode of the loop: the number of actions carried out."""

    def timed(name, function, *arguments):
        began = time.perf_counter()
        result = function(*arguments)
        clock[name] += time.perf_counter() - began
        return result

    timed("simulator", env.load, episode.task, episode.variation, episode.simplification)
    _, info = timed("simulator", env.reset)
    transcript = Transcript(info["taskDesc"], State(info["look"], info["inv"]))
    actions, scores = 0, []
    for _ in range(TURNS):
        answer = timed("model", beams, modules["planner"], transcript.planner())[0]
        subgoal = str(understood(answer) or STAND_IN)
        if subgoal != transcript.subgoal:
            if transcript.subgoal:
                transcript.end("ended")
            transcript.begin(subgoal)
        answers = timed("model", beams, modules["executor"], transcript.executor())
        clock["turns"] += 1
        if END in answers:
            transcript.end("ended")
            continue
        action = answers[0]
        observation, _, done, info = timed("simulator", env.step, action)
        actions += 1
        if rejected(observation) and not done and actions < most:
            action = listed(answers, info["valid"])
            observation, _, done, info = timed("simulator", env.step, action)
            actions += 1
        transcript.act(action, observation, State(info["look"], info["inv"]))
        scores = [*scores, info["score"]][-patience:]
        if done or actions >= most or len(scores) == patience and len(set(scores)) == 1:
            break
    return actions


def listed(answers: list[str], valid: list[str]) -> str:
    """The first answer that is a valid action, else the valid action that shares most words with the first answer."""
    words = set(answers[0].split())
    return next((answer for answer in answers if answer in valid), None) or max(valid, key=lambda action: len(words & set(action.split())))


def shares(parts: dict[str, float], wall: float) -> dict[str, float]:
    return {name: round(seconds / wall, 4) for name, seconds in parts.items()}


def rates(episodes: int, actions: int, seconds: float) -> dict[str, float]:
    return {
        "episodes": episodes, "actions": actions, "seconds": round(seconds, 2),
        "episodes_per_minute": round(60 * episodes / seconds, 2), "actions_per_minute": round(60 * actions / seconds, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--agent", metavar="DIR", help="a trained run or agent folder")
    which.add_argument("--model", type=Path, metavar="DIR", help="a causal checkpoint as planner and executor (default: a made-up one)")
    parser.add_argument("--per-task", type=int, default=2, help="dev episodes of each of four tasks (default: 2)")
    parser.add_argument("--actions", type=int, default=20, help="of one episode at most (default: 20)")
    parser.add_argument("--seconds", type=float, default=120.0, help="the loop begins no further episode after this time (default: 120)")
    parser.add_argument("--workers", type=int, default=2)
    a = parser.parse_args()
    decoding.MAX_NEW_TOKENS = TOKENS
    modules = (
        arm("hierarchical", a.agent).modules
        if a.agent
        else dict.fromkeys(("planner", "executor"), pretrained(a.model) if a.model else made_up())
    )
    rounds = [first("dev", a.per_task, (task,)) for task in QUICKSTART_TASKS]
    episodes = tuple(episode for group in zip(*rounds, strict=True) for episode in group)
    protocol = Protocol("bench", episodes)

    def begin(episode, description, look, inventory):
        transcript = Transcript(description, State(look, inventory))
        return transcript, capped(hierarchical(transcript, Patience(), forgiving), a.actions)

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
    rollouts = list(play_all(episodes, Arm("bench", begin, modules), protocol, a.workers))
    engine_s = time.perf_counter() - began
    connection.wait = wait
    ours = sum(len(r.steps) for r in rollouts)
    flown = {name: sum(getattr(r, f"{name}_seconds") for r in rollouts) for name in ("simulator", "model", "waiting")}
    # The process's own view: what it spent neither in the model nor blocked until a simulator answers.
    scheduling = engine_s - flown["model"] - blocked
    print(f"engine: {len(episodes)} episodes, {ours} actions, {engine_s:.1f} s", flush=True)

    os.environ["JAVA_TOOL_OPTIONS"] = JVM_FLAGS  # the stock wrapper takes no JVM flags
    from scienceworld import ScienceWorldEnv

    played, actions, clock = 0, 0, {"simulator": 0.0, "model": 0.0, "turns": 0}
    began = time.perf_counter()
    env = ScienceWorldEnv(envStepLimit=protocol.limit)
    while not played or played < len(episodes) and time.perf_counter() - began < a.seconds:
        actions += sequential(env, episodes[played], modules, a.actions, protocol.patience, clock)
        played += 1
        print(f"loop: {played} episodes, {actions} actions, {time.perf_counter() - began:.1f} s", flush=True)
    loop_s = time.perf_counter() - began
    env.close()
    turns = clock.pop("turns")
    engine, loop = rates(len(episodes), ours, engine_s), rates(played, actions, loop_s)
    print(json.dumps({
        "benchmark": "rollouts",
        "ratio": round(engine["actions_per_minute"] / loop["actions_per_minute"], 2) if actions else None,
        "ratio_episodes": round(engine["episodes_per_minute"] / loop["episodes_per_minute"], 2),
        "model": Path(a.agent or a.model or "made up").name, "workers": a.workers, "actions_at_most": a.actions,
        "engine": {
            **engine, "errors": sum(r.stop == "error" for r in rollouts), "planner_calls": sum(r.planned for r in rollouts),
            "of_episode_time": shares(flown, sum(flown.values())),
            "of_wall_time": shares({"model": flown["model"], "blocked": blocked, "scheduling": scheduling}, engine_s),
        },
        "loop": {**loop, "turns": turns, "of_wall_time": shares(clock, loop_s)},
        "load": os.getloadavg()[0],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
