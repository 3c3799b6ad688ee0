"""A Hub on loopback, for tests: it speaks what the real `huggingface_hub`, transformers, datasets and evaluate ask for.

Guarantee: a commit is an immutable tree of content-addressed blobs on disk, and a reference moves to a commit that is
whole, or stays. Any request can be made to fail (`Hub.faults`), before it takes effect or after, and every request and
every byte that was sent up is in a log. It has been checked against these clients alone, never against the real Hub,
and knows neither Xet (set ``HF_HUB_DISABLE_XET=1``) nor searches, organisations' roles, or quotas.

    with serving(folder) as hub:
        subprocess.run(..., env=hub.environment(folder / "home"))
"""

import base64
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from frontmatter import complaints

WRITER, READER = "hf_loopbackwriter", "hf_loopbackreader"
"""tokens: of a member of the organisation `acme`, and of somebody else"""
LARGE = (".safetensors", ".parquet", ".png", ".onnx")
"""what the server wants by LFS, beside any file of more than 10 MB"""
PAGE = 50
"""entries of one page of a tree"""
WHEN = "2026-01-01T00:00:00.000Z"

Fault = Callable[[int, str, str], "int | str | None"]
"""``fault(number, method, path)``: a status to answer with instead, ``drop`` to hang up instead, ``after`` to do what is
asked and hang up, None to serve. Numbers count from 1 since the fault was set."""


class Refusal(Exception):
    """An answer other than success."""

    def __init__(self, status: int, code: str = "", message: str = "", **more: Any):
        self.status, self.code, self.body = status, code, {"error": message or code, **more}


