"""A headless Chromium, driven over its DevTools protocol through two pipes: nothing to install but the browser."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 60
KEYS = {"Tab": 9, "Enter": 13, " ": 32}


def find() -> str | None:
    """The browser's program, or None where none is installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Tab:
    """One page. `problems` are all its console errors and uncaught exceptions since it was opened."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._count = 0
        self._session: str | None = None
        self._messages: Queue[dict[str, Any]] = Queue()
        self._events: list[dict[str, Any]] = []
        self.problems: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call the browser and wait for its answer."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        self._process.stdin.flush()
        while (answer := self._next()).get("id") != self._count:
            self._note(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, page: Path) -> None:
        """Load a file, to the end."""
        self._events.clear()
        self.send("Page.navigate", url=page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._note(self._next())

    def show(self, *, width: int, height: int, theme: str) -> None:
        """Pretend to be a screen of this size, whose user prefers the theme "light" or "dark"."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **metrics)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def js(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key, as a person does."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        same = {"key": key, "code": {" ": "Space"}.get(key, key), "windowsVirtualKeyCode": KEYS[key]}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **same)
        self.send("Input.dispatchKeyEvent", type="keyUp", **same)

    def screenshot(self, path: Path) -> bytes:
        """A PNG of the window, also written to `path`."""
        image = base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
        path.write_bytes(image)
        return image

    def _next(self) -> dict[str, Any]:
        try:
            return self._messages.get(timeout=SECONDS)
        except Empty:
            raise TimeoutError(f"chromium said nothing for {SECONDS} s") from None

    def _note(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        params = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.problems.append(json.dumps(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in {"error", "warning", "assert"}:
                self.problems.append(json.dumps(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in {"error", "warning"}:
                self.problems.append(params["entry"]["text"])
            case "Network.requestWillBeSent" if not params["request"]["url"].startswith("file:"):
                self.problems.append(f"asked for {params['request']['url']}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        while block := self._process.stdout.read1(1 << 16):  # type: ignore[attr-defined]
            *whole, rest = (rest + block).split(b"\0")
            for message in whole:
                self._messages.put(json.loads(message))


@contextmanager
def browser(program: str, profile: Path) -> Iterator[Tab]:
    """Start Chromium with a fresh profile and one tab, and end it."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--hide-scrollbars"]
    options += ["--no-first-run", "--disable-background-networking", f"--user-data-dir={profile}"]
    # Chromium reads commands from descriptor 3 and answers on 4.
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null', "sh", program, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Tab(process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
