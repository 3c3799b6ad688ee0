"""The verbs of the evaluation: evaluate, play, match, replay, compare, leaderboard, report."""

import argparse
import os
import time
from pathlib import Path
from typing import Any

from sgd_hf.cli.arguments import Command, Run, count, folder, say_share, shard, simulators
from sgd_hf.core.errors import InputError, SimulatorError, StoreError


def evaluate(command: Command) -> Run:
    """play a protocol's episodes and score them"""
    command.add_argument("--arm", default="hierarchical", metavar="ARM", help=(
        "hierarchical (default), flat, nearest, oracle, random-valid, do-nothing, every-step, oracle-subgoals or planner-oracle"
    ))  # fmt: skip
    command.add_argument("--agent", metavar="DIR", help="an agent or run folder; for flat a checkpoint folder")
    folder(command, "--gold", "oracle: gold paths of the episodes; nearest: gold paths of train", required=False)
    folder(command, "--annotations", "oracle-subgoals, planner-oracle, noise: annotations of the episodes", required=False)
    command.add_argument("--noise", type=float, default=0.0, metavar="RATE", help="share of the sub-goals that is replaced (default: 0)")
    command.add_argument("--noise-kind", metavar="KIND", help="by what: random (default), shuffled or argument")
    _decoding_arguments(command, "the random arm, noise and sampling")
    command.add_argument("--protocol", required=True, metavar="NAME", help=(
        "paper-271, test-1819, dev-mini, dev-30, smoke, quickstart, paper-271-300 (300 moves) or unseen-211"
    ))  # fmt: skip
    simulators(command, "simulators of some 300 MB, and episodes that share the model's passes, at once", default=6)
    command.add_argument("--shard", metavar="I/N", help=(
        "play the I-th of N shares; without it, merge the shares in --out (default under accelerate launch: a share a process)"
    ))  # fmt: skip
    folder(command, "--out", "where the rollouts go")

    def run(a: argparse.Namespace) -> None:
        from rich.console import Console

        from sgd_hf.agent.served import backend
        from sgd_hf.evaluation.arms import arm
        from sgd_hf.evaluation.report import print_results
        from sgd_hf.evaluation.results import gather
        from sgd_hf.evaluation.rollouts import evaluate
        from sgd_hf.scienceworld.java import find_java
        from sgd_hf.scienceworld.protocols import protocol

        share, chosen = shard(a.shard), protocol(a.protocol)
        find_java()  # before a model is loaded or a server started
        with backend(a.backend) as load:
            played = arm(a.arm, a.agent, a.gold, a.seed, a.annotations, a.noise, a.noise_kind, _decoding(a), load)
            evaluate(a.out, chosen, played, a.workers, share)
        if share:
            say_share(*share)
        else:
            print_results(gather([a.out])[0], Console())

    return run


def play(command: Command) -> Run:
    """watch an agent play one episode"""
    command.add_argument("--agent", metavar="DIR_OR_ID", help="a folder or a Hub id; for flat a checkpoint folder")
    command.add_argument("--task", required=True, metavar="TASK", help="a name or paper id, such as boil or 1-1")
    command.add_argument("--variation", type=int, metavar="N", help="default: the first of dev")
    command.add_argument("--arm", default="hierarchical", metavar="ARM", help="default: hierarchical; see `sgd evaluate --help`")
    folder(command, "--gold", "oracle: a gold path of the episode; nearest: gold paths of train", required=False)
    folder(command, "--annotations", "oracle-subgoals, planner-oracle: an annotation of the episode", required=False)
    command.add_argument("--seed", type=int, default=0, help="of the random arm and sampling (default: 0)")
    command.add_argument("--html", type=Path, metavar="FILE", help="write the episode as a page to step through")

    def run(a: argparse.Namespace) -> None:
        since = time.monotonic()
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: its threads would fight the simulator
        from rich.console import Console

        from sgd_hf.evaluation.arms import arm
        from sgd_hf.evaluation.play import INTERRUPTED, watch
        from sgd_hf.evaluation.report import write_replay
        from sgd_hf.scienceworld.java import find_java
        from sgd_hf.scienceworld.tasks import episode, variations

        console = Console()
        chosen = episode(a.task, variations(a.task, "dev")[0] if a.variation is None else a.variation)
        if a.html and a.html.is_dir():
            raise InputError(f"--html takes the page's own name and {a.html} is a folder; give for example {a.html / 'episode.html'}.")
        find_java()
        with console.status("Loading the agent"):
            played = arm(a.arm, a.agent, a.gold, a.seed, a.annotations)
        rollout = watch(played, chosen, console, since)
        if a.html:
            write_replay(rollout, a.html)
            console.print(f"Step through it in {a.html}.", markup=False)
        if rollout.stop == INTERRUPTED:
            raise SystemExit(130)
        if rollout.error:
            raise SimulatorError(rollout.error)

    return run


