"""The Docker backend: each step is a fresh, hardened container of its team's own image.

`bulkhead-init` is process 1 of the container. On its stdin it is told what to run, and that stdin is also the lifeline:
when the run worker is gone, the engine closes it, and everything in the container ends. How the workload ended, init
writes to a file that it opens and removes before the workload starts.
"""

import contextlib
import os
import secrets as random
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from docker.errors import APIError

from orchestrator.backends.attached import Attached
from orchestrator.backends.containers import container_config, key_of, order, user
from orchestrator.backends.engine import DOWN, Engine, Image, engine_of
from orchestrator.backends.launch import Launch, LaunchError
from orchestrator.backends.running_container import RunningContainer
from orchestrator.backends.supervision.redaction import Redactor
from orchestrator.settings import Settings

# What the image itself says best; the rest of a step's environment holds in a container as well.
OF_THE_IMAGE = ("PATH",)


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

    def start(self, launch: Launch) -> RunningContainer:
        engine = engine_of(self.settings)
        image = self._image(engine, launch)
        made = self._taken(engine, image, launch) or self._make(engine, image, launch)
        assert made.attached is not None
        _hand_over(launch)
        environment = {name: value for name, value in launch.env.items() if name not in OF_THE_IMAGE}
        made.attached.end_in(launch.stdout, launch.stderr, Redactor(_secrets(launch)))
        running = RunningContainer(engine, launch, made.container, made.attached, made.status_fd, self._remove_later)
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

    def _remove_later(self, engine: Engine, container: str) -> None:
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
        except DOWN as error:
            self._remove(made)
            raise engine.unreachable(error) from error
        except OSError as error:
            self._remove(made)
            raise LaunchError(f"the container could not be made: {error}", infrastructure=True) from error
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
