"""The embedded backend: a step is a process tree on this machine, under a supervisor of its own."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.backends.fork_server import FORK_SERVER
from orchestrator.backends.launch import BROKEN, Launch, LaunchError, Outcome, Usage
from orchestrator.backends.readable import readable
from orchestrator.backends.sandbox import find_sandbox, sandbox_argv
from orchestrator.backends.supervision.cgroups import remove_fence

# Every process of a step carries this variable, so that strays can be found by it.
LAUNCH_VARIABLE = "BULKHEAD_LAUNCH"
# What a supervisor that was told to stop may take longer than its two graces.
DEAF_SECONDS = 10.0
# With this ends what a supervisor says; its end of the pipe may stay open a moment longer.
LAST_WORD = b'"last": true}\n'


def find_command(launch: Launch) -> str:
    """Return the program that the first word of the command names, looked up on the workload's own PATH.

    Raises:
        LaunchError: there is no such program in the workload's environment.
    """
    word, path = launch.argv[0], launch.env.get("PATH", "")
    found = shutil.which(word if "/" not in word else str(launch.folder / word), path=path)
    if found is None:
        environment = launch.folder / ".venv"
        remedy = "" if environment.is_dir() else f" Its environment {environment} is missing: run 'make setup'."
        raise LaunchError(f"the command {word!r} is not in the workload's environment (PATH={path}).{remedy}")
    return found


def supervisor_spec(program: str, launch: Launch, wrap: Sequence[str]) -> dict[str, Any]:
    """Return what a launch's supervisor is told."""
    limits = launch.limits
    return {
        "argv": [program, *launch.argv[1:]],
        "env": {**launch.env, LAUNCH_VARIABLE: str(launch.scratch)},
        "folder": str(launch.folder),
        "wrap": list(wrap),
        "mark": {LAUNCH_VARIABLE: str(launch.scratch)},
        "limits": {
            "memory": limits.memory,
            "cpu": limits.cpu_time,
            "pids": limits.pids,
            "open_files": limits.open_files,
            "output": limits.output,
        },
        "cores": limits.cores,
        "at_once": limits.at_once,
        "name": launch.scratch.name,
        "messages": str(launch.messages),
        "writes": [str(path) for path in (launch.scratch, *(m.path for m in launch.mounts if m.writable))],
        "secrets": str(launch.secrets) if launch.secrets else None,
        "grace": launch.grace,
    }


class SubprocessBackend:
    """Starts steps as process trees of this machine; in a sandbox if `sandboxed`."""

    def __init__(self, sandboxed: bool = False, hidden: Sequence[Path] = ()) -> None:
        self.sandboxed, self.hidden = sandboxed, hidden

    @property
    def tier(self) -> str:
        """How a step is kept apart here, for metadata."""
        return find_sandbox().tier if self.sandboxed else "none (switched off)"

    def expect(self) -> None:
        FORK_SERVER.expect()

    def make_ready(self, launch: Launch) -> None:
        FORK_SERVER.make_ready(supervisor_spec("", replace(launch, argv=(), env={}), self._wrap(launch)))

    def discard(self) -> None:
        FORK_SERVER.discard()

    def finish(self) -> None:
        FORK_SERVER.finish()

    def collect(self, alive: Callable[[str], bool]) -> list[str]:
        """Find nothing: what a dead supervisor left is found by its step's folder."""
        return []

    def image(self, launch: Launch) -> str | None:
        return None

    def by_hand(
        self, launch: Launch, shown: Mapping[str, str], secrets: Sequence[str], arguments: Sequence[str]
    ) -> str:
        variables = [f"{name}={shlex.quote(value)}" for name, value in shown.items()]
        variables += [f'{name}="${name}"' for name in secrets]
        command = shlex.join([*launch.argv, *arguments])
        return f"cd {shlex.quote(str(launch.folder))} && env -i {' '.join(variables)} {command}"

    def start(self, launch: Launch) -> "RunningProcess":
        program = find_command(launch)
        lifeline_read, lifeline = os.pipe()
        status, status_write = os.pipe()
        fds = (launch.stdout, launch.stderr, lifeline_read, status_write)
        try:
            supervisor = FORK_SERVER.launch(supervisor_spec(program, launch, self._wrap(launch)), fds)
        except OSError as error:
            for fd in (lifeline, status):
                os.close(fd)
            raise LaunchError(f"no process could be started: {error}", infrastructure=True) from error
        finally:
            for fd in (lifeline_read, status_write):
                os.close(fd)
        return RunningProcess(supervisor, launch, lifeline, status)

    def _wrap(self, launch: Launch) -> list[str]:
        """Return what stands before the starter of a launch; nothing if it is not to be in a sandbox."""
        bwrap = find_sandbox().bwrap if self.sandboxed else None
        return sandbox_argv(bwrap, launch, self.hidden) if bwrap else []


