"""The Docker backend: each step is a fresh, hardened container of its team's own image.

`bulkhead-init` is process 1 of the container. On its stdin it is told what to run, and that stdin is also the lifeline:
when the run worker is gone, the engine closes it, and everything in the container ends. How the workload ended, init
writes to a file that it opens and removes before the workload starts.
"""

import contextlib
import json
import os
import secrets as random
import shlex
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound

from orchestrator.backends.attached import Attached
from orchestrator.backends.changes import Changes
from orchestrator.backends.containers import container_config, key_of, order, user
from orchestrator.backends.engine import DOWN, Engine, Image, engine_of
from orchestrator.backends.launch import Launch, LaunchError, Outcome, Stopped, Usage
from orchestrator.backends.readable import readable
from orchestrator.backends.supervision.disk import Disk
from orchestrator.backends.supervision.redaction import Redactor
from orchestrator.settings import Settings

BROKEN = {
    "memory": Stopped.OUT_OF_MEMORY,
    "cpu": Stopped.CPU_TIME,
    "pids": Stopped.PIDS,
    "open_files": Stopped.OPEN_FILES,
}
# How long init may take to kill all, before the engine does.
DEAF_SECONDS = 5.0
# What the image itself says best; the rest of a step's environment holds in a container as well.
OF_THE_IMAGE = ("PATH",)
DISK_SECONDS = 0.5
# How long an engine may be away before a step counts as lost.
AWAY_SECONDS = 60.0
KILLED = 137


@dataclass
class Made:
    """A container that was made for a launch, and waits for its order; `failure` is why it could not be made."""

    scratch: Path
    key: str
    done: threading.Event
    container: str = ""
    attached: Attached | None = None
    status: str = ""
    status_fd: int = -1
    failure: LaunchError | None = None


