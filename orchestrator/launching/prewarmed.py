"""The prewarmed process: it has imported Dagster and read the contracts, and forks a run worker for each run.

`python -m orchestrator.launching.prewarmed OWNER` serves one home until the process OWNER ends. It has one thread, no
connection to a database, and keeps nothing of a run: each is a fork, which takes its request itself, so that nobody who
connects can make the others wait. When a contract, or the platform's own code, has changed, it replaces itself before
it takes the next run.

Dagster is imported once the socket is there: whoever asks for a run meanwhile waits for it.
"""

import contextlib
import fcntl
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator.backends.supervision.processes import children
from orchestrator.launching.channel import COMMAND, listen
from orchestrator.settings import Settings, read_settings

LOCK = "prewarmed.lock"
Stamp = tuple[tuple[str, int, int], ...]


class Prewarmed:
    """The contracts of one home, loaded, and the socket that runs are asked for on."""

    def __init__(self, settings: Settings, owner: int, lock: int, listener: socket.socket) -> None:
        """`owner` is a descriptor of the process that this one ends with."""
        self.settings, self.owner, self.lock, self.listener = settings, owner, lock, listener
        self.stamp: Stamp = ()

    def serve(self) -> None:
        """Fork run workers until the owner ends; then stop those that still run."""
        self.load()
        from orchestrator.launching.worker import mark_lost_runs

        # The rehearsal of a run has left SIGTERM as ignored as SIGINT is.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        ended = _told_of_children()
        _reap(ended)
        watched = [self.listener.fileno(), ended, self.owner]
        while self.owner not in (ready := select.select(watched, [], [])[0]):
            if ended in ready and _reap(ended):
                self._fork(lambda: mark_lost_runs(self.settings))
            if self.listener.fileno() in ready:
                if self.stamp != stamp(self.settings):
                    replace(self.owner, self.lock, self.listener.fileno())
                self._answer()
        for pid in children(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def load(self) -> None:
        """Import what a run worker needs, and load every sound team's definitions.

        Raises:
            RuntimeError: something has started a thread, so that this process cannot be forked safely.
        """
        from orchestrator import definitions
        from orchestrator.execution.platform import load_platform
        from orchestrator.launching.worker import rehearse

        self.stamp = stamp(self.settings)
        platform = load_platform()
        for team in platform.catalog.sound:
            # A team that cannot be loaded is told by its code location; its runs fail as they would without this.
            with contextlib.suppress(Exception):
                loaded = definitions.team_definitions(team, platform)
                loaded.get_repository_def().get_all_jobs()
                setattr(definitions, team, loaded)
        rehearse()
        if len(list(Path("/proc/self/task").iterdir())) != 1:
            raise RuntimeError("more than one thread: not safe to fork")
        gc.collect()
        gc.freeze()

    def _answer(self) -> None:
        """Leave whoever has connected to a process of its own."""
        from orchestrator.launching.worker import work

        with contextlib.suppress(OSError):
            channel, _ = self.listener.accept()
            with channel:
                self._fork(lambda: work(channel))

    def _fork(self, do: Callable[[], None]) -> None:
        """Do something in a process of its own."""
        if os.fork() == 0:
            become(do, [self.listener.fileno(), self.owner, self.lock])


def become(do: Callable[[], None], foreign: Sequence[int]) -> None:
    """Do something, and end. `foreign` are descriptors that belong to the prewarmed process."""
    code = 1
    try:
        for fd in foreign:
            os.close(fd)
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        do()
        code = 0
    except BaseException:  # noqa: BLE001 (the child must never return)
        sys.excepthook(*sys.exc_info())
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def stamp(settings: Settings) -> Stamp:
    """Return what tells whether the contracts, or the platform's own code, have changed: files, times, sizes."""
    package = Path(__file__).resolve().parent.parent
    files = [settings.workspace, *settings.workloads.glob("*/defs.yaml"), *package.rglob("*.py")]
    found = []
    for file in sorted(files):
        with contextlib.suppress(OSError):
            status = file.stat()
            found.append((str(file), status.st_mtime_ns, status.st_size))
    return tuple(found)


def _told_of_children() -> int:
    """Return a descriptor that can be read when a child has ended."""
    read, write = os.pipe()
    for fd in (read, write):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return read


def _reap(ended: int) -> bool:
    """Collect the run workers that have ended; return whether one was killed, which no event log can say."""
    killed = False
    with contextlib.suppress(BlockingIOError):
        os.read(ended, 4096)
    with contextlib.suppress(ChildProcessError):
        while (child := os.waitpid(-1, os.WNOHANG))[0] != 0:
            killed = killed or os.WIFSIGNALED(child[1])
    return killed


def replace(*kept: int) -> None:
    """Begin this process anew with these descriptors; who asks meanwhile, waits. Returns only by raising."""
    for fd in kept:
        os.set_inheritable(fd, True)
    os.execv(COMMAND[0], [*COMMAND, *map(str, kept)])


def main() -> None:
    settings = read_settings()
    arguments = [int(word) for word in sys.argv[1:]]
    if len(arguments) > 1:
        owner, lock, listening = arguments
        for fd in arguments:
            os.set_inheritable(fd, False)
        listener = socket.socket(fileno=listening)
    else:
        owner = os.pidfd_open(arguments[0])
        lock = os.open(settings.home / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        listener = listen(settings.home)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Prewarmed(settings, owner, lock, listener).serve()


if __name__ == "__main__":
    main()
