"""Which process something belongs to, and whether that process still lives; in this container or in another."""

import contextlib
import fcntl
import os
import re
import socket
from functools import cache
from pathlib import Path

import psutil

from orchestrator.settings import Settings

OWNER_NAME = "worker"
# The processes that hold their lock: this one, after a fork its parent as well.
_held: set[int] = set()


def identity(pid: int | None = None) -> str:
    """Return what tells a process from every other, past and present: pid, start time, and machine or container."""
    process = psutil.Process(pid)
    return f"{process.pid}@{process.create_time():.2f}@{_machine()}"


def alive(worker: str, settings: Settings) -> bool:
    """Return whether the process with this identity still runs; in another container its lock says so."""
    pid, _, rest = worker.partition("@")
    if rest.partition("@")[2] != _machine():
        return _is_locked(settings.workers / worker)
    with contextlib.suppress(psutil.Error, ValueError):
        return identity(int(pid)) == worker
    return False


def own_folder(scratch: Path, settings: Settings) -> None:
    """Write into a scratch folder which process it belongs to."""
    hold_identity(settings)
    (scratch / OWNER_NAME).write_text(identity(), encoding="utf-8")


def hold_identity(settings: Settings) -> None:
    """Lock this process's own file, so that other containers know that it lives. The kernel lets go with the process.

    A forked process does not inherit the lock, and takes one of its own.
    """
    if os.getpid() in _held:
        return
    settings.workers.mkdir(parents=True, exist_ok=True)
    fd = os.open(settings.workers / identity(), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    fcntl.lockf(fd, fcntl.LOCK_EX)
    _held.add(os.getpid())


@cache
def _machine() -> str:
    """Return the name of this machine or container, of letters, digits, dots and underscores."""
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())


def _is_locked(path: Path) -> bool:
    try:
        with path.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
