"""How the prewarmed process is reached: over a socket in the platform's home, with JSON lines.

Who connects gets a fork of its own, and sends it a request. The fork answers who it is, and begins when it is told to:
if the one who asked gives up before that, nothing has happened.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.errors import BulkheadError
from orchestrator.settings import Settings

COMMAND = [sys.executable, "-m", "orchestrator.launching.prewarmed"]
NAME = "prewarmed.sock"
# Names, for all that `bulkhead ui` starts, the process that a prewarmed one ends with.
OWNER_VARIABLE = "BULKHEAD_OWNER"
# A process that is just reading changed contracts answers when it has.
PATIENCE_SECONDS = 10.0
BEGIN = {"begin": True}
MAX_LINE = 1 << 20


class NotThere(BulkheadError):
    """No prewarmed process took the request; says why."""


def start(settings: Settings) -> None:
    """Start the prewarmed process, unless it is switched off or runs already; it takes a moment until it answers.

    It ends with the process that `BULKHEAD_OWNER` names; without that variable none is started.
    """
    owner = settings.environment.get(OWNER_VARIABLE, "")
    if settings.prewarm != "off" and owner.isdigit() and hasattr(os, "pidfd_open"):
        subprocess.Popen([*COMMAND, owner], stdin=subprocess.DEVNULL, start_new_session=True)


@contextmanager
def forked(settings: Settings, request: Mapping[str, Any]) -> Iterator[str]:
    """Send a request and yield the identity of the process that waits to execute it.

    It begins when the block ends, and never if the block raises.

    Raises:
        NotThere: there is no prewarmed process, or it refused; nothing was begun.
    """
    with _connected(settings.home) as channel:
        with _as_not_there():
            send_line(channel, request)
            answer = read_line(channel)
        if "worker" not in answer:
            raise NotThere(f"the prewarmed process refused ({answer.get('refused')})")
        yield str(answer["worker"])
        with _as_not_there():
            send_line(channel, BEGIN)


def listen(home: Path) -> socket.socket:
    """Return a socket that listens in a home, in the place of one that a dead process left."""
    listener = socket.socket(socket.AF_UNIX)
    with _folder(home) as folder:
        (Path(folder) / NAME).unlink(missing_ok=True)
        listener.bind(f"{folder}/{NAME}")
        (Path(folder) / NAME).chmod(0o600)
    listener.listen(64)
    return listener


def read_line(channel: socket.socket) -> dict[str, Any]:
    """Return the JSON object of a line.

    Raises:
        OSError: the line did not come in time.
        ValueError: the other side closed before its end, or it is no JSON object, or too long.
    """
    data = b""
    while not data.endswith(b"\n"):
        part = channel.recv(65536)
        if not part:
            raise ValueError("it closed the connection")
        data += part
        if len(data) > MAX_LINE:
            raise ValueError("the line is too long")
    try:
        line = json.loads(data)
    except RecursionError as error:
        raise ValueError("the line is nested too deeply") from error
    if not isinstance(line, dict):
        raise ValueError("the line is not a JSON object")
    return line


def send_line(channel: socket.socket, line: Mapping[str, Any]) -> None:
    """Send a JSON object as a line.

    Raises:
        OSError: nobody takes it.
    """
    channel.sendall(json.dumps(line).encode() + b"\n")


@contextmanager
def _connected(home: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(PATIENCE_SECONDS)
        with _as_not_there(), _folder(home) as folder:
            channel.connect(f"{folder}/{NAME}")
        yield channel


@contextmanager
def _as_not_there() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise NotThere(f"the prewarmed process does not answer ({error})") from error


@contextmanager
def _folder(home: Path) -> Iterator[str]:
    """Yield a short name of a folder: the address of a socket holds about a hundred bytes."""
    fd = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