class Hub:
    """The store, and what is observed of it."""

    def __init__(self, root: Path):
        self.root = root
        self.lock = threading.RLock()
        self.requests: list[tuple[str, str, int]] = []
        self.sent: list[tuple[str, str]] = []
        """("lfs", sha256) of each upload that arrived whole, ("file", repository and path and git hash) of each file in a commit"""
        self.multipart: int | None = None
        """size of a part, in bytes, from which on an upload is asked for in parts"""
        self.gated: set[str] = set()
        self._fault: Fault | None = None
        self._count = 0
        self.url = ""
        (root / "blobs").mkdir(parents=True, exist_ok=True)
        state = root / "state.json"
        self.state = json.loads(state.read_text()) if state.exists() else {"repos": {}, "collections": {}}

    def environment(self, home: Path, token: str = WRITER) -> dict[str, str]:
        """The environment of a client process with an empty cache."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        return kept | {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
                       **({"HF_TOKEN": token} if token else {})}  # fmt: skip

    def faults(self, fault: Fault | None) -> None:
        """Let requests fail from now on."""
        self._fault, self._count = fault, 0

    def forget(self) -> None:
        """Begin again with an empty store."""
        with self.lock:
            self.state = {"repos": {}, "collections": {}}
            self.requests.clear()
            self.sent.clear()
            for path in (self.root / "blobs").iterdir():
                path.unlink()

    def failing(self, method: str, path: str) -> int | str | None:
        with self.lock:
            self._count += 1
            return self._fault(self._count, method, path) if self._fault else None

    # What tests look at, without a request.

    def repo(self, kind: str, name: str) -> dict[str, Any]:
        return self.state["repos"][f"{kind}s/{name}"]

    def tree(self, kind: str, name: str, revision: str = "main") -> dict[str, dict[str, Any]]:
        """Path → entry of a revision."""
        repo = self.repo(kind, name)
        return self._commit(resolve(repo, revision))["tree"]

    def read(self, kind: str, name: str, path: str, revision: str = "main") -> bytes:
        return self.blob(self.tree(kind, name, revision)[path])

    # The store.

    def save(self) -> None:
        scratch = self.root / "state.part"
        scratch.write_text(json.dumps(self.state))
        os.replace(scratch, self.root / "state.json")

    def blob(self, entry: dict[str, Any]) -> bytes:
        return (self.root / "blobs" / entry["blob"]).read_bytes()

    def put_blob(self, name: str, content: bytes) -> None:
        scratch = self.root / "blobs" / f"{name}.{threading.get_ident()}.part"
        scratch.write_bytes(content)
        os.replace(scratch, self.root / "blobs" / name)

    def has_blob(self, name: str) -> bool:
        return (self.root / "blobs" / name).exists()

    def commit(self, repo: dict[str, Any], tree: dict[str, Any], title: str, parent: str | None) -> str:
        record = {"tree": tree, "title": title, "parent": parent, "number": len(repo["commits"]), "repo": repo["id"]}
        sha = hashlib.sha1(json.dumps(record, sort_keys=True).encode()).hexdigest()
        self.put_blob(f"commit-{sha}", json.dumps(record).encode())
        repo["commits"].append(sha)
        return sha

    def _commit(self, sha: str) -> dict[str, Any]:
        return json.loads((self.root / "blobs" / f"commit-{sha}").read_bytes())


def resolve(repo: dict[str, Any], revision: str) -> str:
    """The commit of a branch, tag, pull request, or (shortened) hash."""
    for refs in (repo["branches"], repo["tags"], {f"refs/pr/{number}": sha for number, sha in repo["pulls"].items()}):
        if revision.removeprefix("refs/heads/").removeprefix("refs/tags/") in refs:
            return refs[revision.removeprefix("refs/heads/").removeprefix("refs/tags/")]
    found = [sha for sha in repo["commits"] if len(revision) >= 7 and sha.startswith(revision)]
    if not found:
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return found[0]


def git_hash(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def large_entry(sha256: str, size: int) -> dict[str, Any]:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    return {"blob": sha256, "oid": git_hash(pointer), "size": size, "lfs": {"oid": sha256, "size": size, "pointerSize": len(pointer)}}


ROUTES: list[tuple[str, "re.Pattern[str]", Callable[..., Any]]] = []
REPO = r"/api/(?P<kind>model|dataset|space)s/(?P<name>[^/]+/[^/]+)"
FILES = r"/(?P<kind>datasets/|spaces/|)(?P<name>[^/]+/[^/]+?)"


def route(methods: str, pattern: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def noted(function: Callable[..., Any]) -> Callable[..., Any]:
        ROUTES.extend((method, re.compile(pattern + "$"), function) for method in methods.split())
        return function

    return noted


class Handler(BaseHTTPRequestHandler):
    """One connection; `answer` finds the route, everything below it is an endpoint."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second would wait 40 ms for an acknowledgement
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        self.content = self._received()
        failing = self.hub.failing(self.command, url.path)
        self.quiet = failing in ("drop", "after")
        self.noted = 0
        try:
            if failing == "drop":
                return
            if isinstance(failing, int):
                raise Refusal(failing, message="injected by the test")
            for method, pattern, function in ROUTES:
                found = pattern.match(url.path)
                if found and method == self.command:
                    # A reader may ask for more while it still reads a long answer: only writers wait for one another.
                    with nullcontext() if self.command in ("GET", "HEAD") else self.hub.lock:
                        function(self, **{key: unquote(value) if value is not None else None for key, value in found.groupdict().items()})
                    return
            raise Refusal(404, "", f"no such endpoint: {self.command} {url.path}")
        except Refusal as refusal:
            self.reply(refusal.body, refusal.status, {"X-Error-Code": refusal.code, "X-Error-Message": refusal.body["error"]})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            self.hub.requests.append((self.command, self.path, self.noted))
            if self.quiet:
                self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def _received(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, body: Any = None, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.noted = status
        if self.quiet:
            return
        content = body if isinstance(body, bytes) else json.dumps(body if body is not None else {}).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {}), "Content-Length": str(len(content))}.items():
            if value:
                self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def json(self) -> Any:
        return json.loads(self.content or b"{}")

    def user(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def repository(self, kind: str, name: str, write: bool = False) -> dict[str, Any]:
        key = f"{kind}s/{name}"
        repo = self.hub.state["repos"].get(key)
        if write and self.user() not in (WRITER, READER):
            raise Refusal(401, "", "Invalid username or password.")
        if repo is None or repo["private"] and self.user() != WRITER:
            # the real one does not tell a stranger whether a private repository exists
            raise Refusal(404 if self.user() else 401, "RepoNotFound", "Repository not found")
        if write and self.user() != WRITER:
            raise Refusal(403, "", "you have no write access to this repository")
        if key in self.hub.gated and self.user() != WRITER:
            raise Refusal(403, "GatedRepo", "access to this repository is restricted")
        return repo

    def commit_of(self, repo: dict[str, Any], revision: str | None) -> tuple[str, dict[str, Any]]:
        sha = resolve(repo, revision or "main")
        return sha, self.hub._commit(sha)["tree"]


@route("GET", "/api/whoami-v2")
def whoami(self: Handler) -> None:
    if self.user() not in (WRITER, READER):
        raise Refusal(401, "", "Invalid username or password.")
    orgs = [{"name": "acme", "roleInOrg": "write"}] if self.user() == WRITER else []
    self.reply({"type": "user", "name": "somebody", "id": "0", "orgs": orgs, "auth": {"accessToken": {"role": "write"}}})


@route("POST", "/api/repos/create")
def create(self: Handler) -> None:
    asked = self.json()
    if self.user() not in (WRITER, READER):
        raise Refusal(401, "", "Invalid username or password.")
    kind, name = asked.get("type") or "model", f"{asked.get('organization') or 'somebody'}/{asked['name']}"
    if self.user() != WRITER:
        raise Refusal(403, "", f"You have no rights to create a repository in {name.split('/')[0]}")
    if f"{kind}s/{name}" in self.hub.state["repos"]:
        raise Refusal(409, "", "You already created this repository", url=f"{self.hub.url}/{name}")
    if kind == "space" and asked.get("sdk") not in ("gradio", "docker", "static"):
        raise Refusal(400, "", "A Space needs an sdk")
    private = asked.get("visibility", "public") == "private" or bool(asked.get("private"))
    repo = {"id": name, "kind": kind, "private": private, "branches": {}, "tags": {}, "pulls": {}, "discussions": [], "commits": []}
    self.hub.state["repos"][f"{kind}s/{name}"] = repo
    attributes = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LARGE).encode()
    self.hub.put_blob(git_hash(attributes), attributes)
    first = {".gitattributes": {"blob": git_hash(attributes), "oid": git_hash(attributes), "size": len(attributes)}}
    repo["branches"]["main"] = self.hub.commit(repo, first, "initial commit", None)
    self.hub.save()
    self.reply({"url": f"{self.hub.url}/{'' if kind == 'model' else kind + 's/'}{name}", "name": name, "id": "0"})


