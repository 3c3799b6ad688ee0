"""`sgd annotate` against a bare asynchronous client that sends the same questions to the same server and keeps nothing.

Both have the same number of questions open, and take turns; the paper's way, one call after the other, gets a few of
the questions for comparison. Without --base-url the server is a made-up one on loopback, in a process of its own: it
takes a fixed time for an answer, writes what the rules say, and makes up its token counts and its prefix cache.
Prints one JSON line last: ``ratio`` is seconds of `sgd annotate`, from start to report, over seconds of the bare client.

    python tests/benchmarks/bench_annotate.py [--paths N] [--concurrency N] [--latency S] [--rounds N]
    python tests/benchmarks/bench_annotate.py --base-url http://127.0.0.1:8000/v1 --model ID [--template labels]
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "harness"), str(ROOT / "corpus")]
if True:  # after the path is set
    from annotate_endpoint import clones, gold_folder, recording
    from recorded import gold_paths
    from teacher_server import TeacherServer

    from sgd_hf.corpus.annotate import annotate
    from sgd_hf.corpus.endpoint import EndpointTeacher
    from sgd_hf.corpus.templates import TEMPLATES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=192)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds that the made-up server takes for an answer")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--one-by-one", type=int, default=8, metavar="N", help="questions for the one-call-at-a-time loop")
    parser.add_argument("--base-url", help="a server of your own, instead of the made-up one")
    parser.add_argument("--model", default="made-up")
    parser.add_argument("--template", default="paper", choices=tuple(TEMPLATES))
    a = parser.parse_args()
    seconds = {"sgd annotate": 0.0, "bare client": 0.0}
    cpu, usage = dict(seconds), {}
    with (
        made_up(a.paths, a.latency) if a.base_url is None else contextlib.nullcontext(a.base_url) as url,
        tempfile.TemporaryDirectory() as root,
    ):
        golds = sorted(clones(gold_paths(), a.paths), key=lambda gold: gold.episode.task)  # as `sgd collect` has them
        folder = gold_folder(Path(root) / "gold", golds)
        template = TEMPLATES[a.template]
        teacher = EndpointTeacher(url, a.model, template, concurrency=a.concurrency)
        requests = [teacher.request(template.question(gold, 0, "")) for gold in sorted(golds, key=template.group)]
        asyncio.run(bare(url, requests[:2], 2))  # the server's first answers, and the client's own imports
        for number in range(a.rounds):
            arms = [
                ("sgd annotate", lambda number=number: annotate(folder, Path(root) / str(number), teacher)["usage"]),
                ("bare client", lambda: asyncio.run(bare(url, requests, a.concurrency))),
            ]
            for name, run in arms if number % 2 else arms[::-1]:
                began, cpu_began = time.perf_counter(), time.process_time()
                usage[name] = run()
                took = time.perf_counter() - began
                seconds[name] += took
                cpu[name] += time.process_time() - cpu_began
                print(f"{name}: {len(requests)} questions, {took:.2f} s, cached {hits(usage[name]):.0%} of the prompt tokens", flush=True)
        began = time.perf_counter()
        asyncio.run(bare(url, requests[: a.one_by_one], 1))
        one_by_one = (time.perf_counter() - began) / a.one_by_one
    own = seconds["sgd annotate"] / a.rounds / a.paths
    print(f"one call at a time: {one_by_one:.2f} s a question, {one_by_one / own:.1f} times as long as sgd annotate")
    print(json.dumps({
        "benchmark": "annotate", "ratio": round(seconds["sgd annotate"] / seconds["bare client"], 3),
        "over_one_by_one": round(one_by_one / own, 1), "paths": a.paths, "rounds": a.rounds, "concurrency": a.concurrency,
        "server": "made up" if a.base_url is None else a.model, "latency": a.latency if a.base_url is None else None, "template": a.template,
        "cached": {name: round(hits(found), 3) for name, found in usage.items()},
        "cpu_ms": {name: round(1000 * took / a.rounds / a.paths, 1) for name, took in cpu.items()},
        "seconds": {name: round(took, 2) for name, took in seconds.items()}, "cores": os.cpu_count(), "load": os.getloadavg()[0],
    }))  # fmt: skip


async def bare(url: str, requests: list, concurrency: int) -> dict[str, int]:
    """Send all, so many at a time; returns the tokens, counted."""
    import openai

    gate = asyncio.Semaphore(concurrency)
    async with openai.AsyncOpenAI(base_url=url, api_key=os.environ.get("OPENAI_API_KEY", "none")) as client:

        async def ask(request):
            async with gate:
                return (await client.chat.completions.create(**request)).usage

        found = [usage for usage in await asyncio.gather(*map(ask, requests)) if usage]
    cached = sum(getattr(usage.prompt_tokens_details, "cached_tokens", None) or 0 for usage in found)
    return {"prompt_tokens": sum(usage.prompt_tokens for usage in found), "cached_tokens": cached}


def hits(usage: dict) -> float:
    return usage["cached_tokens"] / usage["prompt_tokens"] if usage["prompt_tokens"] else 0.0


@contextlib.contextmanager
def made_up(paths: int, latency: float):
    """URL of a server in another process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=serve, args=(there, paths, latency))
    child.start()
    try:
        yield here.recv()
    finally:
        here.send(None)
        child.join()


def serve(pipe, paths: int, latency: float) -> None:
    answers = recording(list(clones(gold_paths(), paths)), TEMPLATES["paper"])
    with TeacherServer(answers, latency=latency) as server:
        pipe.send(server.url)
        pipe.recv()


if __name__ == "__main__":
    main()
