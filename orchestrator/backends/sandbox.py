"""The sandbox of the embedded backend: what `bwrap` is asked to show a step, and to keep from it.

The step sees the system's programs, its own project and environment, its own scratch folder, and the stores and
datasets of its contract; everything else is not there. It has its own processes, its own /tmp and, unless its contract
asks for `data`, no network. It keeps no capability. The file system is read-only but for what it is given to write.
"""

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from urllib.parse import unquote, urlparse

from orchestrator.backends.launch import Launch
from orchestrator.backends.supervision import starter

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix", "/etc")
PROCESSORS = "/sys/devices/system/cpu"
# Often a link out of /etc: how names of machines are looked up, and the certificates of authorities.
RESOLVER, CERTIFICATES = Path("/etc/resolv.conf"), "/var/lib/ca-certificates"
# Readable by root, and no business of a workload.
HIDDEN = (
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d", "/etc/ssh",
    "/etc/ssl/private", "/etc/docker", "/etc/kubernetes", "/etc/systemd", "/etc/cron.d",
)  # fmt: skip
STARTER, COMPILED_STARTER = "/run/bulkhead/starter", "bulkhead-starter"
# What the compiled starter exits with when there is nothing that it could execute.
NOT_EXECUTED = 127
UNSHARED = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
SHARED_MEMORY = 64 << 20


@dataclass(frozen=True)
class Sandbox:
    """Whether steps run in a sandbox here: the path of `bwrap`, or why not."""

    bwrap: str | None
    reason: str = ""

    @property
    def tier(self) -> str:
        """What metadata says of it."""
        return "bwrap" if self.bwrap else f"none ({self.reason})"


@cache
def find_sandbox() -> Sandbox:
    """Return the sandbox of this machine; tries it once."""
    if sys.platform != "linux":
        return Sandbox(None, "bwrap needs Linux")
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return Sandbox(None, "bwrap is not installed")
    probe = [bwrap, *UNSHARED, "--unshare-net", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"]
    try:
        done = subprocess.run(probe, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Sandbox(None, f"bwrap does not work here: {error}")
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"it exited {done.returncode}"])[-1]
        return Sandbox(None, f"bwrap does not work here: {said}")
    return Sandbox(bwrap)


def sandbox_argv(bwrap: str, launch: Launch, hidden: Sequence[Path] = ()) -> list[str]:
    """Return the command that runs the starter in a sandbox; the starter's own arguments are still to come.

    `hidden` are the platform's folders; none of them shows, wherever it lies.
    """
    argv = [bwrap, "--die-with-parent", "--new-session", *UNSHARED, "--cap-drop", "ALL"]
    if not launch.network:
        argv.append("--unshare-net")
    shared_memory = launch.limits.memory or SHARED_MEMORY
    # The kernel lets root write to /proc/sys, with capabilities or without.
    argv += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"]
    argv += ["--dev", "/dev", "--size", str(shared_memory), "--perms", "1777", "--tmpfs", "/dev/shm"]
    argv += ["--remount-ro", "/dev", "--ro-bind-try", PROCESSORS, PROCESSORS]
    system, emptied = _system(tuple(hidden))
    argv += [*system, "--bind", str(launch.scratch / "tmp"), "/tmp"]
    if launch.network:
        argv += ["--ro-bind-try", CERTIFICATES, CERTIFICATES]
        resolver = RESOLVER.resolve()
        if not _is_system(resolver):
            argv += ["--ro-bind-try", str(resolver), str(resolver)]
    for path in _needed(launch.folder):
        argv += ["--ro-bind", path, path]
    compiled = find_compiled_starter()
    argv += ["--ro-bind", compiled or _bytecode() or starter.__file__, STARTER]
    argv += ["--bind", str(launch.scratch), str(launch.scratch)]
    for mount in launch.mounts:
        argv += ["--bind" if mount.writable else "--ro-bind", str(mount.path), str(mount.path)]
    argv += [word for folder in ["/", *emptied] for word in ("--remount-ro", folder)]
    argv += ["--chdir", str(launch.folder), "--"]
    return [*argv, STARTER] if compiled else [*argv, str(_own_python()), "-I", "-S", STARTER]


@cache
def _own_python() -> Path:
    return Path(sys.executable).resolve()


