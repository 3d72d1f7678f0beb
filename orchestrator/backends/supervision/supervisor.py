"""The life of one workload, as its parent sees it.

It is a subreaper: whatever the workload forks, daemons included, comes back to it and is killed. Its specification is
one JSON object:

    argv, env      the command, and its whole environment
    folder         where it is executed
    mark           the environment of the sandbox's own processes
    wrap           what stands before the starter in a sandbox: bwrap and its options; empty without a sandbox
    limits         memory, cpu, pids, open_files, output; None: no limit
    at_once        whether the kernel holds them from the start, or from the second measurement on
    cores          processor time that it may take, as a number of cores; None: no limit
    name           of the step's control groups
    messages       the messages file, whose size counts as output
    writes         the folders that the workload may write to
    secrets        a folder of files with values to mask, or None
    grace          seconds between INT and TERM, and between TERM and KILL

It is given two pipes: from the `lifeline` it reads 's' for stop (INT, TERM, KILL), or end of file, when the platform is
gone, for kill; to `status` it writes {"started": true}, then one object that says how it ended; or {"error": text}, or
{"sandbox": text} if there is no sandbox to be had. After that it clears up when `lifeline` ends, or a second later, and
`status` ends with it.
"""

import contextlib
import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from typing import Any

from .cgroups import Fence, make_fence
from .disk import Disk
from .output import Stream
from .processes import children, descendants, look, outside_pid
from .redaction import Redactor
from .starter import StartError, ended, largest, packed, spawn, start, started, wait_for_launch
from .watch import SAMPLE_SECONDS, Watch

PR_SET_CHILD_SUBREAPER = 36
KILL_ROUND = 0.02
# The processors are needed for what follows a step's end: what is left of it may wait for so long to be cleared up.
REST_SECONDS = 1.0
MAX_WORDS = 65536
# A process that was made ready fits a launch that has the same of these.
READY = ("wrap", "mark", "name", "limits", "cores", "at_once")
# bwrap has a process outside of the namespace and one inside; the starter is the third.
WRAPPERS = 3


