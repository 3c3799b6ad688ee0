#!/usr/bin/env python3
"""An executable in the place of `vllm`: `serve MODEL … --port N`, with a child of its own, pids written as file names
into $FAKE_VLLM_PIDS. The model says how it behaves: `dies`, `late` (healthy after a second), `stubborn` (ignores
SIGTERM), `mute` (never healthy), anything else: well."""

import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

model, port = sys.argv[2], int(sys.argv[sys.argv.index("--port") + 1])
begun = time.monotonic()
if model == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "1000"])  # a stubborn server's child inherits that it ignores SIGTERM
for pid in (os.getpid(), child.pid):
    (Path(os.environ["FAKE_VLLM_PIDS"]) / str(pid)).touch()
print("words:", " ".join(sys.argv[1:]), flush=True)
if model == "dies":
    print("ValueError: this model has no tokenizer.\nand more lines", flush=True)
    sys.exit(1)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        healthy = model != "mute" and (model != "late" or time.monotonic() - begun > 1)
        self.send_response(200 if healthy else 503)
        self.end_headers()

    def log_message(self, *_):
        pass


HTTPServer(("127.0.0.1", port), Handler).serve_forever()
