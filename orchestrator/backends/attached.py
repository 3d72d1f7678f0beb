"""Carries what a container writes to the step's logs, as it comes, in memory that does not grow."""

import contextlib
import socket
from typing import Any

from orchestrator.backends.supervision.output import Log
from orchestrator.backends.supervision.redaction import Redactor

CHUNK = 1 << 18
HEADER = 8
STDOUT, STDERR = 1, 2
PATIENCE_SECONDS = 30.0


class Attached:
    """The engine's connection to a container's stdin, stdout and stderr.

    What arrives is in frames: one byte that names the stream, three of nothing, four with the length (big-endian).
    """

    def __init__(self, raw: Any) -> None:
        """`raw` is what the Docker SDK's `attach_socket` returned; it is closed with this."""
        self._raw = raw
        self._socket: socket.socket = getattr(raw, "_sock", raw)
        self._logs: dict[int, Log] = {}
        self._head = b""
        self._left = self._stream = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        """Write to the container's stdin.

        Raises:
            OSError: nobody reads there any more.
        """
        self._socket.settimeout(PATIENCE_SECONDS)
        self._socket.sendall(data)
        self._socket.setblocking(False)

    def end_stdin(self) -> None:
        """End the container's stdin, by which init kills all and says how it was."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def end_in(self, stdout: int, stderr: int, redactor: Redactor) -> None:
        """Say which logs the streams end in."""
        self._logs = {STDOUT: Log(stdout, redactor), STDERR: Log(stderr, redactor)}

    @property
    def size(self) -> int:
        return sum(log.size for log in self._logs.values())

    @property
    def lost(self) -> int:
        return sum(log.lost for log in self._logs.values())

    def carry(self) -> bool:
        """Carry what is there, up to 256 KiB; return False if the container has ended."""
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        self._take(data)
        if not data:
            for log in self._logs.values():
                log.finish()
        return bool(data)

    def close(self) -> None:
        """Let go; a container whose stdin this was ends."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._raw.close()
            self._socket.close()

    def _take(self, data: bytes) -> None:
        while data:
            if self._left:
                part, data = data[: self._left], data[self._left :]
                self._left -= len(part)
                if (log := self._logs.get(self._stream)) is not None:
                    log.take(part)
                continue
            missing = HEADER - len(self._head)
            self._head, data = self._head + data[:missing], data[missing:]
            if len(self._head) == HEADER:
                self._stream, self._left = self._head[0], int.from_bytes(self._head[4:], "big")
                self._head = b""