def match(command: Command) -> Run:
    """a planner against the annotation, at every state of the gold paths; needs no simulator"""
    command.add_argument("--agent", required=True, metavar="DIR", help="an agent or run folder")
    folder(command, "--annotations", "what `sgd annotate` wrote, of dev episodes")
    _decoding_arguments(command)
    folder(command, "--out", "where the answers go")

    def run(a: argparse.Namespace) -> None:
        from rich.console import Console

        from sgd_hf.agent.served import backend
        from sgd_hf.evaluation.match import match, print_match

        with backend(a.backend) as load:
            print_match(match(a.out, a.annotations, a.agent, _decoding(a), a.seed, load), Console())

    return run


def replay(command: Command) -> Run:
    """play the actions of an evaluation again, without its model, and name what comes out otherwise"""
    command.add_argument("folder", type=Path, metavar="DIR", help="what `sgd evaluate` wrote, or the rollouts of a release")
    command.add_argument("--every", type=count, default=1, metavar="N", help="only one episode in N, for a first look (default: 1, all)")
    simulators(command)

    def run(a: argparse.Namespace) -> None:
        from rich.console import Console

        from sgd_hf.evaluation.replay import print_verdict, replay

        verdict = replay(a.folder, a.workers, a.every)
        print_verdict(verdict, a.folder, Console())
        if verdict.mismatches:
            raise StoreError(
                f"{a.folder} does not replay to what it holds ({len(verdict.mismatches)} mismatches, named above); "
                "do not report its scores, evaluate again into another folder."
            )

    return run


def compare(command: Command) -> Run:
    """two evaluations on the same episodes; exit code 1 if the second is worse"""
    command.add_argument("a", type=Path, metavar="A", help="the run to compare with, as `sgd evaluate` wrote it")
    command.add_argument("b", type=Path, metavar="B", help="the new run")

    def run(a: argparse.Namespace) -> None:
        from rich.console import Console

        from sgd_hf.evaluation.compare import compare_folders, print_comparison

        found = compare_folders(a.a, a.b)
        print_comparison(found, a.a, a.b, Console())
        if found["regression"]:
            raise SystemExit(1)

    return run


def leaderboard(command: Command) -> Run:
    """rank evaluations, a table a protocol"""
    command.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="what `sgd evaluate` wrote")

    def run(a: argparse.Namespace) -> None:
        from rich.console import Console

        from sgd_hf.evaluation.compare import leaderboard, print_leaderboard

        print_leaderboard(leaderboard(a.folders), Console())

    return run


def report(command: Command) -> Run:
    """evaluations as one HTML page and a table"""
    command.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="what `sgd evaluate` wrote: an arm each, or repeats of one, by their own names"
    )
    folder(command, "--match", "what `sgd match` wrote, shown beside", required=False, nargs="+", default=())
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="the page")

    def run(a: argparse.Namespace) -> None:
        from rich.console import Console

        from sgd_hf.evaluation.match import read_match
        from sgd_hf.evaluation.report import print_results, write_report
        from sgd_hf.evaluation.results import gather

        results, rollouts = gather(a.folders)
        results["match"] = [read_match(folder) for folder in a.match]
        write_report(results, rollouts, a.out)
        print_results(results, Console())

    return run


def _decoding_arguments(command: Command, chances: str = "sampling") -> None:
    command.add_argument("--backend", default="transformers", choices=("transformers", "vllm"), help=(
        "what runs the models: transformers in this process (default), or vLLM as a server beside it"
    ))  # fmt: skip
    command.add_argument("--beams", type=count, metavar="N", help="beam search of this width (default: the agent's own, greedy)")
    command.add_argument("--temperature", type=float, metavar="T", help="sampling (default: the agent's own, greedy)")
    command.add_argument("--seed", type=int, default=0, help=f"of {chances} (default: 0)")


def _decoding(a: argparse.Namespace) -> Any:
    """What the command says of decoding, None where it is the agent's to say."""
    from sgd_hf.agent.decoding import Decoding

    given = {"beams": a.beams, "temperature": a.temperature}
    given = {key: value for key, value in given.items() if value is not None}
    return Decoding(**given) if given else None


VERBS = (evaluate, play, match, replay, compare, leaderboard, report)
