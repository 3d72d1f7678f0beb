"""Starts the workload's process: forks it, before anybody knows what it is to execute, and lets it wait for that.

The supervisor does so itself. In a sandbox it cannot: there this file runs as a program of its own
(`python -I -S starter.py STATUS LAUNCH`), is the workload's parent, and tells by the pipe STATUS, in JSON lines:
{"pid": n, "starter": n}, then {"exit": n} or {"signal": n} with "cpu" (seconds), "memory" (bytes of the largest
process) and "alone" (whether no other process is left in the sandbox); or {"error": text} if nothing could be
executed. From the pipe LAUNCH comes what to execute, as `packed` writes it.

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


def spawn(argv: list[str], env: Mapping[str, str]) -> int:
    """Execute a command in a session of its own, without a copy of this process before that; return its pid.

    Raises:
        StartError: the system refused to execute it.
    """
    try:
        return os.posix_spawn(argv[0], argv, env, setsid=True, setsigdef=DEFAULT_SIGNALS)
    except OSError as error:
        raise StartError(str(error)) from error


def start(argv: list[str], env: Mapping[str, str], first: Callable[[], None]) -> int:
    """Do the same, and call `first` in the new process before anything else.

    Raises:
        StartError: the system refused to execute it.
    """
    awaited, launch = os.pipe()
    child, refusal = wait_for_launch(awaited, first, foreign=launch)
    os.close(awaited)
    with open(launch, "wb") as file:
        file.write(packed(argv, env, None, ""))
    started(child, refusal)
    return child


def wait_for_launch(launch: int, first: Callable[[], None] | None = None, foreign: int = -1) -> tuple[int, int]:
    """Fork a process that executes what comes from the pipe `launch`; it ends if nothing comes.

    `first` is called in it before anything else, and `foreign`, the pipe's other end, closed there. Returns its pid,
    and a pipe for `started`.
    """
    refusal, told = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            if first is not None:
                first()
            if foreign >= 0:
                os.close(foreign)
            os.setsid()
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            # What the parent keeps from others, it would keep from this process as well.
            prctl(PR_SET_DUMPABLE, 1)
            signal.set_wakeup_fd(-1)
            for number in DEFAULT_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            _fence_in()
            with open(launch, "rb") as file:
                data = file.read()
            if not data or os.getppid() != parent:
                os._exit(1)
            argv, env, open_files, folder = unpacked(data)
            if open_files is not None:
                _allow_files(open_files)
            if folder:
                os.chdir(folder)
            os.execve(argv[0], argv, env)
        except BaseException as refused:  # noqa: BLE001 (the child must never return)
            os.write(told, str(refused).encode("utf-8", "backslashreplace")[:4000])
        os._exit(127)
    os.close(told)
    return child, refusal


def started(child: int, refusal: int) -> None:
    """Return when a process that waited for its launch has executed it, or has ended.

    Raises:
        StartError: the system refused to execute it.
    """
    reason = os.read(refusal, 4096).decode()
    os.close(refusal)
    if reason:
        os.waitpid(child, 0)
        raise StartError(reason)


def _fence_in() -> None:
    """Set what a process keeps for itself and all that it starts."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/oom_score_adj", "wb") as file:
            file.write(KILL_ME_FIRST)
    except OSError:
        pass


def _allow_files(count: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))


def ended(status: int) -> dict[str, int]:
    """Return a wait status as the word for it: {"exit": n} or {"signal": n}."""
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status)}
    return {"exit": os.waitstatus_to_exitcode(status)}


def largest(usage: resource.struct_rusage) -> int:
    """Return the bytes that the largest process held at its peak."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def packed(argv: list[str], env: Mapping[str, str], open_files: int | None, folder: str) -> bytes:
    """Return a command, its environment, limit and folder as the child reads them: fields, with zero bytes between."""
    variables = [f"{name}={value}" for name, value in env.items()]
    fields = [str(open_files or ""), folder, str(len(variables)), *variables, *argv]
    return b"\0".join(os.fsencode(field) for field in fields)


def unpacked(data: bytes) -> tuple[list[str], dict[str, str], int | None, str]:
    """Return what `packed` was given."""
    open_files, folder, count, *fields = (os.fsdecode(field) for field in data.split(b"\0"))
    variables, argv = fields[: int(count)], fields[int(count) :]
    env = {name: value for name, _, value in (variable.partition("=") for variable in variables)}
    return argv, env, int(open_files) if open_files else None, folder


def main() -> None:
    """Start the workload inside a sandbox, tell how it ended, and wait to be killed with what it left."""
    status, launch = (int(word) for word in sys.argv[1:])
    os.set_inheritable(status, False)
    # Nobody listens any more where a sandbox was made ready and is not needed.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # From now on nobody without the right to trace looks into this process, or opens its pipe.
    prctl(PR_SET_DUMPABLE, 0)
    child, refusal = wait_for_launch(launch)
    os.close(launch)
    try:
        started(child, refusal)
    except StartError as error:
        import json

        os.write(status, json.dumps({"error": str(error)}).encode() + b"\n")
        return
    os.write(status, f'{{"pid": {child}, "starter": {os.getpid()}}}\n'.encode())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _, ending, usage = os.wait4(child, 0)
    ((how, code),) = ended(ending).items()
    used = f'"cpu": {usage.ru_utime + usage.ru_stime}, "memory": {largest(usage)}'
    os.write(status, f'{{"{how}": {code}, {used}, "alone": {"true" if alone() else "false"}}}\n'.encode())
    while True:
        signal.pause()


def alone() -> bool:
    """Return whether there is no process here but this one and the namespace's first.

    The kernel looks at all of them at one moment: none can be overlooked because it forks.
    """
    try:
        os.kill(-1, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


if __name__ == "__main__":
    main()
