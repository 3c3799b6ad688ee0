"""A model server for tests and measurements: real HTTP on loopback, in the form of OpenAI's chat completions.

It answers from a function of the request, a seeded share of the questions wrongly at the first time: 429, 500, slowly,
or with a body that breaks off. Its token counts are characters by four, its prefix cache is the beginning that a
prompt shares with the one before: both are made up, and only as good as what is measured through them.
"""

import hashlib
import json
import os
import random
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = ("429", "500", "slow", "cut")


def obey(schema):
    """A value that a schema allows: the first word of every enumeration, every required key."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema["type"]:
        case "object":
            return {key: obey(schema["properties"][key]) for key in schema["required"]}
        case "array":
            return [obey(schema["items"])]
        case kind:
            return {"string": "x", "integer": 1}[kind]


def obedient(request):
    """The answer of a server that honours schemas and knows nothing else."""
    return json.dumps(obey(request["response_format"]["json_schema"]["schema"]))


class TeacherServer:
    """``answer``: text, or (text, finish), of a request. ``faults``: share of questions that go wrong the first time.
    ``paid`` are the digests of the questions whose answer was sent whole, ``keys`` the keys that requests bore."""

    def __init__(self, answer=obedient, faults=0.0, latency=0.0, slow=0.3, seed=0):
        self.answer, self.faults, self.latency, self.slow, self.seed = answer, faults, latency, slow, seed
        self.paid, self.keys, self.requests, self.seen = [], set(), 0, {}
        self.open = self.most_open = 0
        self._last = ""
        self._lock = threading.Lock()

    def __enter__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_POST(self):
                outer._serve(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        report = self._server.handle_error
        self._server.handle_error = lambda *where: (
            None if isinstance(sys.exc_info()[1], ConnectionError) else report(*where)
        )  # a killed client
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def fault(self, digest, times):
        draw = random.Random(f"{self.seed} {digest}")
        return draw.choice(FAULTS) if draw.random() < self.faults and times == 0 else None

    def _serve(self, handler):
        request = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        prompt = "\n".join(message["content"] for message in request["messages"])
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        with self._lock:
            self.requests += 1
            self.keys.add(handler.headers.get("authorization", ""))
            times = self.seen.get(digest, 0)
            self.seen[digest] = times + 1
            shared, self._last = len(os.path.commonprefix([prompt, self._last])), prompt
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        fault = self.fault(digest, times)
        time.sleep(self.latency + (self.slow if fault == "slow" else 0))
        status, body = 200, None
        if fault in ("429", "500"):
            status, body = int(fault), {"error": {"message": f"a made-up {fault}", "type": "test"}}
        else:
            found = self.answer(request)
            status, body = (
                found if isinstance(found, tuple) and isinstance(found[0], int) else (200, self._body(request, prompt, shared, found))
            )
        with self._lock:
            self.open -= 1
        data = json.dumps(body).encode()
        head = (
            f"HTTP/1.1 {status} .\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\nretry-after-ms: 10\r\n\r\n".encode()
        )
        if fault == "cut":
            handler.wfile.write(head + data[: len(data) // 2])
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        handler.wfile.write(head + data)
        handler.wfile.flush()
        if status == 200:
            with self._lock:
                self.paid.append(digest)

    def _body(self, request, prompt, shared, found):
        text, finish = found if isinstance(found, tuple) else (found, "stop")
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": max(1, len(text) // 4)}
        usage |= {"total_tokens": sum(usage.values()), "prompt_tokens_details": {"cached_tokens": shared // 4}}
        message = {"role": "assistant", "content": text}
        return {
            "id": "x", "object": "chat.completion", "created": 0, "model": request["model"],
            "choices": [{"index": 0, "finish_reason": finish, "message": message}], "usage": usage,
        }  # fmt: skip
