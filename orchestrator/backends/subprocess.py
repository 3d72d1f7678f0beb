"""The embedded backend: a step is a process tree on this machine, under a supervisor of its own."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from orchestrator.backends import supervisor
from orchestrator.backends.launch import Launch, LaunchError, Outcome, Stopped

MEMORY_SAMPLE_SECONDS = 0.1
# Every process of a step carries this variable, so that strays can be found by it.
LAUNCH_VARIABLE = "BULKHEAD_LAUNCH"


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


def supervisor_argv(program: str, launch: Launch, lifeline: int, status: int) -> list[str]:
    """Return the command line of the supervisor for a launch; variables by name, never by value."""
    spec = {
        "argv": [program, *launch.argv[1:]],
        "env": sorted({*launch.env, LAUNCH_VARIABLE}),
        "lifeline": lifeline,
        "status": status,
        "grace": launch.grace,
    }
    return [sys.executable, "-I", "-S", supervisor.__file__, json.dumps(spec)]


class SubprocessBackend:
    """Starts steps as process trees of this machine."""

    def start(self, launch: Launch) -> "RunningProcess":
        program = find_command(launch)
        lifeline_read, lifeline = os.pipe()
        status, status_write = os.pipe()
        argv = supervisor_argv(program, launch, lifeline_read, status_write)
        try:
            process = subprocess.Popen(
                argv,
                cwd=launch.folder,
                env={**launch.env, LAUNCH_VARIABLE: str(launch.scratch)},
                stdin=subprocess.DEVNULL,
                stdout=launch.stdout,
                stderr=launch.stderr,
                pass_fds=(lifeline_read, status_write),
                start_new_session=True,
            )
        except OSError as error:
            for fd in (lifeline, status):
                os.close(fd)
            raise LaunchError(f"no process could be started: {error}", infrastructure=True) from error
        finally:
            for fd in (lifeline_read, status_write):
                os.close(fd)
        return RunningProcess(process, launch, lifeline, status)


class RunningProcess:
    """One supervised process tree."""

    def __init__(self, process: "subprocess.Popen[bytes]", launch: Launch, lifeline: int, status: int) -> None:
        self._process, self._launch = process, launch
        self._lifeline, self._status = lifeline, status
        self._started = time.monotonic()
        self._sampled = 0.0
        self._peak = 0
        self._out_of_memory = False
        self._words = b""

    def wait(self, seconds: float) -> Outcome | None:
        ready, _, _ = select.select([self._status], [], [], seconds)
        if ready:
            word = os.read(self._status, 65536)
            self._words += word
            if not word:
                return self._end()
        self._watch_memory()
        return None

    def stop(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._lifeline, b"s")

    def _watch_memory(self) -> None:
        if time.monotonic() - self._sampled < MEMORY_SAMPLE_SECONDS:
            return
        self._sampled = time.monotonic()
        pids = supervisor.descendants(self._process.pid) or _known_children(self._process.pid)
        used = _memory(pids, shared_once=False)
        limit = self._launch.memory
        if limit is not None and used > limit:
            used = _memory(pids, shared_once=True)
            if used > limit and not self._out_of_memory:
                self._out_of_memory = True
                # Two words: the first begins to stop, the second ends all grace.
                with contextlib.suppress(BrokenPipeError):
                    os.write(self._lifeline, b"kk")
        self._peak = max(self._peak, used)

    def _end(self) -> Outcome:
        os.close(self._status)
        os.close(self._lifeline)
        self._process.wait()
        words: dict[str, Any] = {}
        for line in self._words.splitlines():
            words.update(json.loads(line))
        if "error" in words:
            raise LaunchError(f"the command could not be executed: {words['error']}")
        lost = None
        if "exit" not in words and "signal" not in words:
            lost = "its supervisor was killed from outside; what it had started was looked for and killed"
            kill_strays(self._launch.scratch)
        return Outcome(
            exit_code=words.get("exit"),
            signal=words.get("signal"),
            stopped=Stopped.OUT_OF_MEMORY if self._out_of_memory else None,
            lost=lost,
            peak_memory=max(self._peak, words.get("peak", 0)),
            cpu_seconds=words.get("cpu", 0.0),
            seconds=time.monotonic() - self._started,
            left_behind=words.get("left", 0),
        )


def kill_strays(scratch: Path) -> int:
    """Kill every process that carries the launch variable of a step; return how many there were."""
    mark = f"{LAUNCH_VARIABLE}={scratch}".encode()
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
                found += 1
    return found


def _known_children(pid: int) -> list[int]:
    with contextlib.suppress(psutil.Error):
        return [process.pid for process in psutil.Process(pid).children(recursive=True)]
    return []


def _memory(pids: list[int], shared_once: bool) -> int:
    """Return bytes in use by processes. With `shared_once`, a page that several share counts once (Linux)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if shared_once and sys.platform == "linux":
                total += process.memory_full_info().pss
            else:
                total += process.memory_info().rss
    return total
