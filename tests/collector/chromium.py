"""A real browser without a window: Chromium, told over a pipe what to do (the Chrome DevTools Protocol)."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # which root cannot have
    "--allow-pre-commit-input",  # keys that come before the first frame is drawn are dropped without it
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
)
# Chromium reads the protocol from descriptor 3 and writes to 4.
PIPES = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, wanted in zip(ends, (3, 4)):
    os.dup2(end, wanted)
    os.close(end)
os.execv(sys.argv[3], sys.argv[3:])
"""
WATCH = """
window.problems = [];
document.addEventListener("securitypolicyviolation",
    (event) => problems.push(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
window.addEventListener("error", (event) => problems.push(`error: ${event.message}`));
window.addEventListener("unhandledrejection", (event) => problems.push(`rejection: ${event.reason}`));
"""
# Not the event of the protocol, which may still come for the page before.
LOADED = "performance.getEntriesByType('navigation')[0]?.loadEventEnd > 0"
CODES = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
PATIENCE = 60.0  # seconds


def find() -> str | None:
    """Return the path of Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A Chromium with a profile of its own; a context manager."""

    def __enter__(self) -> Browser:
        path = find()
        assert path
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        reads, self._write = os.pipe()
        self._read, writes = os.pipe()
        command = [sys.executable, "-c", PIPES, str(reads), str(writes)]
        self._process = subprocess.Popen(
            [*command, path, *FLAGS, f"--user-data-dir={self._profile.name}"],
            pass_fds=(reads, writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(reads)
        os.close(writes)
        self._numbers = itertools.count(1)
        self._rest = b""
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.call("Browser.close")
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._read)
            os.close(self._write)
            self._profile.cleanup()

    def tab(self, width: int = 1280, height: int = 800, *, script: bool = True, dark: bool = False) -> Tab:
        """Return a new, empty page."""
        return Tab(self, width, height, script=script, dark=dark)

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """Return the result of a command."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        self._send(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            pass  # an event
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def _send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._write, data) :]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._read, 1 << 20)
            assert data, "Chromium has ended"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


class Tab:
    """One page of a browser."""

    def __init__(self, browser: Browser, width: int, height: int, *, script: bool, dark: bool) -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._call("Page.enable")
        self._call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700
        )
        self.prefer(dark=dark)
        if not script:
            self._call("Emulation.setScriptExecutionDisabled", value=True)

    def _call(self, method: str, **params: Any) -> Any:
        return self._browser.call(method, self._session, **params)

    def prefer(self, *, dark: bool) -> None:
        """Say which colours the reader's system has."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> Tab:
        """Go to an address and return once it has loaded."""
        self._call("Page.navigate", url=url)
        self.wait(LOADED)
        return self

    def run(self, expression: str) -> Any:
        """Return the value of some JavaScript, a promise's when it has come."""
        answer = self._evaluate(expression)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def _evaluate(self, expression: str) -> Any:
        return self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)

    def wait(self, condition: str) -> Any:
        """Return what some JavaScript is once it is true. While a page comes it may fail."""
        end = time.monotonic() + PATIENCE
        while not (found := self._evaluate(condition)["result"].get("value")):
            assert time.monotonic() < end, f"never true: {condition}; problems: {self.problems}"
            time.sleep(0.02)
        return found

    def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        for key in keys:
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            params = {"key": key, "windowsVirtualKeyCode": CODES.get(key, 0)}
            self._call("Input.dispatchKeyEvent", type="keyDown", text=text, **params)
            self._call("Input.dispatchKeyEvent", type="keyUp", **params)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self._call("Input.insertText", text=text)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw with the left button from one point of the window to another."""
        self.mouse("mousePressed", start)
        self.mouse("mouseMoved", ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
        self.mouse("mouseMoved", end)
        self.mouse("mouseReleased", end)

    def click(self, at: tuple[float, float]) -> None:
        self.mouse("mousePressed", at)
        self.mouse("mouseReleased", at)

    def mouse(self, kind: str, at: tuple[float, float]) -> None:
        self._call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", buttons=1, clickCount=1)

    def cpu(self) -> float:
        """How many seconds of CPU the main thread of this page has used: what else runs adds nothing."""
        self._call("Performance.enable", timeDomain="threadTicks")
        metrics = self._call("Performance.getMetrics")["metrics"]
        return sum(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")

    @property
    def problems(self) -> list[str]:
        """What went against the content policy, and errors of scripts."""
        found: list[str] = self.run("window.problems")
        return found

    @property
    def overflow(self) -> int:
        """How many pixels the page is wider than the window."""
        found: int = self.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return found

    @property
    def clipped(self) -> list[str]:
        """The beginning of every box with content beyond its right edge that a reader cannot scroll to."""
        boxes = "[...document.querySelectorAll('.card')].filter((one) => getComputedStyle(one).overflowX == 'hidden')"
        wider = f"{boxes}.filter((one) => one.scrollWidth > one.clientWidth)"
        found: list[str] = self.run(f"{wider}.map((one) => one.outerHTML.slice(0, 100))")
        return found

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        data = self._call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))
