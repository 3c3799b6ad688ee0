"""A release on the Hub, whole or not at all: push to a pull request, verify what arrived, merge, tag last.

Guarantee: a tag is set when everything that the release consists of has been downloaded, compared, and loaded, and
the agent's tag is the last of all; until then a reader at the tag finds nothing. Each repository changes in one
commit. The same command after an interruption sends only what is missing; the same tag for another content is
refused before anything is sent. Repositories are private unless ``public`` is asked for, and then until all is done.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from sgd_hf.core.errors import HubError
from sgd_hf.core.safety import refuse_unsafe
from sgd_hf.release.artifacts import Artifact, layout
from sgd_hf.release.check import Fetch, lint, load, named, recognise
from sgd_hf.release.remote import KEPT, Hub, content_hash, digest, reaching

Say = Callable[[str], None]
Load = Callable[[Path, str, Fetch], None]
Pin = Callable[[Artifact, dict[str, str]], None]
"""``pin(artifact, commits)``: let a staged artifact name the others at the commits that hold them, by artifact name"""


def publish(
    artifacts: Sequence[Artifact], tag: str, pin: Pin, say: Say, public: bool = False, opened: Load = load, collection: str = ""
) -> dict[str, str]:
    """Publish staged artifacts; returns the commit of each by name. ``opened``: how a download is checked beyond its
    hashes; ``collection``: the title of one that gathers them."""
    for artifact in artifacts:
        lint(artifact)
    with tempfile.TemporaryDirectory(prefix="sgd-release-") as scratch:
        hub = Hub(Path(scratch))
        hub.who()
        tagged = {artifact.name: hub.tags(artifact) for artifact in artifacts}
        commits: dict[str, str] = {}
        for artifact in artifacts:  # all of them, before anything is sent
            if artifact.name not in ("agent", "demo"):
                _refuse_another(hub, artifact, tag, tagged[artifact.name])
        for artifact in artifacts:
            pin(artifact, commits)
            with reaching(artifact.id):
                commits[artifact.name] = _settle(hub, artifact, tag, tagged[artifact.name], opened, say)
        if collection:
            with reaching(collection):
                _collect(hub.api, artifacts, collection, public)
        # What names others comes after them: whoever sees the agent's tag finds all of the release.
        for artifact in sorted(artifacts, key=lambda artifact: artifact.name == "agent"):
            with reaching(artifact.id):
                if tagged[artifact.name].get(tag) != commits[artifact.name]:
                    hub.api.create_tag(artifact.id, tag=tag, revision=commits[artifact.name], repo_type=artifact.kind, exist_ok=True)
                    say(f"{artifact.id}: tagged {tag}")
        for artifact in artifacts if public else ():
            with reaching(artifact.id):
                hub.api.update_repo_settings(artifact.id, repo_type=artifact.kind, private=False)
    return commits


def _refuse_another(hub: Hub, artifact: Artifact, tag: str, tags: dict[str, str]) -> None:
    with reaching(artifact.id):
        change = hub.compare(artifact, tags[tag]) if tag in tags else None
    if change:
        differing = [*change.changed, *change.new, *change.gone]
        raise HubError(f"{tag} of {artifact.id} is published with another content ({differing[0]} differs); give a new --tag.")


def _settle(hub: Hub, artifact: Artifact, tag: str, tags: dict[str, str], opened: Load, say: Say) -> str:
    """Bring one repository to the folder's content, if it is not there yet; the commit that holds it."""
    if tag in tags:
        _refuse_another(hub, artifact, tag, tags)
        return tags[tag]
    sdk = {"space_sdk": "gradio"} if artifact.kind == "space" else {}
    hub.api.create_repo(artifact.id, repo_type=artifact.kind, private=True, exist_ok=True, **sdk)
    change = hub.compare(artifact)
    if change:
        say(
            f"{artifact.id}: {len(change.new)} new, {len(change.changed)} changed, {len(change.gone)} removed, {len(change.same)} as they are"
        )
        number = hub.push(artifact, change, f"Release {tag} ({digest(artifact)})")
        folder = hub.download(artifact.id, artifact.kind, f"refs/pr/{number}")
        _same(artifact, folder)
        opened(folder, artifact.name, lambda id, revision: hub.download(id, "model", revision))
        _merge(hub, artifact, number)
        if hub.compare(artifact):
            raise HubError(f"{artifact.id} was changed by somebody else while it was released; repeat the command.")
        say(f"{artifact.id}: verified and merged")
    return hub.head(artifact)


