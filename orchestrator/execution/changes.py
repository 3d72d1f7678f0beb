"""Learns from the kernel that a file was written to (inotify), so that nobody has to look again and again."""

import contextlib
import ctypes
import os
import sys
from pathlib import Path

IN_MODIFY = 0x2
NAMES = 4096


class Changes:
    """Tells of writes to one file. `fd` can be read after one; None where the kernel cannot tell, or has no room."""

    def __init__(self, path: Path) -> None:
        self.fd = _watch(path) if sys.platform == "linux" else None

    def seen(self) -> None:
        """Take note of all writes so far; look at the file afterwards."""
        if self.fd is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self.fd, NAMES)

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)


def _watch(path: Path) -> int | None:
    libc = ctypes.CDLL(None)
    fd = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    if fd < 0:
        return None
    if libc.inotify_add_watch(fd, os.fsencode(path), IN_MODIFY) < 0:
        os.close(fd)
        return None
    return fd