class DockerBackend:
    """Starts steps as containers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def tier(self) -> str:
        return "docker"

    def image(self, launch: Launch) -> str | None:
        return self._image(engine_of(self.settings), launch).id

    def expect(self) -> None:
        """Connect to the engine; what is wrong with it is told at the launch."""
        with contextlib.suppress(LaunchError):
            engine_of(self.settings)

    def make_ready(self, launch: Launch) -> None:
        made = Made(launch.scratch, "", threading.Event())
        with _guard:
            unused = _READY.pop(os.getpid(), None)
            _READY[os.getpid()] = made
        if unused is not None:
            self._remove(unused)
        threading.Thread(target=self._make_ready, args=(launch, made), name="make ready", daemon=True).start()

    def discard(self) -> None:
        with _guard:
            unused = _READY.pop(os.getpid(), None)
        if unused is not None:
            self._remove(unused)
        self.finish()

    def finish(self) -> None:
        """Return when nothing is left of the steps that have ended."""
        with _guard:
            removing = [thread for process, thread in _REMOVING if process == os.getpid()]
            _REMOVING[:] = [entry for entry in _REMOVING if entry[0] == os.getpid() and entry[1].is_alive()]
        for thread in removing:
            thread.join()

    def collect(self, alive: Callable[[str], bool]) -> list[str]:
        engine = engine_of(self.settings)
        try:
            return engine.left_behind(alive)
        except (APIError, *DOWN) as error:
            raise engine.unreachable(error) from error

    def start(self, launch: Launch) -> "RunningContainer":
        engine = engine_of(self.settings)
        image = self._image(engine, launch)
        made = self._taken(engine, image, launch) or self._make(engine, image, launch)
        assert made.attached is not None
        _hand_over(launch)
        environment = {name: value for name, value in launch.env.items() if name not in OF_THE_IMAGE}
        made.attached.end_in(launch.stdout, launch.stderr, Redactor(_secrets(launch)))
        running = RunningContainer(self, engine, launch, made)
        with contextlib.suppress(OSError):
            # If nobody reads it, the container has ended: how, is found out by whoever waits.
            made.attached.send(order(launch, environment))
        return running

    def by_hand(
        self, launch: Launch, shown: Mapping[str, str], secrets: Sequence[str], arguments: Sequence[str]
    ) -> str:
        words = ["docker", "run", "--rm", "--user", "{}:{}".format(*user())]
        words += ["--network", self.settings.docker_network if launch.network else "none"]
        if launch.limits.memory:
            words += ["--memory", str(launch.limits.memory)]
        kept = {name: value for name, value in shown.items() if name not in OF_THE_IMAGE}
        words += [word for name, value in kept.items() for word in ("--env", f"{name}={value}")]
        words += [word for name in secrets for word in ("--env", name)]
        for mount in launch.mounts:
            words += ["--volume", f"{mount.path}:{mount.path}{'' if mount.writable else ':ro'}"]
        return shlex.join([*words, self.settings.image_reference(launch.image), *launch.argv, *arguments])

    def remove_later(self, engine: Engine, container: str) -> None:
        """Remove a container without waiting for it; `finish` waits."""
        self._later(lambda: _removed(engine, container))

    def _later(self, act: Callable[[], None]) -> None:
        thread = threading.Thread(target=act, name="remove", daemon=True)
        thread.start()
        with _guard:
            _REMOVING.append((os.getpid(), thread))

    def _image(self, engine: Engine, launch: Launch) -> Image:
        return engine.image(launch.image, f"team {launch.labels['team']}")

    def _make_ready(self, launch: Launch, made: Made) -> None:
        try:
            engine = engine_of(self.settings)
            self._fill(made, engine, self._image(engine, launch), launch)
        except LaunchError as error:
            made.failure = error
        except (APIError, OSError, *DOWN) as error:
            made.failure = LaunchError(str(error), infrastructure=True)
        finally:
            made.done.set()

    def _make(self, engine: Engine, image: Image, launch: Launch) -> Made:
        made = Made(launch.scratch, "", threading.Event())
        made.done.set()
        try:
            self._fill(made, engine, image, launch)
        except APIError as error:
            self._remove(made)
            text = f"the engine refused the container: {str(error.explanation or error).strip()}"
            raise LaunchError(text, infrastructure=True) from error
        except (OSError, *DOWN) as error:
            self._remove(made)
            raise engine.unreachable(error) from error
        return made

    def _fill(self, made: Made, engine: Engine, image: Image, launch: Launch) -> None:
        """Create a container, hold its ends, and start it; it then waits for its order."""
        token = random.token_hex(4)
        made.status = str(launch.scratch / f"status-{token}")
        # Init removes its name; what it writes is read through this.
        made.status_fd = os.open(made.status, os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_CLOEXEC, 0o600)
        _hand_over(launch)
        config = container_config(engine, image, launch, made.status, engine.path(engine.init()))
        made.key = key_of(config, made.status)
        name = "-".join(("bulkhead", launch.labels["team"], launch.labels["step"], launch.labels["run"][:8], token))
        made.container = engine.api.create_container_from_config(config, name=name)["Id"]
        streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        made.attached = Attached(engine.api.attach_socket(made.container, params=streams))
        engine.api.start(made.container)

    def _taken(self, engine: Engine, image: Image, launch: Launch) -> Made | None:
        """Return the container that was made ready, if it fits; remove it if it does not."""
        with _guard:
            made = _READY.get(os.getpid())
            if made is None or made.scratch != launch.scratch:
                return None
            del _READY[os.getpid()]
        made.done.wait()
        if made.failure is None:
            config = container_config(engine, image, launch, made.status, engine.path(engine.init()))
            if made.key == key_of(config, made.status):
                return made
        self._remove(made)
        return None

    def _remove(self, made: Made) -> None:
        """Remove a container that was never used, when it has been made; `finish` waits for that."""

        def act() -> None:
            made.done.wait()
            if made.attached is not None:
                made.attached.close()
            if made.status_fd >= 0:
                os.close(made.status_fd)
            if made.container:
                _removed(engine_of(self.settings), made.container)

        self._later(act)


_guard = threading.Lock()
# What is ready, and what is being removed, by process: a forked one has neither.
_READY: dict[int, Made] = {}
_REMOVING: list[tuple[int, threading.Thread]] = []


class RunningContainer:
    """One step's container."""

    def __init__(self, backend: DockerBackend, engine: Engine, launch: Launch, made: Made) -> None:
        assert made.attached is not None
        self._backend, self._engine, self._launch = backend, engine, launch
        self.container, self._attached = made.container, made.attached
        self._status = made.status_fd
        self._changes = Changes(Path(f"/proc/self/fd/{made.status_fd}"))
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
        keeps = self._backend.settings.keep_failed and (state or {}).get("ExitCode") != 0
        if state is not None and not keeps:
            self._backend.remove_later(self._engine, self.container)
        if "error" in words:
            image = self._backend.settings.image_reference(self._launch.image)
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


def _removed(engine: Engine, container: str) -> None:
    # What cannot be removed now is found by its labels later.
    with contextlib.suppress(APIError, *DOWN):
        engine.remove(container)


def _secrets(launch: Launch) -> list[str]:
    """Return the values that nobody may read in a log."""
    if launch.secrets is None:
        return []
    return [path.read_bytes().decode("utf-8", "surrogateescape") for path in launch.secrets.iterdir()]


def _hand_over(launch: Launch) -> None:
    """Give the folders of a step to the user that it runs as; done by root alone, as nobody else can or needs to."""
    if os.getuid():
        return
    owner, group = user()
    for folder in (launch.scratch, *(mount.path for mount in launch.mounts if mount.writable)):
        if folder is not launch.scratch and folder.stat().st_uid == owner:
            continue
        for _, folders, files, fd in os.fwalk(folder, follow_symlinks=False):
            for name in (*folders, *files):
                with contextlib.suppress(FileNotFoundError):
                    os.chown(name, owner, group, dir_fd=fd, follow_symlinks=False)
        os.chown(folder, owner, group)
