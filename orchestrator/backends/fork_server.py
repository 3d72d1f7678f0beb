"""The platform's end of the fork server: one for a process, started when it is first needed, replaced if it dies."""

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.backends.readable import readable

# The server sees the folder above its package alone.
BOOT = "import sys; sys.path.append(sys.argv.pop(1)); from supervision.server import main; main()"
MAX_ANSWER = 65536
# What is left after a last word, a sandbox without processes, is gone within this time; most often within the second.
ENDING_SECONDS, SOON_SECONDS = 10.0, 0.05
MOST_ENDING, LET_GO = 64, -1


class ForkServer:
    """Forks supervisors. Its methods may be called from any thread.

    Nothing of the platform's environment goes into the server, and so into a supervisor.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._ending: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()

    def expect(self) -> None:
        """Start the server unless it runs, for a launch that follows soon. It may not be ready when this returns."""
        with self._lock, contextlib.suppress(OSError):
            self._open()

    def launch(self, spec: Mapping[str, Any], fds: Sequence[int]) -> int:
        """Fork a supervisor with the descriptors stdout, stderr, lifeline and status; return its pid.

        Raises:
            OSError: no process could be started.
        """
        request = json.dumps({"launch": spec}).encode()
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
        """Have started what waits for a launch with this specification, but for its command.

        What is left of the steps before is cleared up first: one after the other they take less from the workloads.
        """
        self._clear_up(SOON_SECONDS)
        with self._lock, contextlib.suppress(OSError):
            if self._channel is not None and self._owner == os.getpid():
                self._send(json.dumps({"ready": spec}).encode(), ())

    def discard(self) -> None:
        """End what was made ready and not used; return when it is gone."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            if self._channel is not None and self._owner == os.getpid():
                self._ask(b'{"discard": true}', ())

    def leave(self, lifeline: int, status: int) -> None:
        """Take over the pipes of a supervisor that has said its last word, and has yet to clear up."""
        self._ending.put((lifeline, status))
        if self._ending.qsize() > MOST_ENDING:
            self._clear_up(SOON_SECONDS)

    def finish(self) -> None:
        """Return when every supervisor that has said its last word has cleared up and ended."""
        self._clear_up(ENDING_SECONDS)

    def _clear_up(self, seconds: float) -> None:
        """Let go of all that have said their last word, and wait so long for their end."""
        ending: list[tuple[int, int]] = []
        with contextlib.suppress(queue.Empty):
            while True:
                ending.append(self._ending.get_nowait())
        for lifeline, _ in ending:
            if lifeline != LET_GO:
                os.close(lifeline)
        until = time.monotonic() + seconds
        for _, status in ending:
            if readable([status], max(0.0, until - time.monotonic())):
                os.close(status)
            else:
                self._ending.put((LET_GO, status))

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
