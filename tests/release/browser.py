"""A headless Chromium, spoken to in its DevTools protocol: enough to open a page, look, click and photograph."""

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage", "--no-first-run",
    "--hide-scrollbars", "--remote-debugging-port=0",
)  # fmt: skip


@contextmanager
def browser(program: str, home: Path) -> Iterator["Page"]:
    """A browser of its own, with one page; ``home`` is an empty folder for its profile."""
    from websockets.sync.client import connect

    arguments = [program, *FLAGS, f"--user-data-dir={home}", "about:blank"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = until(lambda: (home / "DevToolsActivePort").read_text().split("\n")[0])
        [target] = until(lambda: [t for t in json.load(urlopen(f"http://127.0.0.1:{port}/json")) if t["type"] == "page"])
        with connect(target["webSocketDebuggerUrl"], max_size=None, compression=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait()


class Page:
    """``requested`` holds the address of everything that was asked for, ``complaints`` what was thrown or logged as an error."""

    def __init__(self, socket):
        self.requested: list[str] = []
        self.complaints: list[str] = []
        self._socket = socket
        self._number = 0
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setFocusEmulationEnabled", enabled=True)

    def send(self, method: str, **parameters):
        """A command's result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._socket.recv(timeout=60))
            if said.get("id") == self._number:
                assert "error" not in said, said
                return said["result"]
            self._note(said["method"], said["params"])

    def _note(self, method: str, said) -> None:
        if method == "Network.requestWillBeSent":
            self.requested.append(said["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(said["exceptionDetails"].get("exception", {}).get("description", "?"))
        elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.complaints.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")

    def open(self, address: str, width: int, height: int, dark: bool = False) -> None:
        """Go to an address, in a window of this size, as a user who prefers this theme."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.send("Page.navigate", url=address)

    def js(self, expression: str):
        """What an expression gives in the page; a promise is awaited."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def click(self, element: str) -> None:
        """Press the mouse on what an expression finds, once it is in sight and stands still."""
        found = f"(e => {{ e?.scrollIntoView({{block: 'nearest'}}); const b = e?.getBoundingClientRect(); return b?.width ? [b.x + b.width / 2, b.y + b.height / 2] : null; }})({element})"
        x, y = until(lambda: (place := self.js(found)) and not time.sleep(0.2) and place == self.js(found) and place, about=element)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def wait(self, expression: str, seconds: float = 60):
        """The expression's value once it is true."""
        return until(lambda: self.js(expression), seconds, expression)

    def photograph(self, path: Path) -> None:
        """The whole page as PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=True)["data"]))


def until(look, seconds: float = 60, about: str = "the browser"):
    """What ``look`` gives once it is true; what it looks at may not be there yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = look()
        except (OSError, IndexError):
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, f"{about}: not within {seconds} s"
        time.sleep(0.1)
