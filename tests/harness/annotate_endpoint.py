"""What the kill test runs in a child, and what its server answers: gold paths written out by the rules."""

import dataclasses
import hashlib

from sgd_hf.core.store import Store
from sgd_hf.corpus.annotate import annotate
from sgd_hf.corpus.endpoint import EndpointTeacher
from sgd_hf.corpus.templates import TEMPLATES

CONCURRENCY = 8


def run(gold, out, url):
    annotate(gold, out, EndpointTeacher(url, "tiny", TEMPLATES["paper"], concurrency=CONCURRENCY), repairs=2)


def clones(golds, count):
    """``count`` paths: the ``golds`` under made-up variations, each with a description of its own."""
    for number in range(count):
        gold = golds[number % len(golds)]
        episode = dataclasses.replace(gold.episode, variation=10_000 + number)
        yield dataclasses.replace(gold, episode=episode, description=f"{gold.description} (Number {number}.)")


def gold_folder(folder, golds):
    """A complete `sgd collect` folder of these paths."""
    from sgd_hf.core.records import to_row

    with Store(folder, "collect", {"split": "train"}) as store:
        for gold in golds:
            store.append(gold.key, {"gold": to_row(gold), "reason": ""}, sync=False)
        store.finish({"accepted": len(store.keys)})
    return folder


def prompt(messages):
    return hashlib.sha256("\n".join(message["content"] for message in messages).encode()).hexdigest()


def recording(golds, template, wrong=lambda number: False):
    """A server's answers: the rules' text for every path, but for those whose number is ``wrong``, which answer
    only the re-ask."""
    from sgd_hf.corpus.teachers import written

    texts = {}
    for number, gold in enumerate(golds):
        texts[prompt(template.question(gold, 0, "").messages)] = "I am a teapot" if wrong(number) else written(gold)
        texts[" ".join(gold.description.split())] = written(gold)  # on one line, as questions have it

    def answer(request):
        found = texts.get(prompt(request["messages"]))
        if found is None:  # a re-ask: its words depend on what was wrong; or the canary
            found = next((text for description, text in texts.items() if description in request["messages"][-1]["content"]), "yes")
        return found

    return answer
