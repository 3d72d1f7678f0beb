"""Follows a messages file while the workload writes it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from orchestrator.backends.changes import Changes

CHUNK = 1 << 20
# A line is held in memory as a whole, and as JSON takes many times its size.
MAX_LINE = 16 << 20
MAX_BYTES = 256 << 20


class MessageFile:
    """The messages of one step: created here, written by the workload, read line by line as it grows.

    The file is held open from before the launch, so that renaming or replacing it hides nothing that was written to it.
    What it holds beyond 256 MiB is not read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(fd, "rb", buffering=0)
        self.changes = Changes(path)
        self._parts: list[bytes] = []
        self._length = 0
        self._made = os.fstat(fd)
        self.shrunk = False
        self.too_long = False

    @property
    def too_much(self) -> bool:
        """Whether it holds more than is read."""
        return os.fstat(self._file.fileno()).st_size > MAX_BYTES

    def lines(self) -> Iterator[bytes]:
        """Yield every complete line that was written since the last call."""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self.shrunk = True
        while (room := MAX_BYTES - self._file.tell()) > 0 and (chunk := self._file.read(min(CHUNK, room))):
            first, *others = chunk.split(b"\n")
            self._keep(first)
            for line in others:
                complete, self._parts, self._length = b"".join(self._parts), [], 0
                if complete.strip():
                    yield complete
                self._keep(line)

    def rest(self) -> bytes:
        """Return what follows the last newline: a message cut off by the workload, or nothing."""
        return b"" if self.too_much else b"".join(self._parts).strip()

    def replaced(self) -> str | None:
        """Return what stands in the place of the file, if it is not the file any more; None if it still is."""
        try:
            found = os.lstat(self.path)
        except OSError:
            return "nothing (it was deleted)"
        if (found.st_dev, found.st_ino) == (self._made.st_dev, self._made.st_ino):
            return None
        kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a FIFO", stat.S_IFDIR: "a folder"}
        return kinds.get(stat.S_IFMT(found.st_mode), "another file")

    def _keep(self, part: bytes) -> None:
        """Keep a part of a line; of a line past the limit only its beginning is kept."""
        self._length += len(part)
        if self._length <= MAX_LINE:
            self._parts.append(part)
        else:
            self.too_long = True

    def close(self) -> None:
        self._file.close()
        self.changes.close()
