"""The Hub as a release needs it: what a repository holds, one commit on a pull request, downloads into an empty cache.

Guarantee: a file counts as being there only if its hash says so; whatever the client raises becomes one sentence.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoFile, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx

from sgd_hf.core.errors import HubError
from sgd_hf.release.artifacts import Artifact

KEPT = (".gitattributes",)
"""what the Hub itself puts into a repository"""


@dataclass(frozen=True)
class Change:
    """What a folder differs in from a revision of its repository: paths, and the bytes that are there already."""

    new: tuple[str, ...]
    changed: tuple[str, ...]
    gone: tuple[str, ...]
    same: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.gone)


class Hub:
    """One session with the Hub, with the downloads of its verification in a folder of its own."""

    def __init__(self, cache: Path):
        self.api = HfApi()
        self.cache = cache

    def who(self) -> str:
        """The user whose token this is; raises `HubError` where there is none or it is not valid."""
        with reaching("sign in"):
            return self.api.whoami()["name"]

    def tags(self, artifact: Artifact) -> dict[str, str]:
        """Tags and their commits; none where the repository does not exist."""
        with reaching(artifact.id):
            try:
                return {tag.name: tag.target_commit for tag in self.api.list_repo_refs(artifact.id, repo_type=artifact.kind).tags}
            except RepositoryNotFoundError:
                return {}

    def head(self, artifact: Artifact) -> str:
        return self.api.repo_info(artifact.id, repo_type=artifact.kind, revision="main").sha

    def compare(self, artifact: Artifact, revision: str = "main") -> Change:
        """The folder against a revision, by hash; everything is new where there is no such repository."""
        try:
            entries = list(self.api.list_repo_tree(artifact.id, repo_type=artifact.kind, revision=revision, recursive=True))
        except (RepositoryNotFoundError, RevisionNotFoundError):
            entries = []
        there = {e.path: e.lfs.sha256 if e.lfs else e.blob_id for e in entries if isinstance(e, RepoFile) and e.path not in KEPT}
        new, changed, same = [], [], []
        for name, path in artifact.files().items():
            known = there.pop(name, None)
            (new if known is None else same if known == content_hash(path, len(known) == 64) else changed).append(name)
        return Change(tuple(new), tuple(changed), tuple(sorted(there)), tuple(same))

    def push(self, artifact: Artifact, change: Change, title: str) -> int:
        """One commit on a pull request of this title, opened or found; its number."""
        for pull in self.api.get_repo_discussions(
            artifact.id, repo_type=artifact.kind, discussion_type="pull_request", discussion_status="open"
        ):
            if pull.title == title:
                return pull.num
        files = artifact.files()
        operations = [
            *(CommitOperationAdd(name, files[name]) for name in (*change.new, *change.changed)),
            *(CommitOperationDelete(name) for name in change.gone),
        ]
        made = self.api.create_commit(artifact.id, operations, commit_message=title, repo_type=artifact.kind, create_pr=True)
        return made.pr_num

    def download(self, id: str, kind: str, revision: str | None) -> Path:
        """A revision's files, in this session's own cache."""
        return Path(snapshot_download(id, repo_type=kind, revision=revision, cache_dir=self.cache, token=self.api.token))


def digest(artifact: Artifact) -> str:
    """12 hex digits that stand for a folder's content."""
    content = hashlib.sha256()
    for name, path in artifact.files().items():
        content.update(f"{name} {content_hash(path)}\n".encode())
    return content.hexdigest()[:12]


@contextmanager
def reaching(what: str) -> Iterator[None]:
    """Turn what the client raises into one sentence; what was sent stays, and the same command goes on."""
    try:
        yield
    except LocalTokenNotFoundError:
        raise HubError("There is no token for the Hub on this machine; run `hf auth login`, or set HF_TOKEN.") from None
    except RevisionNotFoundError:
        raise HubError(f"{what}: there is no such revision on the Hub; check the tag.") from None
    except RepositoryNotFoundError:
        raise HubError(f"{what} is not on the Hub, or this token may not see it; check the name and `hf auth login`.") from None
    except HFValidationError as error:
        raise HubError(f"{what} is not the name of a repository ({_first_line(error).rstrip('.')}); give ORG/NAME.") from None
    except OfflineModeIsEnabled:
        raise HubError("The Hub is switched off by HF_HUB_OFFLINE; unset it and repeat the command.") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        fix = {401: "check the token with `hf auth whoami`", 403: "ask for write access to the organisation"}.get(
            status, "repeat the command"
        )
        raise HubError(f"{what}: the Hub answered {status} ({_first_line(error)}); {fix}, which goes on where it stopped.") from None
    except (httpx.TransportError, LocalEntryNotFoundError, RuntimeError) as error:
        # the client wraps whatever ends the upload of a large file in a RuntimeError
        if isinstance(error, RuntimeError) and not str(error).startswith("Error while uploading"):
            raise
        raise HubError(
            f"{what}: the Hub cannot be reached ({_first_line(error)}); repeat the command, which goes on where it stopped."
        ) from None


def _first_line(error: Any) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def content_hash(path: Path, sha256: bool = True) -> str:
    """SHA-256 of a file's content, or what git calls it."""
    if sha256:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    content = path.read_bytes()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
