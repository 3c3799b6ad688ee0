"""The verb of the training: train."""

import argparse
from pathlib import Path

from sgd_hf.cli.arguments import Command, Run, folder


def train(command: Command) -> Run:
    """train one module by a recipe"""
    command.add_argument("--config", type=Path, required=True, metavar="YAML", help="a recipe, such as recipes/tiny/planner.yaml")
    command.add_argument("--data", required=True, metavar="DATA", help="the folder that `sgd build` wrote, or ORG/NAME@REVISION on the Hub")
    command.add_argument(
        "--live", metavar="NAME", help="every score_steps of the recipe, play this protocol of dev episodes, such as dev-mini"
    )
    folder(command, "--partner", "live: the folder with the agent's other modules, where one of them is trained", required=False)
    folder(command, "--out", "where the checkpoint goes")
    command.add_argument("--seed", type=int, metavar="N", help="in the place of the recipe's")
    command.add_argument("--adapter", metavar="DIR", help="the adapter to go on from, in the place of the recipe's")

    def run(a: argparse.Namespace) -> None:
        from sgd_hf.training.sft import train

        score = None
        if a.live:
            from sgd_hf.evaluation.live import live_score

            score = live_score(a.config, a.data, a.live, a.partner)
        summary = train(a.config, a.data, a.out, score, a.seed, a.adapter)
        print(f"{summary['role']}: {summary['steps']} steps, loss {summary['final_loss']}, {summary['parameters']} parameters, in {a.out}")

    return run


VERBS = (train,)
