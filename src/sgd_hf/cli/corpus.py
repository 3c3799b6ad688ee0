"""The verbs of the corpus: collect, annotate, search, agree, build."""

import argparse
from pathlib import Path

from sgd_hf.cli.arguments import Command, Run, count, folder, say_share, shard, simulators


def collect(command: Command) -> Run:
    """gold paths from the simulator's oracle, rewritten, replayed and verified"""
    command.add_argument("--split", required=True, choices=("train", "dev", "test"))
    command.add_argument("--tasks", nargs="+", default=(), metavar="TASK", help="names or paper ids (default: all 30)")
    command.add_argument("--per-task", type=count, metavar="N", help="the first N variations of each task (default: all)")
    command.add_argument("--scatter", action="store_true", help="not the first N but any: the first may all ask for one thing")
    command.add_argument("--simplification", default="easy", help="the simulator's (default: easy)")
    command.add_argument("--no-teleport", action="store_true", help="keep walks as they are")
    simulators(command)
    folder(command, "--out", "where the gold paths go")

    def run(a: argparse.Namespace) -> None:
        from sgd_hf.corpus.collect import collect, print_summary

        print_summary(collect(a.out, a.split, a.tasks, a.per_task, a.workers, a.simplification, not a.no_teleport, a.scatter))

    return run


def annotate(command: Command) -> Run:
    """a teacher cuts gold paths into sub-goals"""
    folder(command, "--gold", "what `sgd collect` wrote")
    folder(command, "--out", "where the annotations go")
    command.add_argument("--teacher", choices=("rules", "endpoint", "vllm", "recorded"), help=(
        "who cuts: rules (default, embedded), an OpenAI-compatible server, a vLLM that is started for it, or a recording"
    ))  # fmt: skip
    command.add_argument(
        "--template", metavar="NAME", help="how it is asked: grounded (default), paper (free text) or labels (small models)"
    )
    command.add_argument("--model", metavar="ID", help="endpoint, vllm: the model's name on the server; for vllm a Hub id or a folder")
    command.add_argument("--revision", metavar="REV", help=(
        "vllm: of the Hub id (a folder has a digest of its weights); endpoint: a note of which weights those are; kept in every row"
    ))  # fmt: skip
    command.add_argument("--base-url", metavar="URL", help=(
        "endpoint: with its /v1; the key comes from OPENAI_API_KEY, or HF_TOKEN for https://router.huggingface.co/v1"
    ))  # fmt: skip
    command.add_argument("--grammar", action="store_true", help="endpoint: it is a vLLM, which takes grammars")
    command.add_argument("--server-flags", metavar="FLAGS", help=(
        "vllm: of `vllm serve`, written with =, such as --server-flags='--tensor-parallel-size 4'"
    ))  # fmt: skip
    command.add_argument("--concurrency", type=count, metavar="N", help="endpoint, vllm: questions open at once (default: 16)")
    command.add_argument("--timeout", type=float, metavar="S", help="endpoint, vllm: seconds for one answer (default: 300)")
    command.add_argument("--repairs", type=int, metavar="K", help="endpoint, vllm: re-asks at most after an unusable answer (default: 2)")
    command.add_argument(
        "--max-cost", type=float, metavar="C", help="stop before more is spent in --out, earlier runs included; a shard has its own"
    )
    command.add_argument("--price-in", type=float, default=0.0, metavar="P", help="of a million prompt tokens")
    command.add_argument("--price-out", type=float, default=0.0, metavar="P", help="of a million written tokens")
    command.add_argument("--max-tokens-total", type=int, metavar="N", help="stop before more is read and written, earlier runs included")
    command.add_argument("--recording", type=Path, metavar="DIR", help="recorded: what `sgd annotate` wrote")
    command.add_argument("--reparse", action="store_true", help="only read the answers in --out anew, by the present template")
    command.add_argument("--shard", metavar="I/N", help=(
        "annotate the I-th of N shares; without it, merge the shares in --out (default under accelerate launch: a share a process)"
    ))  # fmt: skip

    def run(a: argparse.Namespace) -> None:
        from sgd_hf.corpus.annotate import annotate
        from sgd_hf.corpus.appoint import appoint, by_name, refuse_useless
        from sgd_hf.corpus.quality import print_summary
        from sgd_hf.corpus.spending import Budget

        name = a.teacher or "rules"
        refuse_useless("--reparse" if a.reparse else f"--teacher {name}", vars(a))
        if a.reparse:
            from sgd_hf.corpus.recorded import recorded_template, reparse

            print_summary(reparse(a.gold, a.out, by_name(a.template or recorded_template(a.out))))
            return
        teacher = appoint(
            name, a.template, model=a.model, revision=a.revision, base_url=a.base_url, server_flags=a.server_flags,
            grammar=a.grammar, recording=a.recording, concurrency=a.concurrency, timeout_s=a.timeout,
        )  # fmt: skip
        repairs = {"rules": 0, "recorded": getattr(teacher, "repairs", 0)}.get(name, 2 if a.repairs is None else a.repairs)
        budget = Budget(a.max_cost, a.max_tokens_total, a.price_in, a.price_out)
        share = shard(a.shard)
        summary = annotate(a.gold, a.out, teacher, repairs=repairs, budget=budget, shard=share)
        print_summary(summary)
        if owed := summary.get("owed"):
            print(f"The budget is used up: {owed} gold paths are owed; all answers are kept, and the same command with more goes on.")
        elif share:
            say_share(*share)

    return run


