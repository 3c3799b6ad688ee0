"""The verb of the release: release."""

import argparse
from pathlib import Path
from typing import Any

from sgd_hf.cli.arguments import Command, Run, folder
from sgd_hf.core.errors import InputError


def release(command: Command) -> Run:
    """a finished run as one folder an artifact, with cards, and on the Hub with --org"""
    command.add_argument(
        "folder", type=Path, nargs="?", metavar="DIR", help="a run: planner, executor, flat, data, evaluation or results.json"
    )
    folder(command, "--out", "where the artifacts go (default: release in the run)", required=False)
    command.add_argument(
        "--readme", type=Path, metavar="FILE", help="where the scores are written between <!-- scores --> and <!-- /scores -->"
    )
    command.add_argument("--light", action="store_true", help=(
        "without dataset, metric, demo, traces and the weights of flat: small enough to lie beside the code"
    ))  # fmt: skip
    command.add_argument("--org", default="", metavar="ORG", help="publish them: the organisation or user on the Hub")
    command.add_argument(
        "--name", default="", metavar="NAME", help="of the student, in the repositories' names (default: the base model's)"
    )
    command.add_argument("--tag", default="v1.0.0", metavar="TAG", help="set on every repository when all is there (default: v1.0.0)")
    command.add_argument("--public", action="store_true", help="make the repositories public at the end (default: they are private)")
    command.add_argument("--dry-run", action="store_true", help="only say what would be published, and what would change")
    command.add_argument("--play", type=int, default=0, metavar="N", help=(
        "before the agent is merged, let it play N of its scored episodes again, as downloaded: the same actions and scores, or no release"
    ))  # fmt: skip
    command.add_argument("--verify", metavar="ID[@TAG]", help="instead: check a published artifact, downloaded into an empty cache")

    def run(a: argparse.Namespace) -> None:
        from functools import partial

        from rich.console import Console

        from sgd_hf.release.bundle import pin, release, scored, weights
        from sgd_hf.release.hub import preview, publish, verify

        say = partial(Console().print, markup=False, highlight=False, soft_wrap=True)
        if a.verify:
            verify(a.verify, say)
            return
        if a.folder is None:
            raise InputError("Give the folder of a run to release, or --verify with the id of a published artifact.")
        if a.light and a.org:
            raise InputError("A release on the Hub is whole: leave out --light, or --org.")
        if not a.org and (a.dry_run or a.public or a.play):
            raise InputError("--dry-run, --public and --play are about the Hub: give --org too, or leave them out.")
        if a.play:
            protocol, rollouts = scored(a.folder)
            if not 0 < a.play <= len(rollouts):
                raise InputError(
                    f"--play is how many of the agent's {len(rollouts)} stored episodes it plays again; give fewer, but not below 0."
                )
        artifacts = release(a.folder, a.out or a.folder / "release", a.org, a.name, a.readme, a.light)
        if not a.org:
            for made in artifacts:
                say(str(made.folder))
        elif a.dry_run:
            preview(artifacts, a.tag, say)
        else:
            measured, names = weights(a.folder), {artifact.name: artifact.id for artifact in artifacts}

            def opened(folder: Path, name: str, fetch: Any) -> None:
                from sgd_hf.release.again import play_again
                from sgd_hf.release.check import load

                load(folder, name, fetch, measured)
                if a.play and name == "agent":
                    play_again(folder, fetch, rollouts[: a.play], protocol["limit"], protocol["patience"])

            pins = partial(pin, names=names, run=a.folder)
            publish(artifacts, a.tag, pins, say, a.public, opened, collection=f"Sub-goal Distillation: {a.org}")
            say(f"Released as {names['agent']}@{a.tag}; check it with `sgd release --verify {names['agent']}@{a.tag}`.")

    return run


VERBS = (release,)
