"""The command line: a verb a stage, each reading a folder and writing one.

Guarantee: ``sgd --help`` answers without importing what only a verb needs; a user's mistake is one sentence and
exit code 2; the same command resumes what it began.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from sgd_hf import __version__
from sgd_hf.core.errors import InputError, StoreError, guarded


def main() -> None:
    """Run ``sgd VERB …``."""
    arguments = _parser().parse_args()
    guarded(lambda: arguments.run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sgd", description="Sub-goal Distillation on ScienceWorld: collect → annotate → build → train → evaluate → release."
    )
    parser.add_argument("--version", action="version", version=f"sgd-hf {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, run: Any, about: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=about, description=about)
        made.set_defaults(run=run)
        return made

    def folder(command: argparse.ArgumentParser, flag: str, about: str, **more: Any) -> None:
        command.add_argument(flag, type=Path, help=about, **{"required": True, "metavar": "DIR", **more})

    verb("doctor", _doctor, "say whether this machine has what is needed, and how to get what is missing")

    command = verb("quickstart", _quickstart, "run the whole chain on four tasks: ten minutes on two CPU cores")
    folder(command, "--out", "the run's folder (default: runs/quickstart)", required=False, default=Path("runs/quickstart"))

    command = verb("collect", _collect, "gold paths from the simulator's oracle, rewritten, replayed and verified")
    command.add_argument("--split", required=True, choices=("train", "dev", "test"))
    command.add_argument("--tasks", nargs="+", default=(), metavar="TASK", help="names or paper ids (default: all 30)")
    command.add_argument("--per-task", type=int, metavar="N", help="the first N variations of each task (default: all)")
    command.add_argument("--simplification", default="easy", help="the simulator's (default: easy)")
    command.add_argument("--no-teleport", action="store_true", help="keep walks as they are")
    command.add_argument("--workers", type=int, default=2, metavar="N", help="simulators at once (default: 2)")
    folder(command, "--out", "where the gold paths go")

    command = verb("annotate", _annotate, "a teacher cuts gold paths into sub-goals")
    command.add_argument("--teacher", default="rules", choices=("rules",), help="who cuts (default: rules, the embedded one)")
    folder(command, "--gold", "what `sgd collect` wrote")
    folder(command, "--out", "where the annotations go")

    command = verb("build", _build, "annotations become planner, executor and flat rows")
    folder(command, "--annotations", "what `sgd annotate` wrote; several folders for several splits", nargs="+")
    command.add_argument("--budget", type=int, metavar="N", help="characters of one prompt at most (default: 5000)")
    folder(command, "--out", "where the data set goes")

    command = verb("train", _train, "train one module by a recipe")
    command.add_argument("--config", type=Path, required=True, metavar="YAML", help="a recipe, such as recipes/tiny/planner.yaml")
    folder(command, "--data", "what `sgd build` wrote")
    folder(command, "--out", "where the checkpoint goes")

    command = verb("evaluate", _evaluate, "play a protocol's episodes and score them")
    command.add_argument("--arm", default="hierarchical", metavar="ARM", help=(
        "hierarchical (default), flat, nearest, oracle, random-valid, do-nothing, every-step, oracle-subgoals or planner-oracle"
    ))  # fmt: skip
    command.add_argument("--agent", metavar="DIR", help="an agent or run folder; for flat a checkpoint folder")
    folder(command, "--gold", "oracle: gold paths of the episodes; nearest: gold paths of train", required=False)
    folder(command, "--annotations", "oracle-subgoals, planner-oracle, noise: annotations of the episodes", required=False)
    command.add_argument("--noise", type=float, default=0.0, metavar="RATE", help="share of the sub-goals that is replaced (default: 0)")
    command.add_argument("--noise-kind", default="random", help="by what: random (default), shuffled or argument")
    command.add_argument("--beams", type=int, metavar="N", help="beam search of this width (default: the agent's own, greedy)")
    command.add_argument("--temperature", type=float, metavar="T", help="sampling (default: the agent's own, greedy)")
    command.add_argument("--batch", action="store_true", help="let the model write for all waiting episodes at once (default: on a GPU)")
    command.add_argument("--protocol", required=True, metavar="NAME", help=(
        "paper-271, test-1819, dev-mini, smoke, quickstart, paper-271-300 (300 moves) or unseen-211"
    ))  # fmt: skip
    command.add_argument("--workers", type=int, default=2, metavar="N", help="simulators, and episodes, at once (default: 2)")
    command.add_argument("--seed", type=int, default=0, help="of the random arm, noise and sampling (default: 0)")
    command.add_argument("--shard", metavar="I/N", help=(
        "play the I-th of N shares; without it, merge the shares in --out (default under accelerate launch: a share a process)"
    ))  # fmt: skip
    folder(command, "--out", "where the rollouts go")

    command = verb("replay", _replay, "play the actions of an evaluation again, without its model, and name what comes out otherwise")
    command.add_argument("folder", type=Path, metavar="DIR", help="what `sgd evaluate` wrote")
    command.add_argument("--workers", type=int, default=2, metavar="N", help="simulators at once (default: 2)")

    command = verb("compare", _compare, "two evaluations on the same episodes; exit code 1 if the second is worse")
    command.add_argument("a", type=Path, metavar="A", help="the run to compare with, as `sgd evaluate` wrote it")
    command.add_argument("b", type=Path, metavar="B", help="the new run")

    command = verb("leaderboard", _leaderboard, "rank evaluations, a table a protocol")
    command.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="what `sgd evaluate` wrote")

    command = verb("report", _report, "evaluations as one HTML page and a table")
    command.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="what `sgd evaluate` wrote, an arm each")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="the page")

    command = verb("release", _release, "a finished run as one folder an artifact, with cards")
    command.add_argument("folder", type=Path, metavar="DIR", help="a run: planner, executor, flat, data and results.json")
    folder(command, "--out", "where the artifacts go")
    return parser


def _doctor(_: argparse.Namespace) -> None:
    from sgd_hf.doctor import doctor

    doctor()


def _quickstart(a: argparse.Namespace) -> None:
    from rich.console import Console

    from sgd_hf.evaluation.report import print_results
    from sgd_hf.quickstart import quickstart

    console = Console()
    results = quickstart(a.out, console.print)
    print_results(results, console)
    console.print(f"Look at {a.out / 'report.html'}; the numbers are in {a.out / 'results.json'}, the artifacts in {a.out / 'release'}.")


def _collect(a: argparse.Namespace) -> None:
    from sgd_hf.corpus.collect import collect, print_summary

    print_summary(collect(a.out, a.split, a.tasks, a.per_task, a.workers, a.simplification, not a.no_teleport))


def _annotate(a: argparse.Namespace) -> None:
    from sgd_hf.corpus.annotate import annotate, print_summary
    from sgd_hf.corpus.teachers import TEACHERS

    print_summary(annotate(a.gold, a.out, TEACHERS[a.teacher]()))


def _build(a: argparse.Namespace) -> None:
    from sgd_hf.core.prompts import BUDGET
    from sgd_hf.corpus.build import build, print_summary

    print_summary(build(a.annotations, a.out, BUDGET if a.budget is None else a.budget))


def _train(a: argparse.Namespace) -> None:
    from sgd_hf.training.sft import train

    summary = train(a.config, str(a.data), a.out)
    print(f"{summary['role']}: {summary['steps']} steps, loss {summary['final_loss']}, {summary['parameters']} parameters, in {a.out}")


def _evaluate(a: argparse.Namespace) -> None:
    from rich.console import Console

    from sgd_hf.agent.decoding import Decoding
    from sgd_hf.evaluation.arms import arm
    from sgd_hf.evaluation.report import print_results
    from sgd_hf.evaluation.results import gather
    from sgd_hf.evaluation.rollouts import evaluate
    from sgd_hf.scienceworld.protocols import protocol

    if a.workers < 1:
        raise InputError("--workers must be at least 1.")
    given = {"beams": a.beams, "temperature": a.temperature}
    given = {key: value for key, value in given.items() if value is not None}
    decoding = Decoding(**given) if given else None
    shard = _shard(a.shard)
    played = arm(a.arm, a.agent, a.gold, a.seed, a.annotations, a.noise, a.noise_kind, decoding)
    evaluate(a.out, protocol(a.protocol), played, a.workers, a.seed, shard=shard, batch=a.batch or None)
    if shard:
        print(f"Share {shard[0]} of {shard[1]} is complete; when all are, repeat the command as one process without --shard to merge them.")
    else:
        print_results(gather([a.out])[0], Console())


def _shard(text: str | None) -> tuple[int, int] | None:
    """``I/N`` as numbers; else this process's place under `accelerate launch`, None where it is alone."""
    if text is None:
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        return (int(os.environ["RANK"]) + 1, processes) if processes > 1 else None
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise InputError(f"--shard takes I/N with I from 1 to N, such as 1/4, and got {text!r}.")
    return int(index), int(count)