@cache
def find_compiled_starter() -> str | None:
    """Return the starter that was compiled at set-up, if it is of the source as it is and runs here; tries it once."""
    source, compiled = Path(starter.__file__).with_suffix(".c"), Path(sys.prefix) / "bin" / COMPILED_STARTER
    with suppress(OSError, subprocess.TimeoutExpired):
        if compiled.stat().st_mtime >= source.stat().st_mtime:
            asked_nothing = subprocess.run([compiled], capture_output=True, timeout=20)
            return str(compiled) if asked_nothing.returncode == NOT_EXECUTED else None
    return None


@cache
def _bytecode() -> str | None:
    """Return the starter's bytecode, if there is any of the source as it is; Python runs that as well, and sooner."""
    source, bytecode = Path(starter.__file__), Path(cache_from_source(starter.__file__))
    with suppress(OSError):
        status = source.stat()
        age = (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
        with bytecode.open("rb") as file:
            header = file.read(16)
        if header == MAGIC_NUMBER + struct.pack("<III", 0, *age):
            return str(bytecode)
    return None


@cache
def _system(hidden: tuple[Path, ...]) -> tuple[list[str], list[str]]:
    """Return the words that show the system's folders, and those of its folders that show empty."""
    argv: list[str] = []
    for system in map(Path, SYSTEM):
        if system.is_symlink():
            argv += ["--symlink", str(system.readlink()), str(system)]
        elif system.is_dir():
            argv += ["--ro-bind", str(system), str(system)]
    emptied: list[str] = []
    for secret in map(Path, HIDDEN):
        if secret.is_dir():
            emptied.append(str(secret))
        elif secret.exists():
            argv += ["--ro-bind", "/dev/null", str(secret)]
    emptied += [str(folder) for folder in hidden if _is_system(folder)]
    argv += [word for folder in emptied for word in ("--tmpfs", folder)]
    return argv, emptied


# What was found for a project, and of what age its environment was then.
_found: dict[Path, tuple[object, list[str]]] = {}


def _needed(folder: Path) -> list[str]:
    """Return what a project consists of: itself, its environment, and the platform's own Python for the starter."""
    packages = sorted((folder / ".venv" / "lib").glob("python3*/site-packages"))
    age = [(path, path.stat().st_mtime_ns) for path in [*packages, folder / ".venv" / "bin"] if path.exists()]
    if folder not in _found or _found[folder][0] != age:
        paths = dict.fromkeys([*_installation(_own_python()), *_environment(folder), folder])
        _found[folder] = (age, [str(path) for path in paths])
    return _found[folder][1]


def _environment(folder: Path) -> Iterator[Path]:
    """Yield what a workload's environment consists of: itself, its interpreter, and projects installed editable."""
    environment = folder / ".venv"
    if not environment.is_dir():
        return
    if environment.is_symlink():
        yield environment.resolve()
    yield from _interpreter(environment / "bin" / "python")
    # A package says itself where it was installed from: it is believed for workloads of this project alone.
    workloads = environment.resolve().parent.parent
    for record in environment.glob("lib/python*/site-packages/*.dist-info/direct_url.json"):
        try:
            said = json.loads(record.read_text(encoding="utf-8"))
            editable, url = said["dir_info"]["editable"], urlparse(said["url"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        path = Path(unquote(url.path)).resolve()
        if editable is True and url.scheme == "file" and path.parent == workloads and path.is_dir():
            yield path


def _interpreter(python: Path) -> Iterator[Path]:
    """Yield the installation behind an environment's Python: of each link on the way, and of the file at its end."""
    seen: set[Path] = set()
    while python not in seen:
        seen.add(python)
        prefix = python.parent.parent
        if len(seen) > 1 and not _is_system(prefix):
            yield prefix if any((prefix / "lib").glob("python3*")) else python
        if python.is_symlink():
            python = python.parent / python.readlink()
    yield from _installation(python.resolve())


def _installation(python: Path) -> Iterator[Path]:
    """Yield the folder that a Python, named without links, is installed in; nothing if the system's folders hold it."""
    if not _is_system(python):
        yield python.parent.parent


def _is_system(path: Path) -> bool:
    return any(path.is_relative_to(system) for system in SYSTEM)
