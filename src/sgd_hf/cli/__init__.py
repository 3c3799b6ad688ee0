"""The command line: a verb a stage, each reading a folder and writing one.

Guarantee: ``sgd --help`` answers without importing what only a verb needs; a user's mistake is one sentence and
exit code 2; the same command resumes what it began.

A verb is a function of its name: its docstring is what ``--help`` says of it, it gives the parser its arguments, and
returns what runs with them.
"""

import argparse
from pathlib import Path
from typing import NoReturn

from sgd_hf import __version__
from sgd_hf.cli import corpus, evaluation, release, training
from sgd_hf.cli.arguments import Command, Run, folder
from sgd_hf.core.errors import InputError, guarded


def main() -> None:
    """Run ``sgd VERB …``."""

    def run() -> None:
        arguments = _parser().parse_args()
        arguments.run(arguments)

    guarded(run)


class _Parser(argparse.ArgumentParser):
    """A wrong argument is one sentence, as any other mistake is."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see `{self.prog} --help`.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="sgd", description="Sub-goal Distillation on ScienceWorld: collect → annotate → build → train → evaluate → release."
    )
    parser.add_argument("--version", action="version", version=f"sgd-hf {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in (doctor, quickstart, *corpus.VERBS, *training.VERBS, *evaluation.VERBS, *release.VERBS):
        command = verbs.add_parser(verb.__name__, help=verb.__doc__, description=verb.__doc__)
        command.set_defaults(run=verb(command))
    return parser


def doctor(command: Command) -> Run:
    """say whether this machine has what is needed, and how to get what is missing"""
    folder(command, "--make-vllm-env", "make an environment with vLLM (default: $SGD_VLLM_ENV, or ~/.cache/sgd-hf/vllm) instead",
           required=False, nargs="?", const=True)  # fmt: skip

    def run(a: argparse.Namespace) -> None:
        from sgd_hf.doctor import doctor, make_vllm_environment

        if a.make_vllm_env is None:
            doctor()
        else:
            make_vllm_environment(None if a.make_vllm_env is True else a.make_vllm_env)

    return run


def quickstart(command: Command) -> Run:
    """run the whole chain on four tasks: ten to twenty minutes on two CPU cores"""
    folder(command, "--out", "the run's folder (default: runs/quickstart)", required=False, default=Path("runs/quickstart"))

    def run(a: argparse.Namespace) -> None:
        from rich.console import Console

        from sgd_hf.evaluation.report import print_results
        from sgd_hf.quickstart import quickstart

        console = Console()
        results = quickstart(a.out, console.print)
        print_results(results, console)
        console.print(
            f"Look at {a.out / 'report.html'}; the numbers are in {a.out / 'results.json'}, the artifacts in {a.out / 'release'}."
        )

    return run
