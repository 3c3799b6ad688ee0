"""The command line: a verb a stage, each reading a folder and writing one.

Guarantee: ``sgd --help`` answers without importing what only a verb needs; a user's mistake is one sentence and
exit code 2; the same command resumes what it began.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any, NoReturn

from sgd_hf import __version__
from sgd_hf.core.errors import InputError, SimulatorError, StoreError, guarded


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

    def verb(name: str, run: Any, about: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=about, description=about)
        made.set_defaults(run=run)
        return made

    def folder(command: argparse.ArgumentParser, flag: str, about: str, **more: Any) -> None:
        command.add_argument(flag, type=Path, help=about, **{"required": True, "metavar": "DIR", **more})

    def decoding(command: argparse.ArgumentParser) -> None:
        command.add_argument("--backend", default="transformers", choices=("transformers", "vllm"), help=(
            "what runs the models: transformers in this process (default), or vLLM as a server beside it"
        ))  # fmt: skip
        command.add_argument("--beams", type=int, metavar="N", help="beam search of this width (default: the agent's own, greedy)")
        command.add_argument("--temperature", type=float, metavar="T", help="sampling (default: the agent's own, greedy)")
        command.add_argument("--seed", type=int, default=0, help="of the random arm, noise and sampling (default: 0)")

    command = verb("doctor", _doctor, "say whether this machine has what is needed, and how to get what is missing")
    folder(command, "--make-vllm-env", "make an environment with vLLM (default: $SGD_VLLM_ENV, or ~/.cache/sgd-hf/vllm) instead",
           required=False, nargs="?", const=True)  # fmt: skip

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
    folder(command, "--gold", "what `sgd collect` wrote")
    folder(command, "--out", "where the annotations go")
    _teacher_arguments(command)

    command = verb("search", _search, "search paths: train episodes told anew, so that an agent learns to look for what its task names")
    folder(command, "--annotations", "what `sgd annotate` wrote, of train episodes")
    command.add_argument("--tasks", nargs="+", default=(), metavar="TASK", help="names or paper ids (default: all that have a search)")
    command.add_argument("--targets", type=int, default=5, metavar="N", help="things looked for in an episode, at most (default: 5)")
    command.add_argument("--workers", type=int, default=2, metavar="N", help="simulators at once (default: 2)")
    command.add_argument("--seed", type=int, default=0, help="of what is looked for, and in which order things are opened (default: 0)")
    folder(command, "--out", "where the search paths go")

    command = verb("agree", _agree, "two annotations of the same gold paths, compared")
    command.add_argument("a", type=Path, metavar="A", help="what `sgd annotate` wrote; the one to compare with")
    command.add_argument("b", type=Path, metavar="B", help="what `sgd annotate` wrote from the same gold paths")
    command.add_argument("--json", action="store_true", help="one line of JSON instead of a table")

    command = verb("build", _build, "annotations become planner, executor and flat rows")
    folder(command, "--annotations", "what `sgd annotate` wrote; several folders for several splits", nargs="+")
    command.add_argument("--prompts", default="turns", choices=("turns", "paper"), help=(
        "a turn an action (default), or as in the paper the whole state in every prompt: for encoder-decoder students"
    ))  # fmt: skip
    folder(command, "--search", "what `sgd search` wrote: more rows for planner and flat", required=False, nargs="+", default=())
    command.add_argument("--budget", type=int, metavar="N", help="characters of one prompt at most (default: 5000; 3200 for paper)")
    folder(command, "--out", "where the data set goes")

    command = verb("train", _train, "train one module by a recipe")
    command.add_argument("--config", type=Path, required=True, metavar="YAML", help="a recipe, such as recipes/tiny/planner.yaml")
    command.add_argument("--data", required=True, metavar="DATA", help="the folder that `sgd build` wrote, or ORG/NAME@REVISION on the Hub")
    command.add_argument(
        "--live", metavar="NAME", help="every score_steps of the recipe, play this protocol of dev episodes, such as dev-mini"
    )
    folder(command, "--partner", "live: the folder with the agent's other modules, where one of them is trained", required=False)
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
    decoding(command)
    command.add_argument("--batch", action="store_true", help="let the model write for all waiting episodes at once (default: on a GPU)")
    command.add_argument("--protocol", required=True, metavar="NAME", help=(
        "paper-271, test-1819, dev-mini, dev-30, smoke, quickstart, paper-271-300 (300 moves) or unseen-211"
    ))  # fmt: skip
    command.add_argument("--workers", type=int, default=2, metavar="N", help="simulators, and episodes, at once (default: 2)")
    command.add_argument("--shard", metavar="I/N", help=(
        "play the I-th of N shares; without it, merge the shares in --out (default under accelerate launch: a share a process)"
    ))  # fmt: skip
    folder(command, "--out", "where the rollouts go")

    command = verb("play", _play, "watch an agent play one episode")
    command.add_argument("--agent", metavar="DIR_OR_ID", help="a folder or a Hub id; for flat a checkpoint folder")
    command.add_argument("--task", required=True, metavar="TASK", help="a name or paper id, such as boil or 1-1")
    command.add_argument("--variation", type=int, metavar="N", help="default: the first of dev")
    command.add_argument("--arm", default="hierarchical", metavar="ARM", help="default: hierarchical; see `sgd evaluate --help`")
    folder(command, "--gold", "oracle: a gold path of the episode; nearest: gold paths of train", required=False)
    command.add_argument("--seed", type=int, default=0, help="of the random arm and sampling (default: 0)")
    command.add_argument("--html", type=Path, metavar="FILE", help="write the episode as a page to step through")

    command = verb("match", _match, "a planner against the annotation, at every state of the gold paths; needs no simulator")
    command.add_argument("--agent", required=True, metavar="DIR", help="an agent or run folder")
    folder(command, "--annotations", "what `sgd annotate` wrote, of dev episodes")
    decoding(command)
    folder(command, "--out", "where the answers go")

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
    folder(command, "--match", "what `sgd match` wrote, shown beside", required=False, nargs="+", default=())
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="the page")

    command = verb("release", _release, "a finished run as one folder an artifact, with cards, and on the Hub with --org")
    command.add_argument(
        "folder", type=Path, nargs="?", metavar="DIR", help="a run: planner, executor, flat, data, evaluation or results.json"
    )
    folder(command, "--out", "where the artifacts go (default: release in the run)", required=False)
    command.add_argument(
        "--readme", type=Path, metavar="FILE", help="where the scores are written between <!-- scores --> and <!-- /scores -->"
    )
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
    return parser


def _doctor(a: argparse.Namespace) -> None:
    from sgd_hf.doctor import doctor, make_vllm_environment

    if a.make_vllm_env is None:
        doctor()
    else:
        make_vllm_environment(None if a.make_vllm_env is True else a.make_vllm_env)


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


def _teacher_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--teacher", default="rules", choices=("rules", "endpoint", "vllm", "recorded"), help=(
        "who cuts: rules (default, embedded), an OpenAI-compatible server, a vLLM that is started for it, or a recording"
    ))  # fmt: skip
    command.add_argument(
        "--template", metavar="NAME", help="how it is asked: grounded (default), paper (free text) or labels (small models)"
    )
    command.add_argument("--model", metavar="ID", help="endpoint, vllm: the model's name on the server; for vllm a Hub id or a folder")
    command.add_argument(
        "--revision", metavar="REV", help="vllm: of the Hub id; endpoint: a note of which weights those are; kept in every row"
    )
    command.add_argument("--base-url", metavar="URL", help=(
        "endpoint: with its /v1; the key comes from OPENAI_API_KEY, or HF_TOKEN for https://router.huggingface.co/v1"
    ))  # fmt: skip
    command.add_argument("--grammar", action="store_true", help="endpoint: it is a vLLM, which takes grammars")
    command.add_argument("--server-flags", metavar="FLAGS", help="vllm: of `vllm serve`, such as '--tensor-parallel-size 4'")
    command.add_argument("--concurrency", type=int, metavar="N", help="endpoint, vllm: questions open at once (default: 16)")
    command.add_argument("--timeout", type=float, metavar="S", help="endpoint, vllm: seconds for one answer (default: 300)")
    command.add_argument("--repairs", type=int, default=2, metavar="K", help="re-asks at most after an unusable answer (default: 2)")
    command.add_argument(
        "--max-cost", type=float, metavar="C", help="stop before more is spent in --out, earlier runs included; a shard has its own"
    )
    command.add_argument("--price-in", type=float, default=0.0, metavar="P", help="of a million prompt tokens")
    command.add_argument("--price-out", type=float, default=0.0, metavar="P", help="of a million written tokens")
    command.add_argument("--max-tokens-total", type=int, metavar="N", help="stop before more is read and written, earlier runs included")
    command.add_argument("--recording", type=Path, metavar="DIR", help="recorded: what `sgd annotate` wrote")
    command.add_argument("--reparse", action="store_true", help="only read the answers in --out anew, by the present template")
    command.add_argument("--shard", metavar="I/N", help="annotate the I-th of N shares; without it, merge the shares in --out")


def _annotate(a: argparse.Namespace) -> None:
    from sgd_hf.corpus.annotate import annotate
    from sgd_hf.corpus.appoint import appoint, by_name
    from sgd_hf.corpus.quality import print_summary
    from sgd_hf.corpus.spending import Budget

    if a.reparse:
        from sgd_hf.corpus.recorded import recorded_template, reparse

        print_summary(reparse(a.gold, a.out, by_name(a.template or recorded_template(a.out))))
        return
    teacher = appoint(
        a.teacher, a.template, model=a.model, revision=a.revision, base_url=a.base_url, server_flags=a.server_flags,
        grammar=a.grammar, recording=a.recording, concurrency=a.concurrency, timeout_s=a.timeout,
    )  # fmt: skip
    repairs = {"rules": 0, "recorded": getattr(teacher, "repairs", 0)}.get(a.teacher, a.repairs)
    budget = Budget(a.max_cost, a.max_tokens_total, a.price_in, a.price_out)
    shard = _shard(a.shard)
    summary = annotate(a.gold, a.out, teacher, repairs=repairs, budget=budget, shard=shard)
    print_summary(summary)
    if summary.get("owed"):
        print(
            f"The budget is used up: {summary['owed']} gold paths are owed; all answers are kept, and the same command with more goes on."
        )
    elif shard:
        _say_share(*shard)


def _search(a: argparse.Namespace) -> None:
    from sgd_hf.corpus.search import search

    print(f"{search(a.annotations, a.out, a.tasks, a.targets, a.workers, a.seed)} search paths, in {a.out}")


def _agree(a: argparse.Namespace) -> None:
    import json

    from sgd_hf.corpus.agree import agree_folders, print_agreement

    found = agree_folders(a.a, a.b)
    if a.json:
        print(json.dumps(found))
    else:
        print_agreement(found)


def _build(a: argparse.Namespace) -> None:
    from sgd_hf.corpus.build import build, print_summary

    print_summary(build(a.annotations, a.out, a.budget, a.prompts, a.search))


def _train(a: argparse.Namespace) -> None:
    from sgd_hf.training.sft import train

    score = None
    if a.live:
        from sgd_hf.evaluation.live import live_score

        score = live_score(a.config, a.data, a.live, a.partner)
    summary = train(a.config, a.data, a.out, score)
    print(f"{summary['role']}: {summary['steps']} steps, loss {summary['final_loss']}, {summary['parameters']} parameters, in {a.out}")


def _evaluate(a: argparse.Namespace) -> None:
    from rich.console import Console

    from sgd_hf.agent.served import backend
    from sgd_hf.evaluation.arms import arm
    from sgd_hf.evaluation.report import print_results
    from sgd_hf.evaluation.results import gather
    from sgd_hf.evaluation.rollouts import evaluate
    from sgd_hf.scienceworld.protocols import protocol

    if a.workers < 1:
        raise InputError("--workers must be at least 1.")
    shard = _shard(a.shard)
    with backend(a.backend) as load:
        played = arm(a.arm, a.agent, a.gold, a.seed, a.annotations, a.noise, a.noise_kind, _decoding(a), load)
        evaluate(a.out, protocol(a.protocol), played, a.workers, a.seed, shard=shard, batch=a.batch or None)
    if shard:
        _say_share(*shard)
    else:
        print_results(gather([a.out])[0], Console())


def _decoding(a: argparse.Namespace) -> Any:
    """What the command says of decoding, None where it is the agent's to say."""
    from sgd_hf.agent.decoding import Decoding

    given = {"beams": a.beams, "temperature": a.temperature}
    given = {key: value for key, value in given.items() if value is not None}
    return Decoding(**given) if given else None


