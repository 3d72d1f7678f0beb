"""The parent of one workload: starts it, and lets nothing that it started outlive it.

Runs as a script of its own (`python -I -S supervisor.py SPEC`), knows only the standard library, and does not import
the platform. It is a subreaper: whatever the workload forks, daemons included, comes back to it and is killed.

    fd `lifeline`   read end of a pipe. A byte means stop (INT, TERM, KILL). End of file means the platform is gone:
                    kill everything at once.
    fd `status`     write end of a pipe. JSON lines: {"pid": n}, then {"exit": n} or {"signal": n}, or {"error": text}.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
KILL_ROUND = 0.02


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def children(pid: int) -> list[int]:
    """Return the direct children of a process, read from /proc; none where there is no /proc."""
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as listing:
                found += [int(word) for word in listing.read().split()]
    return found


def descendants(pid: int) -> list[int]:
    """Return all processes below a process."""
    found, unseen = [], children(pid)
    while unseen:
        child = unseen.pop()
        found.append(child)
        unseen += children(child)
    return found


def _signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _peak() -> int:
    """Return the bytes that the largest process of the workload held at its peak."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit


class Supervisor:
    """Holds one workload from start to end."""

    def __init__(self, lifeline: int, status: int, grace: float) -> None:
        self.lifeline, self.status, self.grace = lifeline, status, grace
        self.child = 0
        self.ended: int | None = None
        self.wakeup, wake = os.pipe()
        for fd in (self.wakeup, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(ignored, lambda *_: None)

    def tell(self, **message: object) -> None:
        with contextlib.suppress(OSError):
            os.write(self.status, json.dumps(message).encode() + b"\n")

    def start(self, argv: list[str], names: list[str]) -> None:
        """Fork and execute the workload in a session of its own, with the named variables and no other."""
        # Python itself adds LC_CTYPE to its environment when no locale is set.
        env = {name: os.environ[name] for name in names}
        ready, error = os.pipe()
        os.set_inheritable(error, False)
        self.child = os.fork()
        if self.child == 0:
            try:
                os.setsid()
                _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                signal.set_wakeup_fd(-1)
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
                    signal.signal(number, signal.SIG_DFL)
                if os.getppid() == 1:
                    os._exit(1)
                os.execvpe(argv[0], argv, env)
            except BaseException as refused:  # noqa: BLE001 (the child must never return)
                os.write(error, str(refused).encode())
            os._exit(127)
        os.close(error)
        reason = os.read(ready, 4096).decode()
        os.close(ready)
        if reason:
            self.tell(error=reason)
            os._exit(0)
        self.tell(pid=self.child)

    def reap(self) -> None:
        """Collect every process that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self.ended = status

    def pause(self, seconds: float | None) -> bytes | None:
        """Wait for a child to end or for word from the platform; return that word, b"" if the platform is gone."""
        watched = [self.wakeup] if self.lifeline < 0 else [self.wakeup, self.lifeline]
        ready, _, _ = select.select(watched, [], [], seconds)
        if self.wakeup in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self.wakeup, 4096)
        self.reap()
        return os.read(self.lifeline, 1) if self.lifeline in ready else None

    def run(self) -> None:
        """Wait for the workload's end, stop it when told to, and leave nothing behind."""
        word = None
        while self.ended is None and word is None:
            word = self.pause(None)
        if self.ended is None and word:
            self.stop()
        left = len(descendants(os.getpid())) if self.ended is not None else 0
        self.kill_everything()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        status = self.ended if self.ended is not None else signal.SIGKILL
        end = {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else {"exit": os.waitstatus_to_exitcode(status)}
        self.tell(**end, cpu=usage.ru_utime + usage.ru_stime, peak=_peak(), left=left)

    def stop(self) -> None:
        """Ask the group to end (INT), then all descendants (TERM); return when they did or time is up."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child, signal.SIGINT)
        if self._gone_within(self.grace):
            return
        _signal_all(descendants(os.getpid()), signal.SIGTERM)
        self._gone_within(self.grace)

    def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self.pause(left) is not None:
                return True
            if self.ended is not None and not descendants(os.getpid()):
                return True
        return False

    def kill_everything(self) -> None:
        """Kill until no descendant is left; what a killed process leaves comes back here and is killed too."""
        while True:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child, signal.SIGKILL)
            alive = descendants(os.getpid())
            _signal_all(alive, signal.SIGKILL)
            self.reap()
            if not alive and self.ended is not None:
                return
            select.select([self.wakeup], [], [], KILL_ROUND)


def main() -> None:
    spec = json.loads(sys.argv[1])
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    supervisor = Supervisor(spec["lifeline"], spec["status"], spec["grace"])
    for fd in (spec["lifeline"], spec["status"]):
        os.set_inheritable(fd, False)
    supervisor.start(spec["argv"], spec["env"])
    supervisor.run()


if __name__ == "__main__":
    main()
