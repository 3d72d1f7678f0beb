"""Forks the supervisors of one platform process: what they need is imported once, and most of their memory is shared.

Asked over a socket. A request is a length (4 bytes, big end first) and that many bytes of JSON:

    {"launch": spec}     with the descriptors stdout, stderr, lifeline, status; answer {"pid": n}
    {"ready": spec}      start what waits for such a launch already; no answer
    {"discard": true}    end what was made ready; answer {"pid": 0} when it is gone
    {"kill": pid}        a supervisor that does not hear; no answer

An answer is a line of JSON; {"refused": text} if no process could be forked. End of file ends the server. It ends no
supervisor that holds a launch: each has its own lifeline. One more is there already, waiting for the next; it is forked
a moment after a launch, because the processors are needed for that.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

from .starter import prctl
from .supervisor import PR_SET_CHILD_SUBREAPER, Supervisor

FDS = 4
# So long after a launch another supervisor is forked, if what it is to make ready does not come before.
QUIET_SECONDS = 0.05


class Server:
    """The supervisors that were forked here and have not been reaped."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.children: set[int] = set()
        self.spare: tuple[int, socket.socket] | None = None
        # Whether the system would not fork the one that is missing: the next launch tries again.
        self.refused = False
        self.wakeup, self.wake = os.pipe()
        for fd in (self.wakeup, self.wake):
            os.set_blocking(fd, False)

    def serve(self) -> None:
        """Answer requests until the platform is gone."""
        signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self._fork_spare()
        while True:
            quiet = None if self.spare is not None or self.refused else QUIET_SECONDS
            ready = select.select([self.channel.fileno(), self.wakeup], [], [], quiet)[0]
            if not ready:
                self._fork_spare()
            if self.wakeup in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wakeup, 4096)
                self._reap()
            if self.channel.fileno() in ready and not self._answer():
                return

    def _answer(self) -> bool:
        """Take one request; return False at the end of file."""
        header, fds, _, _ = socket.recv_fds(self.channel, 4, FDS)
        if len(header) < 4:
            return False
        body = _exactly(self.channel, int.from_bytes(header, "big"))
        request = json.loads(body)
        if "kill" in request:
            if request["kill"] in self.children:
                os.kill(request["kill"], signal.SIGKILL)
            return True
        if "ready" in request:
            self._tell_spare(header, body)
            return True
        if "discard" in request:
            self._discard()
            self.channel.sendall(b'{"pid": 0}\n')
            return True
        self.channel.sendall(json.dumps(self._launch(header, body, fds)).encode() + b"\n")
        for fd in fds:
            os.close(fd)
        self.refused = False
        return True

    def _launch(self, header: bytes, body: bytes, fds: list[int]) -> dict[str, Any]:
        """Hand a launch to the spare supervisor, or to a new one if something killed it."""
        for _ in range(2):
            if self.spare is None and (refused := self._fork_spare(fds)):
                return {"refused": refused}
            assert self.spare is not None
            pid, its = self.spare
            self.spare = None
            with its, contextlib.suppress(OSError):
                socket.send_fds(its, [header], fds)
                its.sendall(body)
                return {"pid": pid}
        return {"refused": "its supervisor was killed before it could start"}

    def _tell_spare(self, header: bytes, body: bytes) -> None:
        if self.spare is None:
            self._fork_spare()
        if self.spare is not None:
            with contextlib.suppress(OSError):
                self.spare[1].sendall(header + body)

    def _discard(self) -> None:
        """End the spare supervisor with all that it has made ready, and wait until that is gone."""
        if self.spare is not None:
            pid, its = self.spare
            self.spare = None
            its.close()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            self.children.discard(pid)

    def _fork_spare(self, fds: Sequence[int] = ()) -> str:
        """Fork a supervisor that waits for its launch; return why not, or nothing. `fds` are not for it to keep."""
        own, its = socket.socketpair()
        try:
            pid = os.fork()
        except OSError as error:
            own.close()
            its.close()
            self.refused = True
            return str(error)
        if pid == 0:
            own.close()
            _become_supervisor(its, [self.channel.fileno(), self.wakeup, self.wake, *fds])
        its.close()
        self.children.add(pid)
        self.spare = (pid, own)
        return ""

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                self.children.discard(pid)


def _become_supervisor(channel: socket.socket, foreign: list[int]) -> None:
    """Wait for a launch, hold it, and end. `foreign` are descriptors of the server."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for fd in foreign:
            os.close(fd)
        os.setsid()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        supervisor = Supervisor()
        while True:
            header, fds, _, _ = socket.recv_fds(channel, 4, FDS)
            if len(header) < 4:
                supervisor.discard()
                os._exit(0)
            request = json.loads(_exactly(channel, int.from_bytes(header, "big")))
            if "launch" in request:
                break
            supervisor.make_ready(request["ready"])
        channel.close()
        for fd in fds:
            os.set_inheritable(fd, False)
        supervisor.take(request["launch"], fds)
        supervisor.hold()
        code = 0
    except BaseException:  # noqa: BLE001 (the child must never return)
        sys.excepthook(*sys.exc_info())
    os._exit(code)


def _exactly(channel: socket.socket, size: int) -> bytes:
    """Return so many bytes; fewer at the end of file."""
    parts = []
    while size and (part := channel.recv(min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    # Collecting garbage would touch, and so copy, the pages that supervisors share.
    gc.disable()
    gc.freeze()
    Server(channel).serve()