def _match(a: argparse.Namespace) -> None:
    from rich.console import Console

    from sgd_hf.agent.served import backend
    from sgd_hf.evaluation.match import match, print_match

    with backend(a.backend) as load:
        print_match(match(a.out, a.annotations, a.agent, _decoding(a), a.seed, load), Console())


def _shard(text: str | None) -> tuple[int, int] | None:
    """``I/N`` as numbers; else this process's place under `accelerate launch`, None where it is alone."""
    if text is None:
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        return (int(os.environ["RANK"]) + 1, processes) if processes > 1 else None
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise InputError(f"--shard takes I/N with I from 1 to N, such as 1/4, and got {text!r}.")
    return int(index), int(count)


def _say_share(index: int, count: int) -> None:
    print(f"Share {index} of {count} is complete; when all are, repeat the command as one process without --shard to merge them.")


def _play(a: argparse.Namespace) -> None:
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
        played = arm(a.arm, a.agent, a.gold, a.seed)
    rollout = watch(played, chosen, console, since)
    if a.html:
        write_replay(rollout, a.html)
        console.print(f"Step through it in {a.html}.", markup=False)
    if rollout.stop == INTERRUPTED:
        raise SystemExit(130)
    if rollout.error:
        raise SimulatorError(rollout.error)


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

    from sgd_hf.evaluation.match import read_match
    from sgd_hf.evaluation.report import print_results, write_report
    from sgd_hf.evaluation.results import gather

    results, rollouts = gather(a.folders)
    results["match"] = [read_match(folder) for folder in a.match]
    write_report(results, rollouts, a.out)
    print_results(results, Console())


def _release(a: argparse.Namespace) -> None:
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
    artifacts = release(a.folder, a.out or a.folder / "release", a.org, a.name, a.readme)
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
                protocol, rollouts = scored(a.folder)
                play_again(folder, fetch, rollouts[: a.play], protocol["limit"], protocol["patience"])

        publish(
            artifacts, a.tag, partial(pin, names=names, run=a.folder), say, a.public, opened, collection=f"Sub-goal Distillation: {a.org}"
        )
        say(f"Released as {names['agent']}@{a.tag}; check it with `sgd release --verify {names['agent']}@{a.tag}`.")


if __name__ == "__main__":
    main()
