"""Private stores, and the lock that keeps two runs out of one store.

A run that writes to a team's stores holds them from its first step to its end, so that each of its steps finds what the
step before it wrote. Within a run, steps that write to the same store take turns. The lock is the kernel's (`flock`):
it is gone the moment its run worker is, however that ended.
"""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.1
LOCK_NAME = ".lock"


def store_path(root: Path, team: str, store: str) -> Path:
    """Return the folder of a team's store."""
    return root / team / store


class StoreLocks:
    """The stores that one run holds."""

    def __init__(self, holder: str) -> None:
        self._holder = holder
        self._held: dict[Path, int] = {}
        self._turns: dict[Path, threading.Lock] = {}
        self._guard = threading.Lock()

    @contextmanager
    def held(
        self, folder: Path, stores: Mapping[str, str], cancelled: Callable[[], bool], waiting: Callable[[str], None]
    ) -> Iterator[bool]:
        """Hold a team's stores for one step; yield False if the run was cancelled while waiting.

        `waiting` is told once, in words, who holds them when they are not free.
        """
        if "rw" not in stores.values():
            yield True
            return
        with self._guard:
            turn = self._turns.setdefault(folder, threading.Lock())
        while not turn.acquire(timeout=POLL_SECONDS):
            if cancelled():
                yield False
                return
        try:
            yield self._lock(folder, cancelled, waiting)
        finally:
            turn.release()

    def release(self) -> None:
        """Give back every store; called when the run has ended."""
        with self._guard:
            for fd in self._held.values():
                os.close(fd)
            self._held.clear()

    def _lock(self, folder: Path, cancelled: Callable[[], bool], waiting: Callable[[str], None]) -> bool:
        if folder in self._held:
            return True
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        pause, told = threading.Event(), False
        while not cancelled():
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    told = True
                    waiting(os.pread(fd, 200, 0).decode("utf-8", "replace").strip() or "another run")
                pause.wait(POLL_SECONDS)
            else:
                os.truncate(fd, 0)
                os.pwrite(fd, self._holder.encode(), 0)
                with self._guard:
                    self._held[folder] = fd
                return True
        os.close(fd)
        return False
