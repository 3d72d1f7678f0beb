"""Starts the workload's process.

The supervisor calls `start` itself. In a sandbox it cannot: there this file runs as a program of its own
(`python -I -S starter.py STATUS LAUNCH`), is the workload's parent, and tells by the pipe STATUS, in JSON lines:
{"pid": n, "starter": n}, then {"exit": n} or {"signal": n} with "cpu" (seconds) and "memory" (bytes of the largest
process); or {"error": text} if nothing could be executed. From the pipe LAUNCH it reads what to start, as `packed`
writes it; it may have to wait for that, and ends if nothing comes.

It stands between every sandboxed step and its start, so it imports nothing slow: `signal`, `json`, `ctypes` and
`collections` would take as long as the interpreter itself. What stands behind them is there already, or quick.
"""

import _signal as signal  # type: ignore[import-not-found]
import os
import resource
import sys
from _collections_abc import Callable, Mapping

if sys.platform == "linux":
    import _ctypes

    PRCTL = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]  # None is this program
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
# The kernel's out-of-memory killer takes a workload before it takes the platform.
KILL_ME_FIRST = b"800"
DEFAULT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE)


class StartError(Exception):
    """The command could not be executed; says why."""


def prctl(option: int, value: int) -> None:
    """Call prctl where there is one."""
    if sys.platform == "linux":
        _ctypes.call_function(PRCTL, (option, value, 0, 0, 0))


def start(
    argv: list[str], env: Mapping[str, str], open_files: int | None, first: Callable[[], None] | None = None
) -> int:
    """Execute a command in a session of its own, with these variables and no other; return its pid.

    `first` is called in the new process before anything else.

    Raises:
        StartError: the system refused to execute it.
    """
    ready, error = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            if first is not None:
                first()
            os.setsid()
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            for number in DEFAULT_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            _fence_in(open_files)
            if os.getppid() != parent:
                os._exit(1)
            os.execve(argv[0], argv, env)
        except BaseException as refused:  # noqa: BLE001 (the child must never return)
            os.write(error, str(refused).encode("utf-8", "backslashreplace")[:4000])
        os._exit(127)
    os.close(error)
    reason = os.read(ready, 4096).decode()
    os.close(ready)
    if reason:
        os.waitpid(child, 0)
        raise StartError(reason)
    return child


def _fence_in(open_files: int | None) -> None:
    """Set what a process keeps for itself and all that it starts."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if open_files is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        allowed = open_files if hard == resource.RLIM_INFINITY else min(open_files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    try:
        with open("/proc/self/oom_score_adj", "wb") as file:
            file.write(KILL_ME_FIRST)
    except OSError:
        pass


def ended(status: int) -> dict[str, int]:
    """Return a wait status as the word for it: {"exit": n} or {"signal": n}."""
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status)}
    return {"exit": os.waitstatus_to_exitcode(status)}


def largest(usage: resource.struct_rusage) -> int:
    """Return the bytes that the largest process held at its peak."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def packed(argv: list[str], env: Mapping[str, str], open_files: int | None) -> bytes:
    """Return a command, its environment and its limit as the starter reads them: fields, with zero bytes between."""
    variables = [f"{name}={value}" for name, value in env.items()]
    fields = [str(open_files or ""), str(len(variables)), *variables, *argv]
    return b"\0".join(os.fsencode(field) for field in fields)


def unpacked(data: bytes) -> tuple[list[str], dict[str, str], int | None]:
    """Return what `packed` was given."""
    open_files, count, *fields = (os.fsdecode(field) for field in data.split(b"\0"))
    variables, argv = fields[: int(count)], fields[int(count) :]
    env = {name: value for name, _, value in (variable.partition("=") for variable in variables)}
    return argv, env, int(open_files) if open_files else None


def main() -> None:
    """Start the workload inside a sandbox, tell how it ended, and wait to be killed with what it left."""
    status, launch = (int(word) for word in sys.argv[1:])
    os.set_inheritable(status, False)
    with open(launch, "rb") as file:
        data = file.read()
    if not data:
        return
    try:
        child = start(*unpacked(data))
    except StartError as error:
        import json

        os.write(status, json.dumps({"error": str(error)}).encode() + b"\n")
        return
    # From now on nobody without the right to trace looks into this process, or opens its pipe.
    prctl(PR_SET_DUMPABLE, 0)
    os.write(status, f'{{"pid": {child}, "starter": {os.getpid()}}}\n'.encode())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _, ending, usage = os.wait4(child, 0)
    ((how, code),) = ended(ending).items()
    used = f'"cpu": {usage.ru_utime + usage.ru_stime}, "memory": {largest(usage)}'
    os.write(status, f'{{"{how}": {code}, {used}}}\n'.encode())
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
