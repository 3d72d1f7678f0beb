"""Follows a messages file while the workload writes it."""

import os
from collections.abc import Iterator
from pathlib import Path

CHUNK = 1 << 20


class MessageFile:
    """The messages of one step: created here, written by the workload, read line by line as it grows.

    The file is held open from before the launch, so that renaming or replacing it hides nothing that was written to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(fd, "rb", buffering=0)
        self._rest = b""
        self.shrunk = False

    def lines(self) -> Iterator[bytes]:
        """Yield every complete line that was written since the last call."""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self.shrunk = True
        while chunk := self._file.read(CHUNK):
            *complete, self._rest = (self._rest + chunk).split(b"\n") if b"\n" in chunk else (self._rest + chunk,)
            yield from (line for line in complete if line.strip())

    def rest(self) -> bytes:
        """Return what follows the last newline: a message cut off, or nothing."""
        return self._rest.strip()

    def close(self) -> None:
        self._file.close()