@route("DELETE", "/api/repos/delete")
def delete(self: Handler) -> None:
    asked = self.json()
    kind, name = asked.get("type") or "model", f"{asked.get('organization') or 'somebody'}/{asked['name']}"
    self.repository(kind, name, write=True)
    del self.hub.state["repos"][f"{kind}s/{name}"]
    self.hub.save()
    self.reply()


@route("PUT", REPO + "/settings")
def settings(self: Handler, kind: str, name: str) -> None:
    repo, asked = self.repository(kind, name, write=True), self.json()
    repo["private"] = asked.get("private", asked.get("visibility", "private" if repo["private"] else "public") == "private")
    self.hub.save()
    self.reply({"private": repo["private"]})


@route("POST", "/api/validate-yaml")
def validate_yaml(self: Handler) -> None:
    asked = self.json()
    errors = complaints(asked["content"], asked.get("repoType") or "model")
    self.reply({"errors": [{"message": error} for error in errors], "warnings": []}, 400 if errors else 200)


@route("GET HEAD", REPO + "(?:/revision/(?P<revision>[^/]+))?")
def info(self: Handler, kind: str, name: str, revision: str | None) -> None:
    repo = self.repository(kind, name)
    sha, tree = self.commit_of(repo, revision)
    files = [{"rfilename": path, "blobId": entry["oid"], "size": entry["size"], **({"lfs": entry["lfs"] | {"sha256": entry["lfs"]["oid"]}}
             if "lfs" in entry else {})} for path, entry in sorted(tree.items())]  # fmt: skip
    said = {"_id": "0", "id": name, "modelId": name, "author": name.split("/")[0], "sha": sha, "private": repo["private"], "gated": False}
    more = {"disabled": False, "tags": [], "downloads": 0, "likes": 0, "createdAt": WHEN, "lastModified": WHEN, "siblings": files}
    self.reply(said | more)


@route("GET", REPO + "/tree/(?P<revision>[^/]+)(?:/(?P<below>.+))?")
def tree(self: Handler, kind: str, name: str, revision: str, below: str | None) -> None:
    _, files = self.commit_of(self.repository(kind, name), revision)
    prefix = f"{below.strip('/')}/" if below else ""
    found: dict[str, dict[str, Any]] = {}
    for path, entry in sorted(files.items()):
        if path.startswith(prefix):
            parts = path[len(prefix) :].split("/")
            for depth in range(1, len(parts)):
                folder = prefix + "/".join(parts[:depth])
                found.setdefault(folder, {"type": "directory", "path": folder, "oid": git_hash(folder.encode()), "size": 0})
            found[path] = {"type": "file", "path": path, **{key: entry[key] for key in ("oid", "size", "lfs") if key in entry}}
    if prefix and not found:
        raise Refusal(404, "EntryNotFound", f"{below} does not exist on {revision}")
    if self.query.get("recursive", "").lower() not in ("true", "1"):
        found = {path: entry for path, entry in found.items() if "/" not in path[len(prefix) :]}
    begin = int(self.query.get("cursor", 0))
    page = list(found.values())[begin : begin + PAGE]
    rest = urlsplit(self.path)
    query = "&".join(f"{key}={value}" for key, value in (self.query | {"cursor": str(begin + PAGE)}).items())
    more = begin + PAGE < len(found)
    self.reply(page, headers={"Link": f'<{self.hub.url}{rest.path}?{query}>; rel="next"' if more else ""})


