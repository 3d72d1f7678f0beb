"""Carries a workload's stdout and stderr to the step's logs, as they come, in memory that does not grow."""

import contextlib
import fcntl
import os

from .redaction import Redactor

CHUNK = 1 << 20
F_SETPIPE_SZ = 1031
TAIL = 2000


class Log:
    """Where one stream of a workload ends: an open file, to which secrets are masked.

    `size` counts all that came; `lost` what the file could not take (a full disk); `tail` is the end of what it took.
    """

    def __init__(self, fd: int, redactor: Redactor) -> None:
        self.fd, self.redactor = fd, redactor
        self.size = self.lost = 0
        self.tail = b""
        self._kept = b""

    def take(self, data: bytes) -> None:
        """Write what may be said now; keep what may be the beginning of a secret."""
        self.size += len(data)
        said, self._kept = self.redactor.split(self._kept + data)
        self._write(said)

    def finish(self) -> None:
        """Write what was kept: no more comes."""
        self._write(self.redactor.raw(self._kept))
        self._kept = b""

    def _write(self, data: bytes) -> None:
        self.tail = (self.tail + data)[-TAIL:]
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError:
            self.lost += len(view)


class Stream:
    """One pipe from the workload, and the log that it ends in.

    The workload holds the pipe and never the log, so what was once said cannot be taken back.
    """

    def __init__(self, fd: int, redactor: Redactor) -> None:
        """Put a pipe in the place of `fd`, which was the log, for whatever is started next."""
        self.fd, self.log = fd, Log(os.dup(fd), redactor)
        self.read, write = os.pipe()
        os.set_blocking(self.read, False)
        with contextlib.suppress(OSError):
            fcntl.fcntl(write, F_SETPIPE_SZ, CHUNK)
        os.dup2(write, fd)
        os.close(write)
        self.open = True

    def end_in(self, log: int, redactor: Redactor) -> None:
        """Carry what comes to another log, by another redactor; takes over the descriptor."""
        os.close(self.log.fd)
        self.log = Log(log, redactor)

    def release(self) -> None:
        """Let go of the pipe's write end, so that it ends with the workload."""
        os.dup2(self.log.fd, self.fd)

    def close(self) -> None:
        """Let go of all, unread."""
        os.dup2(self.log.fd, self.fd)
        os.close(self.log.fd)
        os.close(self.read)

    def carry(self) -> bool:
        """Carry what is there, up to a mebibyte; return whether there was anything."""
        try:
            data = os.read(self.read, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.open = False
            return False
        self.log.take(data)
        return True

    def finish(self) -> None:
        """Carry what is left in the pipe after the last writer has gone."""
        while self.open and self.carry():
            pass
        self.log.finish()