class Supervisor:
    """Holds one workload from start to end.

    `child` is what was forked: the workload, or the outer process of its sandbox. `group` is the workload's own process
    group. `wrappers` are the processes that belong to the sandbox and not to the workload; `init` is the first inside.
    `launch` is the pipe on which the child, or the starter's, waits for what it is to execute.
    """

    def __init__(self) -> None:
        self.child = self.group = self.init = 0
        self.inner = self.launch = self.refusal = -1
        self.sandboxed = self.alone = self.stopping = False
        self.ready: dict[str, Any] | None = None
        self.fence: Fence | None = None
        self.words = b""
        self.wrappers: frozenset[int] = frozenset()
        self.inside = (0.0, 0)
        self.ended: dict[str, int] | None = None
        self.failed: dict[str, str] | None = None
        self.wakeup, wake = os.pipe()
        for fd in (self.wakeup, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        self.streams = [Stream(fd, Redactor([])) for fd in (1, 2)]

    def make_ready(self, spec: dict[str, Any]) -> None:
        """Start what waits for such a launch, in its groups if it is to be there from the start; end the one before."""
        self.discard()
        self.fence = make_fence(spec["name"], *_fenced(spec)) if spec["at_once"] else None
        try:
            self._prepare(spec)
        except StartError:
            # Its launch will try again, and say why not.
            self.sandboxed = False
            self._remove_fence()
        else:
            self.ready = {name: spec[name] for name in READY}

    def discard(self) -> None:
        """End what was made ready for nothing."""
        if self.ready is not None:
            self.ready = None
            for fd in (self.launch, self.inner, self.refusal):
                if fd >= 0:
                    os.close(fd)
            self.inner = self.launch = self.refusal = -1
            self._kill_everything()
            self._remove_fence()
            self.child, self.sandboxed, self.ended, self.failed = 0, False, None, None
            for stream in self.streams:
                stream.close()
            self.streams = [Stream(fd, Redactor([])) for fd in (1, 2)]

    def take(self, spec: dict[str, Any], fds: list[int]) -> None:
        """Take a launch: its specification, and the descriptors of its logs, its lifeline and its status."""
        self._reap()
        if not self._runs() or self.ready != {name: spec[name] for name in READY}:
            self.discard()
        self.spec = spec
        self.lifeline, self.status, self.grace = fds[2], fds[3], spec["grace"]
        if self.ready is None and spec["at_once"]:
            self.fence = make_fence(spec["name"], *_fenced(spec))
        self.watch = Watch(spec["limits"], self.fence, count_shared_memory=bool(spec["wrap"]))
        self.messages = os.open(spec["messages"], os.O_RDONLY)
        redactor = Redactor(_secrets(spec["secrets"]))
        for stream, log in zip(self.streams, fds[:2], strict=True):
            stream.end_in(log, redactor)
        self.disk = Disk(spec["writes"], [stream.log.fd for stream in self.streams])

    def tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            os.write(self.status, json.dumps(message).encode() + b"\n")

    def hold(self) -> None:
        """Start the workload, wait for its end, stop it when told to, leave nothing behind, and say how it went."""
        self._start()
        word = None
        while self._runs() and word is None:
            word = self._pause(None)
        if self._runs() and word == b"s":
            self._stop()
        left = len(self._own()) if self.ended is not None else 0
        if self.alone and not left:
            # The sandbox outlives its workload a little; nobody is left in it who could change anything.
            self._account(0)
            self._kill_everything()
        else:
            self._kill_everything()
            self._account(left)
        self._remove_fence()

    def _runs(self) -> bool:
        return self.ended is None and self.failed is None

    def _start(self) -> None:
        """Tell what waits for its launch what it is, and be sure that it is executed; in a sandbox its starter is."""
        spec = self.spec
        try:
            if self.ready is None:
                self._prepare(spec)
            with contextlib.suppress(BrokenPipeError), open(self.launch, "wb") as file:
                file.write(packed(spec["argv"], spec["env"], spec["limits"]["open_files"], spec["folder"]))
            if not self.sandboxed:
                started(self.child, self.refusal)
                self.group = self.child
                self.tell({"started": True})
        except StartError as error:
            self.failed = {"error": str(error)}
        for stream in self.streams:
            stream.release()

    def _prepare(self, spec: dict[str, Any]) -> None:
        """Fork what waits for its launch: the workload's process, or a sandbox with a starter.

        Raises:
            StartError: the system refused to execute the sandbox.
        """
        awaited, self.launch = os.pipe()
        join = self.fence.join if self.fence else None
        try:
            if spec["wrap"]:
                self._start_sandbox(spec, awaited, join)
            else:
                self.child, self.refusal = wait_for_launch(awaited, join, foreign=self.launch)
        finally:
            os.close(awaited)

    def _start_sandbox(self, spec: dict[str, Any], awaited: int, join: Callable[[], None] | None) -> None:
        self.sandboxed = True
        self.inner, told = os.pipe()
        os.set_blocking(self.inner, False)
        for fd in (told, awaited):
            os.set_inheritable(fd, True)
        try:
            argv = [*spec["wrap"], str(told), str(awaited)]
            self.child = start(argv, spec["mark"], join) if join else spawn(argv, spec["mark"])
        finally:
            os.close(told)

    def _hear(self) -> None:
        """Take in what the starter says from inside the sandbox; what else may stand there is passed over."""
        try:
            while word := os.read(self.inner, 4096):
                self.words = (self.words + word)[-MAX_WORDS:]
            os.close(self.inner)
            self.inner = -1
        except BlockingIOError:
            pass
        *lines, self.words = self.words.split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                self._heard(json.loads(line.decode("utf-8", "backslashreplace")))

    def _heard(self, message: dict[str, Any]) -> None:
        if "error" in message and not self.wrappers:
            self.failed = {"error": str(message["error"])}
        elif "pid" in message and not self.wrappers:
            self._inside(int(message["pid"]), int(message["starter"]))
        elif self.ended is None and (found := {"exit", "signal"} & message.keys()):
            name = found.pop()
            self.inside = (float(message["cpu"]), int(message["memory"]))
            self.alone = message.get("alone") is True
            self.ended = {name: int(message[name])}

    def _inside(self, pid: int, starter: int) -> None:
        """Find the workload and the wrappers from outside by the pids they have inside."""
        self.init = next(iter(children(self.child)), 0)
        outer = outside_pid(starter, children(self.init)) or 0
        self.group = outside_pid(pid, children(outer)) or 0
        self.wrappers = frozenset(found for found in (self.child, self.init, outer) if found)
        self.tell({"started": True})

    def _reap(self) -> None:
        """Collect every process that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self._child_ended(status)

    def _child_ended(self, status: int) -> None:
        if self.sandboxed:
            if self.inner >= 0:
                self._hear()
            if self._runs() and not self.wrappers and not self.stopping:
                for stream in self.streams:
                    stream.finish()
                reason = self.streams[1].log.tail.decode("utf-8", "backslashreplace").strip()
                ((how, code),) = ended(status).items()
                self.failed = {"sandbox": reason or f"it ended ({how} {code}) before it started anything"}
        if self.ended is None:
            self.ended = ended(status)

    def _pause(self, seconds: float | None) -> bytes | None:
        """Wait for something to happen; return a word from the platform, b"" if it is gone, b"k" for a broken limit."""
        watched = [self.wakeup, self.lifeline, *(stream.read for stream in self.streams if stream.open)]
        if self.inner >= 0:
            watched.append(self.inner)
        measures = self.group and self.ended is None
        due = self.watch.due() if measures else SAMPLE_SECONDS
        ready, _, _ = select.select(watched, [], [], due if seconds is None else min(seconds, due))
        if self.wakeup in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self.wakeup, 4096)
        for stream in self.streams:
            if stream.read in ready and stream.carry():
                self.watch.count_disk(self.disk.fills([], self._output()))
        self.watch.count_output(self._output())
        if self.inner >= 0 and self.inner in ready:
            self._hear()
        if self.group and self.ended is None and not self.watch.due():
            if not self.spec["at_once"] and self.watch.measured:
                self._fence_in()
            tree = descendants(os.getpid())
            self.watch.sample(tree, self.wrappers)
            self.watch.count_disk(self.disk.fills(tree, self._output()))
        self._reap()
        if self.lifeline in ready:
            return os.read(self.lifeline, 1)
        return b"k" if self.watch.broken and self.ended is None else None

    def _fence_in(self) -> None:
        """Put the workload, which has lived for a while, into its groups with all that it has started."""
        self.spec["at_once"] = True
        self.fence = self.watch.fence = make_fence(self.spec["name"], *_fenced(self.spec))
        inside: set[int] = set()
        while self.fence is not None and (outside := set(self._own()) - inside):
            for pid in outside:
                self.fence.move(pid)
            inside |= outside

    def _remove_fence(self) -> None:
        if self.fence is not None:
            self.fence.remove()
            self.fence = None

    def _output(self) -> int:
        return sum(stream.log.size for stream in self.streams) + os.fstat(self.messages).st_size

    def _stop(self) -> None:
        """Ask the workload's group to end (INT), then all that it started (TERM), with time to do so after each."""
        self.stopping = True
        for number in (signal.SIGINT, signal.SIGTERM):
            # A process that is stopped hears nothing until it goes on.
            for sent in (number, signal.SIGCONT):
                if number == signal.SIGINT:
                    _signal_group(self.group, sent)
                else:
                    _signal_all(self._own(), sent)
            if self._gone_within(self.grace):
                return

    def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._pause(left) is not None:
                return True
            if not self._runs() and not self._own():
                return True
        return False

    def _own(self) -> list[int]:
        """Return the living processes of the workload."""
        return [pid for pid in descendants(os.getpid()) if pid not in self.wrappers and look(pid) is not None]

    def _kill_everything(self) -> None:
        """Kill until no descendant is left; what a killed process leaves comes back here and is killed too."""
        while True:
            _signal_group(self.group, signal.SIGKILL)
            alive = descendants(os.getpid())
            _signal_all(alive, signal.SIGKILL)
            self._reap()
            # A writer that waits for room in its pipe cannot end.
            for stream in self.streams:
                stream.carry()
            if not alive and not self._runs():
                return
            select.select([self.wakeup], [], [], KILL_ROUND)

    def _account(self, left: int) -> None:
        """Say how it ended and what it used: the last word, when nothing of the workload runs any more."""
        for stream in self.streams:
            stream.finish()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        # What a workload started and did not wait for was reaped by the namespace's first process.
        orphans = look(self.init) if self.alone else None
        inside = self.inside[0] + (orphans.cpu if orphans else 0.0)
        self.watch.settle(max(usage.ru_utime + usage.ru_stime, inside), self._output())
        self.watch.count_disk(self.disk.fills([], self._output()))
        peaks = self.watch.peaks
        used = {
            **(self.ended or {"signal": int(signal.SIGKILL)}),
            "broken": self.watch.broken,
            "left": left,
            "memory": max(int(peaks["memory"]), largest(usage), self.inside[1]),
            "cpu": peaks["cpu"],
            "pids": int(peaks["pids"]),
            "open_files": int(peaks["open_files"]),
            "output": int(peaks["output"]),
            "disk": int(peaks["disk"]),
            "output_lost": sum(stream.log.lost for stream in self.streams),
        }
        self.tell({**(self.failed or used), "last": True})
        with contextlib.suppress(OSError):
            select.select([self.lifeline], [], [], REST_SECONDS)


def _fenced(spec: dict[str, Any]) -> tuple[float | None, ...]:
    """Return the limits that the kernel is asked to hold: memory, processes, cores, cpu seconds."""
    limits = spec["limits"]
    pids = limits["pids"]
    return limits["memory"], pids + WRAPPERS if pids and spec["wrap"] else pids, spec["cores"], limits["cpu"]


def _secrets(folder: str | None) -> list[str]:
    """Return the values in a folder of secrets."""
    values = []
    for name in sorted(os.listdir(folder)) if folder else []:
        with open(f"{folder}/{name}", encoding="utf-8", errors="surrogateescape", newline="") as file:
            values.append(file.read())
    return values


def _signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _signal_group(group: int, number: int) -> None:
    # Group 0 would be the supervisor's own.
    if group > 0:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
