"""The platform's end of the fork server: one for a process, started when it is first needed, replaced if it dies."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# The server sees the folder above its package alone.
BOOT = "import sys; sys.path.append(sys.argv.pop(1)); from supervision.server import main; main()"
MAX_ANSWER = 65536


class ForkServer:
    """Forks supervisors. Its methods may be called from any thread.

    Nothing of the platform's environment goes into the server, and so into a supervisor.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    def expect(self) -> None:
        """Start the server unless it runs, for a launch that follows soon. It may not be ready when this returns."""
        with self._lock, contextlib.suppress(OSError):
            self._open()

    def launch(self, spec: Mapping[str, Any], folder: Path, fds: Sequence[int]) -> int:
        """Fork a supervisor with the descriptors stdout, stderr, lifeline and status; return its pid.

        Raises:
            OSError: no process could be started.
        """
        request = json.dumps({"launch": spec, "folder": str(folder)}).encode()
        with self._lock:
            try:
                answer = self._ask(request, fds)
            except (OSError, ValueError):
                # It was killed: whoever did that gets a new one to kill.
                self._close()
                answer = self._ask(request, fds)
        if "refused" in answer:
            raise OSError(answer["refused"])
        return int(answer["pid"])

    def make_ready(self, spec: Mapping[str, Any]) -> None:
        """Have the sandbox started of a launch that will have this specification, but for its command."""
        with self._lock, contextlib.suppress(OSError):
            if self._channel is not None and self._owner == os.getpid():
                self._send(json.dumps({"ready": spec}).encode(), ())

    def discard(self) -> None:
        """End a sandbox that was made ready and not used; return when it is gone."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            if self._channel is not None and self._owner == os.getpid():
                self._ask(b'{"discard": true}', ())

    def kill(self, pid: int) -> None:
        """Kill a supervisor that does not hear, if it still runs."""
        with self._lock, contextlib.suppress(OSError):
            if self._channel is not None:
                self._send(json.dumps({"kill": pid}).encode(), ())

    def _ask(self, request: bytes, fds: Sequence[int]) -> dict[str, Any]:
        self._open()
        self._send(request, fds)
        assert self._channel is not None
        answer: dict[str, Any] = json.loads(self._channel.recv(MAX_ANSWER))
        return answer

    def _send(self, request: bytes, fds: Sequence[int]) -> None:
        assert self._channel is not None
        socket.send_fds(self._channel, [len(request).to_bytes(4, "big")], list(fds))
        self._channel.sendall(request)

    def _open(self) -> None:
        if self._owner != os.getpid():
            # Forked: the server is the parent's, and so is its socket.
            self._close(ours=False)
        if self._channel is not None:
            return
        own, its = socket.socketpair()
        argv = [sys.executable, "-I", "-S", "-X", "utf8", "-c", BOOT, str(Path(__file__).parent), str(its.fileno())]
        try:
            self._process = subprocess.Popen(
                argv,
                cwd="/",
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
                start_new_session=True,
            )
        except OSError:
            own.close()
            raise
        finally:
            its.close()
        self._channel, self._owner = own, os.getpid()

    def _close(self, ours: bool = True) -> None:
        if self._channel is not None:
            self._channel.close()
        if ours and self._process is not None:
            self._process.kill()
            self._process.wait()
        self._channel, self._process, self._owner = None, None, os.getpid()


FORK_SERVER = ForkServer()