class RunningProcess:
    """One supervised process tree."""

    def __init__(self, supervisor: int, launch: Launch, lifeline: int, status: int) -> None:
        self.supervisor, self._launch = supervisor, launch
        self._lifeline, self._status = lifeline, status
        self._launched = time.monotonic()
        self._started: float | None = None
        self._deaf: float | None = None
        self._words = b""

    @property
    def started(self) -> bool:
        return self._started is not None

    def wait(self, seconds: float, also: Sequence[int] = ()) -> Outcome | None:
        if self._deaf is not None:
            seconds = min(seconds, max(0.0, self._deaf - time.monotonic()))
        if self._status in readable([self._status, *also], seconds):
            word = os.read(self._status, 65536)
            self._words += word
            if self._started is None and self._words.startswith(b'{"started"'):
                self._started = time.monotonic()
            if not word or self._words.endswith(LAST_WORD):
                return self._end()
        if self._deaf is not None and time.monotonic() > self._deaf:
            FORK_SERVER.kill(self.supervisor)
            self._deaf = None
        return None

    def stop(self) -> None:
        self._deaf = time.monotonic() + 2 * self._launch.grace + DEAF_SECONDS
        with contextlib.suppress(BrokenPipeError):
            os.write(self._lifeline, b"s")

    def _end(self) -> Outcome:
        ended = time.monotonic()
        FORK_SERVER.leave(self._lifeline, self._status)
        words: dict[str, Any] = {}
        for line in self._words.splitlines():
            words.update(json.loads(line))
        if "error" in words:
            raise LaunchError(f"the command could not be executed: {words['error']}")
        if "sandbox" in words:
            raise LaunchError(f"the sandbox could not be made: {words['sandbox']}", infrastructure=True)
        lost = None
        if "exit" not in words and "signal" not in words:
            lost = "its supervisor was killed from outside; what it had started was looked for and killed"
            kill_strays(self._launch.scratch)
        started = self._started or ended
        return Outcome(
            exit_code=words.get("exit"),
            signal=words.get("signal"),
            stopped=BROKEN.get(words.get("broken") or ""),
            lost=lost,
            left_behind=words.get("left", 0),
            usage=Usage(
                memory=words.get("memory", 0),
                cpu_seconds=words.get("cpu", 0.0),
                pids=words.get("pids", 0),
                open_files=words.get("open_files", 0),
                output=words.get("output", 0),
                disk=words.get("disk", 0),
                output_lost=words.get("output_lost", 0),
                starting=started - self._launched,
                seconds=ended - started,
            ),
        )


def kill_strays(scratch: Path) -> int:
    """Kill every process that carries the launch variable of a step; return how many there were."""
    mark = f"{LAUNCH_VARIABLE}={scratch}".encode()
    found: set[int] = set()
    while fresh := {pid for pid in _marked(mark) if pid not in found}:
        # The outermost first: what is inside of a sandbox ends with it.
        for pid in sorted(fresh):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        found |= fresh
    remove_fence(scratch.name)
    return len(found)


def _marked(mark: bytes) -> list[int]:
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                pids.append(int(folder.name))
    return pids