@route("POST", REPO + "/paths-info/(?P<revision>[^/]+)")
def paths_info(self: Handler, kind: str, name: str, revision: str) -> None:
    _, files = self.commit_of(self.repository(kind, name), revision)
    asked = self.json() if self.content[:1] == b"{" else {"paths": parse_qs(self.content.decode()).get("paths", [])}
    found = [{"type": "file", "path": path, **{k: files[path][k] for k in ("oid", "size", "lfs") if k in files[path]}}
             for path in asked["paths"] if path in files]  # fmt: skip
    folders = [path for path in asked["paths"] if path not in files and any(name.startswith(f"{path}/") for name in files)]
    self.reply([*found, *({"type": "directory", "path": path, "oid": git_hash(path.encode()), "size": 0} for path in folders)])


@route("GET", REPO + "/refs")
def refs(self: Handler, kind: str, name: str) -> None:
    repo = self.repository(kind, name)
    said = {
        "branches": [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": sha} for n, sha in repo["branches"].items()],
        "tags": [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": sha} for n, sha in repo["tags"].items()],
        "converts": [],
    }
    if self.query.get("include_prs"):
        said["pullRequests"] = [{"name": n, "ref": f"refs/pr/{n}", "targetCommit": sha} for n, sha in repo["pulls"].items()]
    self.reply(said)


@route("GET", REPO + "/commits/(?P<revision>[^/]+)")
def commits(self: Handler, kind: str, name: str, revision: str) -> None:
    found, sha = [], resolve(self.repository(kind, name), revision)
    while sha:
        record = self.hub._commit(sha)
        found.append({"id": sha, "title": record["title"], "message": "", "date": WHEN, "authors": [{"user": "somebody"}]})
        sha = record["parent"]
    self.reply(found)


@route("POST DELETE", REPO + "/(?P<what>tag|branch)/(?P<at>[^/]+)")
def tag_or_branch(self: Handler, kind: str, name: str, what: str, at: str) -> None:
    repo = self.repository(kind, name, write=True)
    refs = repo["tags" if what == "tag" else "branches"]
    if self.command == "DELETE":
        if at not in refs:
            raise Refusal(404, "RevisionNotFound", f"{at} does not exist")
        del refs[at]
    else:
        asked = self.json()
        new = asked["tag"] if what == "tag" else at
        if new in refs:
            raise Refusal(409, "", f"{new} exists already")
        refs[new] = resolve(repo, at if what == "tag" else asked.get("startingPoint") or "main")
    self.hub.save()
    self.reply()


@route("POST", REPO + "/preupload/(?P<revision>[^/]+)")
def preupload(self: Handler, kind: str, name: str, revision: str) -> None:
    _, files = self.commit_of(self.repository(kind, name, write=True), revision)
    said = []
    for file in self.json()["files"]:
        large = file["path"].endswith(LARGE) or file["size"] > 10_000_000
        known = files.get(file["path"])
        oid = known and (known["lfs"]["oid"] if large and "lfs" in known else known["oid"])
        said.append({"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid})
    self.reply({"files": said})


@route("POST", FILES + r"\.git/info/lfs/objects/batch")
def batch(self: Handler, kind: str, name: str) -> None:
    self.repository(kind.rstrip("s/") or "model", name, write=True)
    objects = []
    for asked in self.json()["objects"]:
        oid, size, url = asked["oid"], asked["size"], f"{self.hub.url}/lfs/{asked['oid']}"
        if self.hub.has_blob(oid):
            objects.append({"oid": oid, "size": size})
            continue
        upload: dict[str, Any] = {"href": url}
        if self.hub.multipart and size > self.hub.multipart:
            parts = {str(n): f"{url}/part/{n}" for n in range(1, -(-size // self.hub.multipart) + 1)}
            upload = {"href": f"{url}/complete", "header": {"chunk_size": str(self.hub.multipart), **parts}}
        objects.append({"oid": oid, "size": size, "actions": {"upload": upload, "verify": {"href": f"{url}/verify"}}})
    self.reply({"transfer": "basic", "objects": objects})


@route("PUT", "/lfs/(?P<oid>[0-9a-f]{64})(?:/part/(?P<part>[0-9]+))?")
def upload(self: Handler, oid: str, part: str | None) -> None:
    if part:
        self.hub.put_blob(f"part-{oid}-{part}", self.content)
        self.reply(headers={"ETag": f'"{part}"'})
        return
    arrived(self, oid, self.content)
    self.reply()


@route("POST", "/lfs/(?P<oid>[0-9a-f]{64})/(?P<what>complete|verify)")
def uploaded(self: Handler, oid: str, what: str) -> None:
    if what == "complete":
        arrived(
            self,
            oid,
            b"".join((self.hub.root / "blobs" / f"part-{oid}-{part['partNumber']}").read_bytes() for part in self.json()["parts"]),
        )
    if not self.hub.has_blob(oid):
        raise Refusal(404, "", "no such object")
    self.reply()


def arrived(self: Handler, oid: str, content: bytes) -> None:
    if hashlib.sha256(content).hexdigest() != oid:
        raise Refusal(422, "", "what arrived has another hash")
    self.hub.put_blob(oid, content)
    self.hub.sent.append(("lfs", oid))


@route("POST", REPO + "/commit/(?P<revision>[^/]+)")
def make_commit(self: Handler, kind: str, name: str, revision: str) -> None:
    repo = self.repository(kind, name, write=True)
    head, files = self.commit_of(repo, revision)
    lines = [json.loads(line) for line in self.content.splitlines()]
    header = lines[0]["value"]
    if header.get("parentCommit") and not head.startswith(header["parentCommit"]):
        raise Refusal(412, "", "A commit has happened since. Please refresh and try again.")
    files, sent = dict(files), []
    for line in lines[1:]:
        value, key = line["value"], line["key"]
        if key == "file":
            content = base64.b64decode(value["content"])
            if value["path"] == "README.md" and (errors := complaints(content.decode(), kind)):
                raise Refusal(400, "", errors[0])
            self.hub.put_blob(git_hash(content), content)
            files[value["path"]] = {"blob": git_hash(content), "oid": git_hash(content), "size": len(content)}
            sent.append(("file", f"{kind}s/{name}/{value['path']} {git_hash(content)}"))
        elif key == "lfsFile":
            if not self.hub.has_blob(value["oid"]):
                raise Refusal(400, "", f"{value['path']} points to an object that was not uploaded")
            files[value["path"]] = large_entry(value["oid"], value["size"])
        elif key == "deletedFile":
            if files.pop(value["path"], None) is None:
                raise Refusal(404, "EntryNotFound", "A file with this name doesn't exist")
        elif key == "deletedFolder":
            files = {path: entry for path, entry in files.items() if not path.startswith(value["path"].rstrip("/") + "/")}
    sha = self.hub.commit(repo, files, header["summary"], head)
    said = {"success": True, "commitOid": sha, "commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "hookOutput": ""}
    if self.query.get("create_pr"):
        number = len(repo["discussions"]) + 1
        repo["discussions"].append({"num": number, "title": header["summary"], "status": "open", "isPullRequest": True})
        repo["pulls"][str(number)] = sha
        said["pullRequestUrl"] = f"{self.hub.url}/{'' if kind == 'model' else kind + 's/'}{name}/discussions/{number}"
    elif revision.startswith("refs/pr/"):
        repo["pulls"][revision.removeprefix("refs/pr/")] = sha
    elif revision in repo["branches"]:
        repo["branches"][revision] = sha
    else:
        raise Refusal(400, "", f"{revision} is not a branch")
    self.hub.sent.extend(sent)
    self.hub.save()
    self.reply(said)


@route("GET", REPO + "/discussions")
def discussions(self: Handler, kind: str, name: str) -> None:
    repo = self.repository(kind, name)
    asked = self.query.get("status", "all"), self.query.get("type", "all")
    found = [said(d, kind, name) for d in reversed(repo["discussions"])
             if asked[0] in ("all", d["status"] if d["status"] == "open" else "closed") and asked[1] in ("all", "pull_request")]  # fmt: skip
    begin = int(self.query.get("p", 0)) * 10
    self.reply({"count": len(found), "start": begin, "discussions": found[begin : begin + 10]})


def said(discussion: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    return discussion | {"author": {"name": "somebody"}, "createdAt": WHEN, "repo": {"name": name, "type": kind}}


@route("POST", REPO + "/discussions/(?P<number>[0-9]+)/(?P<what>merge|status)")
def discussion(self: Handler, kind: str, name: str, number: str, what: str) -> None:
    repo = self.repository(kind, name, write=True)
    found = next((d for d in repo["discussions"] if str(d["num"]) == number), None)
    if found is None:
        raise Refusal(404, "", "no such discussion")
    if found["status"] != "open":
        raise Refusal(409, "", f"the pull request is {found['status']}")
    if what == "status":
        found["status"] = self.json()["status"]
    else:
        # Squashed: the commit on main is another than the one that was verified, its tree is the same.
        pull = self.hub._commit(repo["pulls"][number])
        head = repo["branches"]["main"]
        if pull["parent"] != head and self.hub._commit(head)["tree"] != self.hub._commit(pull["parent"])["tree"]:
            raise Refusal(409, "", "the pull request conflicts with main")
        repo["branches"]["main"] = self.hub.commit(repo, pull["tree"], f"{found['title']} (#{number})", head)
        found["status"] = "merged"
    self.hub.save()
    event = {"id": "0", "type": "status-change", "createdAt": WHEN, "author": {"name": "somebody"}, "data": {"status": found["status"]}}
    self.reply({"newStatus": event})


@route("GET HEAD", FILES + "/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
def file(self: Handler, kind: str, name: str, revision: str, path: str) -> None:
    sha, files = self.commit_of(self.repository(kind.rstrip("s/") or "model", name), revision)
    if path not in files:
        raise Refusal(404, "EntryNotFound", f"{path} does not exist on {revision}", commit=sha)
    entry, content = files[path], self.hub.blob(files[path])
    headers = {"X-Repo-Commit": sha, "ETag": f'"{entry["blob"]}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    if "lfs" in entry:
        headers |= {"X-Linked-Etag": f'"{entry["blob"]}"', "X-Linked-Size": str(entry["size"])}
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
    if wanted and self.command == "GET":
        first, last = wanted.groups()
        begin = int(first) if first else max(0, len(content) - int(last))
        end = min(int(last) + 1, len(content)) if first and last else len(content)
        if begin >= len(content):
            raise Refusal(416, "", "out of range")
        self.reply(content[begin:end], 206, headers | {"Content-Range": f"bytes {begin}-{end - 1}/{len(content)}"})
    else:
        self.reply(content, headers=headers)


@route("GET POST", "/api/collections")
def collections(self: Handler) -> None:
    if self.command == "GET":
        self.reply([c for c in self.hub.state["collections"].values() if c["owner"]["name"] == self.query.get("owner", c["owner"]["name"])])
        return
    asked = self.json()
    slug = f"{asked['namespace']}/{re.sub('[^a-z0-9]+', '-', asked['title'].lower()).strip('-')}-0123456789abcdef01234567"
    if self.user() != WRITER:
        raise Refusal(403, "", "you have no rights in this organisation")
    if slug in self.hub.state["collections"]:
        raise Refusal(409, "", "exists", slug=slug)
    owner = {"name": asked["namespace"]}
    made = {"slug": slug, "title": asked["title"], "owner": owner, "items": [], "lastUpdated": WHEN, "position": 0,
            "private": asked.get("private", False), "theme": "green", "upvotes": 0, "description": asked.get("description")}  # fmt: skip
    self.hub.state["collections"][slug] = made
    self.hub.save()
    self.reply(made)


@route("GET POST PATCH", "/api/collections/(?P<slug>[^/]+/[^/]+?)(?P<items>/items)?")
def collection(self: Handler, slug: str, items: str | None) -> None:
    found = self.hub.state["collections"].get(slug)
    if found is None:
        raise Refusal(404, "", "no such collection")
    if self.command == "PATCH":
        found |= self.json()
        self.hub.save()
        self.reply({"data": found})
        return
    if items:
        item = self.json()["item"]
        if any(known["id"] == item["id"] for known in found["items"]):
            raise Refusal(409, "", "is in the collection already")
        found["items"].append({"_id": str(len(found["items"])), "position": len(found["items"]), **item})
        self.hub.save()
    self.reply(found)


@contextmanager
def serving(folder: Path) -> Iterator[Hub]:
    """A hub whose store is ``folder``, on a free port of loopback."""
    hub = Hub(folder)
    handler = type("Handler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
