"""Learns from the kernel that a file was written to (inotify), so that nobody has to look again and again."""

import contextlib
import ctypes
import os
import queue
import sys
from pathlib import Path

IN_MODIFY = 0x2
SIZE = 4096
# To close an instance takes the kernel tens of milliseconds; the next step takes it over instead.
_idle: "queue.SimpleQueue[int]" = queue.SimpleQueue()


class Changes:
    """Tells of writes to one file. `fd` can be read after one; None where the kernel cannot tell, or has no room."""

    def __init__(self, path: Path) -> None:
        self.fd = _instance() if sys.platform == "linux" else None
        self._watch = -1
        if self.fd is not None:
            self._watch = int(ctypes.CDLL(None).inotify_add_watch(self.fd, os.fsencode(path), IN_MODIFY))
            if self._watch < 0:
                self.close()

    def seen(self) -> None:
        """Take note of all writes so far; look at the file afterwards."""
        if self.fd is not None:
            with contextlib.suppress(BlockingIOError):
                while os.read(self.fd, SIZE):
                    pass

    def close(self) -> None:
        """Watch no longer."""
        if self.fd is not None:
            if self._watch >= 0:
                ctypes.CDLL(None).inotify_rm_watch(self.fd, self._watch)
            self.seen()
            _idle.put(self.fd)
            self.fd = None


def _instance() -> int | None:
    """Return an inotify instance that watches nothing."""
    with contextlib.suppress(queue.Empty):
        return _idle.get_nowait()
    fd = int(ctypes.CDLL(None).inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    return fd if fd >= 0 else None
