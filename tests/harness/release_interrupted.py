"""Release a small set of artifacts against a loopback Hub that goes away at the k-th request, for every k, and release again.

    python release_interrupted.py FOLDER all         every k; some minutes
    python release_interrupted.py FOLDER phases      the first k of each phase, which is an endpoint

Prints one JSON line: how many requests a release takes, how many times it was interrupted, by which requests, and
every promise that was broken.
"""

import json
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))

from server import WRITER, serving

TAG = "v1"
STATUSES = (500, 429, 403, 401, 404, 409)
CARD = "---\nlicense: apache-2.0\n---\n\n# A card\n"


def main(folder: Path, which: str) -> None:
    with serving(folder / "hub") as hub:
        os.environ.update(hub.environment(folder / "home"))
        os.environ.pop("HF_HUB_OFFLINE", None)
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        time.sleep = lambda seconds: None  # the client's patience with a server that is gone
        print(json.dumps(Trial(folder, hub).all(which)))


class Trial:
    """The artifacts, the Hub, and what was seen."""

    def __init__(self, folder, hub):
        self.folder, self.hub, self.broken, self.met, self.number = folder, hub, [], Counter(), 0
        hub.multipart = 20_000

    def stage(self):
        """Five artifacts of a few small files; the weights are random bytes, for nothing here looks into them."""
        from sgd_hf.release.artifacts import Artifact

        weights = {
            name: {"model.safetensors": os.urandom(30_000), "config.json": b"{}", "sgd.json": b"{}"} for name in ("planner", "executor")
        }
        agent = {name: {"source": f"../{name}", "revision": None} for name in ("planner", "executor")}
        files = {
            "dataset": {"planner/train.parquet": os.urandom(3_000), "manifest.json": b"{}"},
            **weights,
            "agent": {"config.json": json.dumps(agent).encode()},
            "metric": {"app.py": b"", "scienceworld_score.py": b"pass"},
        }
        made = []
        for name, contents in files.items():
            for path, content in ({"README.md": space_card() if name == "metric" else CARD.encode()} | contents).items():
                target = self.folder / f"stage-{self.number}" / name / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            made.append(Artifact(name, self.folder / f"stage-{self.number}" / name, f"acme/{name}"))
        return made

    def publish(self, artifacts):
        from sgd_hf.release.bundle import pin
        from sgd_hf.release.check import named
        from sgd_hf.release.hub import publish

        def opened(folder, name, fetch):
            if name == "agent":
                for id, revision in named(folder).values():
                    assert (fetch(id, revision) / "model.safetensors").exists()

        names = {artifact.name: artifact.id for artifact in artifacts}
        publish(
            artifacts,
            TAG,
            lambda artifact, commits: pin(artifact, commits, names, self.folder),
            lambda line: None,
            False,
            opened,
            "All of it",
        )

    def all(self, which):
        self.number += 1
        self.publish(self.stage())
        requests = [(method, shape(path.split("?")[0])) for method, path, _ in self.hub.requests]
        phases = {
            (method, re.sub("models|datasets|spaces", "", endpoint)): (method, endpoint) for method, endpoint in reversed(requests)
        }.values()
        chosen = range(1, len(requests) + 1) if which == "all" else sorted(requests.index(phase) + 1 for phase in phases)
        for k in chosen:
            self.interrupt(k, "before", lambda n, method, path, k=k: "drop" if n >= k else None)
        for number, k in enumerate(chosen if which == "phases" else chosen[::3]):
            status = STATUSES[number % len(STATUSES)]
            self.interrupt(k, f"status {status}", lambda n, method, path, k=k, s=status: s if n >= k else None)
        for k in chosen:
            if requests[k - 1][0] not in ("GET", "HEAD"):
                self.interrupt(k, "after", lambda n, method, path, k=k: ("after" if n == k else "drop") if n >= k else None)
        return {"requests": len(requests), "interruptions": self.number - 1, "met": dict(self.met), "broken": self.broken}

    def interrupt(self, k, how, fault):
        from sgd_hf.core.errors import HubError

        self.number += 1
        self.hub.forget()
        artifacts = self.stage()
        seen = []
        self.hub.faults(lambda n, method, path: seen.append((method, path)) or fault(n, method, path))
        try:
            self.publish(artifacts)
            self.broken.append([k, how, "was not interrupted"])
        except HubError as error:
            if len(str(error).splitlines()) > 1 or WRITER in str(error):
                self.broken.append([k, how, str(error)])
        self.hub.faults(None)
        method, path = seen[k - 1]
        self.met[f"{method} {shape(path)} {how.split()[0]}"] += 1
        last = how == "after" and path.startswith("/api/models/acme/agent/tag/")
        self.look(k, how, artifacts, whole=last)
        self.publish(artifacts)
        self.look(k, how, artifacts, whole=True)
        twice = [sent for sent, times in Counter(self.hub.sent).items() if times > 1]
        if twice:
            self.broken.append([k, how, f"sent twice: {twice}"])

    def look(self, k, how, artifacts, whole):
        """What a reader at the tag finds: everything, or nothing."""
        from sgd_hf.core.errors import CheckpointError

        for artifact in artifacts:
            repo = self.hub.state["repos"].get(f"{artifact.kind}s/{artifact.id}", {"tags": {}})
            if TAG in repo["tags"]:
                tree = self.hub.tree(artifact.kind, artifact.id, TAG)
                there = {path: self.hub.blob(entry) for path, entry in tree.items() if path != ".gitattributes"}
                if there != {path: file.read_bytes() for path, file in artifact.files().items()}:
                    self.broken.append([k, how, f"half of {artifact.id} is tagged"])
            elif whole:
                self.broken.append([k, how, f"{artifact.id} is not tagged"])
        try:
            config = self.agent()
            if not whole:
                self.broken.append([k, how, "the agent is there before the release is complete"])
            for role in ("planner", "executor"):
                if config[role]["revision"] != self.hub.repo("model", f"acme/{role}")["tags"].get(TAG):
                    self.broken.append([k, how, f"the agent names another {role}"])
        except CheckpointError:
            if whole:
                self.broken.append([k, how, "the agent cannot be loaded at its tag"])

    def agent(self):
        """What `from_pretrained` would begin with, through the real client."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        from sgd_hf.core.errors import CheckpointError

        try:
            path = hf_hub_download("acme/agent", "config.json", revision=TAG, cache_dir=self.folder / f"cache-{self.number}")
        except (RepositoryNotFoundError, RevisionNotFoundError):
            raise CheckpointError("no agent at the tag") from None
        return json.loads(Path(path).read_text())


def space_card():
    return b"---\ntitle: A metric\nsdk: gradio\nlicense: apache-2.0\n---\n\n# A card\n"


def shape(path):
    """An endpoint without the names in it: a phase of the release."""
    parts = [part for part in path.strip("/").split("/") if not (part in ("acme",) or len(part) >= 40)]
    known = ("api", "models", "datasets", "spaces", "repos", "create", "refs", "tree", "commit", "preupload", "tag", "discussions", "merge",
             "revision", "resolve", "lfs", "info", "objects", "batch", "part", "complete", "verify", "collections", "items", "whoami-v2",
             "validate-yaml")  # fmt: skip
    return "/".join(part for part in parts if part in known)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
