"""One step's container while it runs: its output, its limits, its end, and how that came about."""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound

from orchestrator.backends.attached import Attached
from orchestrator.backends.changes import Changes
from orchestrator.backends.engine import DOWN, Engine
from orchestrator.backends.launch import BROKEN, Launch, LaunchError, Outcome, Stopped, Usage
from orchestrator.backends.readable import readable
from orchestrator.backends.supervision.disk import Disk

# How long init may take to kill all, before the engine does.
DEAF_SECONDS = 5.0
DISK_SECONDS = 0.5
# How long an engine may be away before a step counts as lost.
AWAY_SECONDS = 60.0
KILLED = 137


class RunningContainer:
    """One step's container."""

    def __init__(
        self,
        engine: Engine,
        launch: Launch,
        container: str,
        attached: Attached,
        status: int,
        remove: Callable[[Engine, str], None],
    ) -> None:
        """`status` is the file that init writes to, open; `remove` removes a container without waiting for it."""
        self._engine, self._launch, self._remove = engine, launch, remove
        self.container, self._attached, self._status = container, attached, status
        self._changes = Changes(Path(f"/proc/self/fd/{status}"))
        self._disk = Disk([str(launch.scratch), *(str(m.path) for m in launch.mounts if m.writable)], [launch.stdout])
        self._launched, self._started = time.monotonic(), 0.0
        self._disk_due = self._launched + DISK_SECONDS
        self._broken: Stopped | None = None
        self._written = 0
        self._stops = False
        self._stopping: list[tuple[float, Callable[[], None]]] = []

    @property
    def started(self) -> bool:
        return self._started > 0

    def wait(self, seconds: float, also: Sequence[int] = ()) -> Outcome | None:
        until = time.monotonic() + seconds
        while True:
            self._go_on_stopping()
            due = min((when for when, _ in self._stopping), default=until)
            pause = max(0.0, min(until, due, self._disk_due) - time.monotonic())
            changed = [] if self._changes.fd is None else [self._changes.fd]
            found = readable([self._attached.fileno(), *changed, *also], pause)
            news = self._look() if not self.started else False
            if self._attached.fileno() in found and not self._attached.carry():
                return self._end()
            self._hold()
            if news or found & set(also) or time.monotonic() >= until:
                return None

    def stop(self) -> None:
        self._stops = True
        now, grace = time.monotonic(), self._launch.grace
        asks = [(now, lambda: self._send("SIGINT")), (now + grace, lambda: self._send("SIGTERM"))]
        self._stopping = [*asks, *self._killing(2 * grace)]

    def _look(self) -> bool:
        """Return whether init says now that the workload has started."""
        self._changes.seen()
        if os.pread(self._status, 12, 0).startswith(b'{"started"'):
            self._started = time.monotonic()
        return self.started

    def _killing(self, seconds: float) -> list[tuple[float, Callable[[], None]]]:
        """Return what is done to end everything after so many seconds: init does it, or else the engine."""
        when = time.monotonic() + seconds
        return [(when, self._attached.end_stdin), (when + DEAF_SECONDS, lambda: self._send("SIGKILL"))]

    def _go_on_stopping(self) -> None:
        while self._stopping and time.monotonic() >= self._stopping[0][0]:
            self._stopping.pop(0)[1]()

    def _send(self, name: str) -> None:
        """Send a signal. The engine answers when a killed container's output was read, so this waits for no answer."""
        threading.Thread(target=self._send_now, args=(name,), name="signal", daemon=True).start()

    def _send_now(self, name: str) -> None:
        with contextlib.suppress(APIError, *DOWN):
            self._engine.api.kill(self.container, name)

    def _hold(self) -> None:
        """Hold what neither the engine nor init does: how much it writes."""
        limit = self._launch.limits.output
        if self._broken is None and limit is not None and self._output() > limit:
            self._break(Stopped.OUTPUT)
        if time.monotonic() >= self._disk_due:
            self._disk_due = time.monotonic() + DISK_SECONDS
            self._written = max(self._written, self._disk.fills([], self._attached.size))
            if self._written and self._broken is None:
                self._break(Stopped.DISK)

    def _break(self, reason: Stopped) -> None:
        self._broken = reason
        self._stopping = self._killing(0)

    def _output(self) -> int:
        with contextlib.suppress(OSError):
            return self._attached.size + self._launch.messages.lstat().st_size
        return self._attached.size

    def _end(self) -> Outcome:
        if not self.started:
            self._look()
        ended = time.monotonic()
        words: dict[str, Any] = {}
        for line in os.pread(self._status, 1 << 16, 0).splitlines():
            words.update(json.loads(line))
        os.close(self._status)
        self._changes.close()
        self._attached.close()
        state = self._state()
        keeps = self._engine.settings.keep_failed and (state or {}).get("ExitCode") != 0
        if state is not None and not keeps:
            self._remove(self._engine, self.container)
        if "error" in words:
            image = self._engine.settings.image_reference(self._launch.image)
            raise LaunchError(f"the command could not be executed in the image {image}: {words['error']}")
        stopped = self._broken or BROKEN.get(words.get("broken") or "")
        if stopped is None and (state or {}).get("OOMKilled"):
            stopped = Stopped.OUT_OF_MEMORY
        lost, number = None, words.get("signal")
        if "exit" not in words and number is None:
            # Init has the last word, unless it was killed with the whole container.
            if stopped is not None or self._stops:
                number = int(signal.SIGKILL)
            else:
                lost = _loss(state)
        limit = self._launch.limits.memory
        memory = words.get("memory", 0)
        if stopped is Stopped.OUT_OF_MEMORY and limit:
            memory = max(memory, limit)
        started = self._started or ended
        return Outcome(
            exit_code=words.get("exit") if stopped is None else None,
            signal=number,
            stopped=stopped,
            lost=lost,
            left_behind=words.get("left", 0),
            usage=Usage(
                memory=memory,
                cpu_seconds=words.get("cpu", 0.0),
                pids=words.get("pids", 0),
                open_files=words.get("open_files", 0),
                output=self._output(),
                output_lost=self._attached.lost,
                disk=self._written,
                starting=started - self._launched,
                seconds=ended - started,
            ),
        )

    def _state(self) -> dict[str, Any] | None:
        """Return how the engine says that the container ended; None if there is no such container any more.

        Raises:
            LaunchError: no engine answers, for a minute.
        """
        until = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                self._engine.api.wait(self.container)
                state: dict[str, Any] = self._engine.api.inspect_container(self.container)["State"]
                return state
            except NotFound:
                return None
            except (APIError, *DOWN) as error:
                if time.monotonic() > until:
                    raise self._engine.unreachable(error) from error
                time.sleep(0.5)


def _loss(state: Mapping[str, Any] | None) -> str:
    """Return what is known of a container that ended without a word."""
    if state is None:
        return "its container was removed from outside"
    if state.get("ExitCode") == KILLED:
        return "its container was killed from outside"
    return (
        f"its container ended with code {state.get('ExitCode')}: {state.get('Error') or 'the engine gives no reason'}"
    )
