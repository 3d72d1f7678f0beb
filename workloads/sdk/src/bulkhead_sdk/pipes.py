"""The session of Dagster Pipes that a step reports through.

Where both channels are files, as the platform's are, the messages are written here as `dagster_pipes` would
write them. Every other channel is left to that library, which is slow to import.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from _thread import RLock
from binascii import a2b_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from traceback import TracebackException
    from typing import Any

    from dagster_pipes import Method

CONTEXT, MESSAGES = "DAGSTER_PIPES_CONTEXT", "DAGSTER_PIPES_MESSAGES"
VERSION = "0.1"


def open_session() -> FileSession | LibrarySession:
    """Open the session that the environment describes; `opened` is sent.

    A workload that imported `dagster_pipes` before shares the one session which that library keeps.
    """
    if "dagster_pipes" not in sys.modules:
        context, messages = _path_in(CONTEXT), _path_in(MESSAGES)
        if context is not None and messages is not None:
            return FileSession(context, messages)
    return LibrarySession()


class FileSession:
    """Pipes over two files. Threads, signal handlers and forked processes may send: each line stays whole."""

    def __init__(self, context: str, messages: str) -> None:
        with open(context, encoding="utf-8") as file:
            asked = json.load(file)
        self.asset_keys: list[str] | None = asked["asset_keys"]
        self.extras: Mapping[str, Any] = asked["extras"] or {}
        self._closed = False
        self._renew_lock()
        # A fork may copy the lock while another thread holds it.
        os.register_at_fork(after_in_child=self._renew_lock)
        self._messages = os.open(messages, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self.send("opened", {"extras": {}})

    def send(self, method: Method, params: Mapping[str, Any]) -> None:
        """Append one message as one line. Raises RuntimeError once the session is closed."""
        message = {"__dagster_pipes_version": VERSION, "method": method, "params": params}
        line = memoryview(f"{json.dumps(message)}\n".encode())
        with self._lock:
            if self._closed:
                raise RuntimeError("Cannot send message after pipes context is closed.")
            while line:
                line = line[os.write(self._messages, line) :]

    def close(self, error: BaseException | None) -> None:
        """Send `closed`, with the exception if there was one, and close the file."""
        params = {} if error is None else {"exception": _exception(error)}
        with self._lock:
            self.send("closed", params)
            self._closed = True
            os.close(self._messages)

    def _renew_lock(self) -> None:
        self._lock = RLock()


class LibrarySession:
    """Pipes as `dagster_pipes` speaks it, over any channel that it finds in the environment."""

    def __init__(self) -> None:
        from dagster_pipes import open_dagster_pipes

        self._context = open_dagster_pipes()
        self.asset_keys = self._context.asset_keys if self._context.is_asset_step else None
        self.extras: Mapping[str, Any] = self._context.extras or {}

    def send(self, method: Method, params: Mapping[str, Any]) -> None:
        """Send a message as it is: the public methods refuse assets that were not asked for."""
        self._context._write_message(method, params)

    def close(self, error: BaseException | None) -> None:
        """Close the session, with the exception if there was one."""
        if error is None:
            self._context.close()
        else:
            self._context.__exit__(type(error), error, error.__traceback__)


def _path_in(variable: str) -> str | None:
    """Return the path that the variable holds; None if it holds anything else or cannot be read."""
    try:
        params = json.loads(zlib.decompress(a2b_base64(os.environ[variable])))
    except (KeyError, ValueError, zlib.error):
        return None
    path = params["path"] if isinstance(params, dict) and set(params) == {"path"} else None
    return path if isinstance(path, str) else None


def _exception(error: BaseException) -> dict[str, Any]:
    from traceback import TracebackException

    return _described(TracebackException(type(error), error, error.__traceback__))


def _described(error: TracebackException) -> dict[str, Any]:
    if sys.version_info >= (3, 13):
        name = error.exc_type_str.split(".")[-1]
    else:
        name = error.exc_type.__name__
    return {
        "message": "".join(error.format_exception_only()),
        "stack": error.stack.format(),
        "name": name,
        "cause": _described(error.__cause__) if error.__cause__ else None,
        "context": _described(error.__context__) if error.__context__ else None,
    }
