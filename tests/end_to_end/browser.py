"""A headless Chromium, driven over its own debugging protocol: open a page, wait for words, take a picture."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
]


def find_chromium() -> str | None:
    """Return the path of a Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def needs_chromium() -> None:
    """Skip a test where there is no Chromium, saying so; in CI that is a failure."""
    if find_chromium() is None:
        message = "NOT RUN: no Chromium on this machine, so the UI was not looked at"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


class Page:
    """One tab."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._count = 0

    def call(self, method: str, **params: Any) -> Any:
        self._count += 1
        self._connection.send(json.dumps({"id": self._count, "method": method, "params": params}))
        while True:
            answer = json.loads(self._connection.recv(timeout=60))
            if answer.get("id") == self._count:
                return answer["result"]

    def text(self) -> str:
        """Return the words that a person sees on the page."""
        result = self.call("Runtime.evaluate", expression="document.body ? document.body.innerText : ''")
        return str(result["result"].get("value", ""))

    def run(self, script: str) -> Any:
        return self.call("Runtime.evaluate", expression=script, awaitPromise=True)["result"].get("value")

    def open(self, url: str, words: Sequence[str], seconds: float = 60) -> None:
        """Open a page and wait until it shows all words (case does not matter).

        Raises:
            TimeoutError: they did not appear; carries what did.
        """
        self.call("Page.navigate", url=url)
        self.wait(words, seconds)

    def wait(self, words: Sequence[str], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while missing := [word for word in words if word.lower() not in self.text().lower()]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the page never showed {missing}; it shows:\n{self.text()[:3000]}")
            time.sleep(0.3)

    def until(self, condition: str, seconds: float = 30) -> None:
        """Wait until a JavaScript condition holds.

        Raises:
            TimeoutError: it did not.
        """
        deadline = time.monotonic() + seconds
        while not self.run(condition):
            if time.monotonic() > deadline:
                raise TimeoutError(f"this never became true on the page: {condition}")
            time.sleep(0.3)

    def click(self, label: str) -> None:
        """Click the innermost visible element whose text is `label`.

        Raises:
            LookupError: there is none.
        """
        script = f"""(() => {{
          const want = {json.dumps(label)};
          const nodes = [...document.querySelectorAll('button, a, [role=button], [role=tab], div, span')];
          const hits = nodes.filter(n => n.innerText && n.innerText.trim() === want && n.offsetParent !== null);
          const hit = hits.at(-1);
          if (!hit) return false;
          hit.click(); return true;
        }})()"""
        deadline = time.monotonic() + 30
        while not self.run(script):
            if time.monotonic() > deadline:
                raise LookupError(f"nothing to click says {label!r}")
            time.sleep(0.3)

    def picture(self, path: Path) -> None:
        time.sleep(1.5)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def chromium(width: int = 1500, height: int = 950) -> Iterator[Page]:
    """Start a browser with one tab of the given size in pixels.

    Raises:
        FileNotFoundError: no Chromium is installed.
    """
    program = find_chromium()
    if program is None:
        raise FileNotFoundError(f"no Chromium found (looked for {', '.join(NAMES)})")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, *FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = _port(Path(profile) / "DevToolsActivePort")
            with connect(f"ws://127.0.0.1:{port}{_tab(port)}", max_size=None) as connection:
                page = Page(connection)
                page.call("Page.enable")
                size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
                page.call("Emulation.setDeviceMetricsOverride", **size)
                yield page
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def _port(file: Path) -> int:
    deadline = time.monotonic() + 60
    while not file.is_file() or not file.read_text().strip():
        if time.monotonic() > deadline:
            raise TimeoutError("Chromium did not open its debugging port")
        time.sleep(0.1)
    return int(file.read_text().splitlines()[0])


def _tab(port: int) -> str:
    from urllib.request import urlopen

    with urlopen(f"http://127.0.0.1:{port}/json", timeout=30) as answer:
        tabs = json.load(answer)
    address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
    return str(address).split(str(port), 1)[1]