def search(command: Command) -> Run:
    """search paths: train episodes told anew, so that an agent learns to look for what its task names"""
    folder(command, "--annotations", "what `sgd annotate` wrote, of train episodes")
    command.add_argument("--tasks", nargs="+", default=(), metavar="TASK", help="names or paper ids (default: all that have a search)")
    command.add_argument("--targets", type=count, default=5, metavar="N", help="things looked for in an episode, at most (default: 5)")
    simulators(command)
    command.add_argument("--seed", type=int, default=0, help="of what is looked for, and in which order things are opened (default: 0)")
    folder(command, "--out", "where the search paths go")

    def run(a: argparse.Namespace) -> None:
        from sgd_hf.corpus.search import search

        print(f"{search(a.annotations, a.out, a.tasks, a.targets, a.workers, a.seed)} search paths, in {a.out}")

    return run


def agree(command: Command) -> Run:
    """two annotations of the same gold paths, compared"""
    command.add_argument("a", type=Path, metavar="A", help="what `sgd annotate` wrote; the one to compare with")
    command.add_argument("b", type=Path, metavar="B", help="what `sgd annotate` wrote from the same gold paths")
    command.add_argument("--json", action="store_true", help="one line of JSON instead of a table")

    def run(a: argparse.Namespace) -> None:
        import json

        from sgd_hf.corpus.agree import agree_folders, print_agreement

        found = agree_folders(a.a, a.b)
        if a.json:
            print(json.dumps(found))
        else:
            print_agreement(found)

    return run


def build(command: Command) -> Run:
    """annotations become planner, executor and flat rows"""
    folder(command, "--annotations", "what `sgd annotate` wrote; several folders for several splits", nargs="+")
    command.add_argument("--prompts", default="turns", choices=("turns", "paper"), help=(
        "a turn an action (default), or as in the paper the whole state in every prompt: for encoder-decoder students"
    ))  # fmt: skip
    folder(command, "--search", "what `sgd search` wrote: more rows for planner and flat", required=False, nargs="+", default=())
    command.add_argument("--budget", type=int, metavar="N", help="characters of one prompt at most (default: 5000; 3200 for paper)")
    folder(command, "--out", "where the data set goes")

    def run(a: argparse.Namespace) -> None:
        from sgd_hf.corpus.build import build, print_summary

        print_summary(build(a.annotations, a.out, a.budget, a.prompts, a.search))

    return run


VERBS = (collect, annotate, search, agree, build)