def _replay(a: argparse.Namespace) -> None:
    from rich.console import Console

    from sgd_hf.evaluation.replay import print_verdict, replay

    if a.workers < 1:
        raise InputError("--workers must be at least 1.")
    verdict = replay(a.folder, a.workers)
    print_verdict(verdict, a.folder, Console())
    if verdict.mismatches:
        raise StoreError(
            f"{a.folder} does not replay to what it holds ({len(verdict.mismatches)} mismatches, named above); "
            "do not report its scores, evaluate again into another folder."
        )


def _compare(a: argparse.Namespace) -> None:
    from rich.console import Console

    from sgd_hf.evaluation.compare import compare_folders, print_comparison

    found = compare_folders(a.a, a.b)
    print_comparison(found, a.a, a.b, Console())
    if found["regression"]:
        raise SystemExit(1)


def _leaderboard(a: argparse.Namespace) -> None:
    from rich.console import Console

    from sgd_hf.evaluation.compare import leaderboard, print_leaderboard

    print_leaderboard(leaderboard(a.folders), Console())


def _report(a: argparse.Namespace) -> None:
    from rich.console import Console

    from sgd_hf.evaluation.report import print_results, write_report
    from sgd_hf.evaluation.results import gather

    results, rollouts = gather(a.folders)
    write_report(results, rollouts, a.out)
    print_results(results, Console())


def _release(a: argparse.Namespace) -> None:
    from sgd_hf.release.bundle import release

    for made in release(a.folder, a.out):
        print(made)


if __name__ == "__main__":
    main()