def _merge(hub: Hub, artifact: Artifact, number: int) -> None:
    try:
        hub.api.merge_pull_request(artifact.id, number, repo_type=artifact.kind)
    except HfHubHTTPError as error:
        if error.response is None or error.response.status_code != 409:
            raise
        # Its base is no longer main's: the next attempt must open another.
        hub.api.change_discussion_status(artifact.id, number, "closed", repo_type=artifact.kind)
        raise HubError(f"{artifact.id} was changed by somebody else since its pull request was opened; repeat the command.") from None


def _same(artifact: Artifact, folder: Path) -> None:
    """Compare a download with what was staged, file by file."""
    staged = artifact.files()
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    wrong = sorted(
        name
        for name in {*staged, *found} - {*KEPT}
        if not (name in staged and name in found and content_hash(staged[name]) == content_hash(found[name]))
    )
    if wrong:
        raise HubError(f"{artifact.id} does not hold what was sent ({wrong[0]} differs); repeat the command.")


def _collect(api: HfApi, artifacts: Sequence[Artifact], title: str, public: bool) -> None:
    org = artifacts[0].id.split("/")[0]
    made = api.create_collection(title, namespace=org, private=not public, exists_ok=True)
    if public and made.private:  # it was there before, and an existing one comes back as it is
        api.update_collection_metadata(made.slug, private=False)
    there = {item.item_id for item in made.items}
    for artifact in artifacts:
        if artifact.id not in there:
            api.add_collection_item(made.slug, artifact.id, artifact.kind, exists_ok=True)


def preview(artifacts: Sequence[Artifact], tag: str, say: Say) -> None:
    """Say what a release would hold and change, without changing anything."""
    hub = Hub(Path("unused"))
    hub.who()  # without a token a private repository looks like none
    for artifact in artifacts:
        lint(artifact)
        files = artifact.files()
        say(f"{artifact.kind} {artifact.id}  {_size(sum(path.stat().st_size for path in files.values()))}  card: {files['README.md']}")
        with reaching(artifact.id):
            change, tags = hub.compare(artifact), hub.tags(artifact)
        for name, path in files.items():
            mark = "+" if name in change.new else "~" if name in change.changed else " "
            say(f"  {mark} {name}  {_size(path.stat().st_size)}")
        for name in change.gone:
            say(f"  - {name}")
        say(f"  {tag} is published already" if tag in tags else f"  would be tagged {tag}")
    say("+ new  ~ changed  - removed; an agent and a demo are compared before they name the commits of this release")


def verify(spec: str, say: Say) -> str:
    """Download a published artifact, and of an agent its modules, into an empty cache, and check and load all of it.
    ``spec``: ``ORG/NAME`` or ``ORG/NAME@revision``; returns the commit. Raises `HubError` and its kin."""
    id, _, revision = spec.partition("@")
    with tempfile.TemporaryDirectory(prefix="sgd-release-") as scratch, reaching(spec):
        hub = Hub(Path(scratch))
        kind = next((kind for kind in ("model", "dataset", "space") if hub.api.repo_exists(id, repo_type=kind)), "")
        if not kind:
            raise HubError(f"{id} is not on the Hub, or is private and this token may not read it; check the id and `hf auth login`.")
        folder = hub.download(id, kind, revision or None)
        name = recognise(folder, kind)
        refuse_unsafe(folder, layout(name))
        modules = named(folder) if name == "agent" else {}
        loose = [role for role, (_, commit) in modules.items() if not commit]
        if loose:
            raise HubError(f"The agent {id} names its {loose[0]} at no revision; publish it again with `sgd release`.")
        for role, (source, commit) in modules.items():
            refuse_unsafe(hub.download(source, "model", commit), layout(role))
            say(f"{source}@{commit}: the {role}")
        load(folder, name, lambda source, commit: hub.download(source, "model", commit))
        say(f"{id}@{folder.name}: {name}, complete, safe, and loaded")
        return folder.name


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
