"""`bulkhead doctor`: what this machine can do, and what follows from it."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from orchestrator.backends.sandbox import find_compiled_starter, find_sandbox
from orchestrator.backends.supervision.cgroups import make_fence
from orchestrator.contract.units import format_memory
from orchestrator.settings import Settings, read_settings

WHERE = {"subprocess": "steps are process trees of this machine", "docker": "steps are containers of the engine"}
UNPROTECTED = "steps share this user's view of the file system and network"


def examine() -> None:
    """Print one line a capability: what was found, and what it means here."""
    settings = read_settings()
    table = Table("what", "found", "what follows", box=None, pad_edge=False)
    python = platform.python_version()
    table.add_row("python", python, "the orchestrator's; workloads have their own environments")
    table.add_row("dagster", version("dagster"), "pinned; the execution layer was read against this version")
    for tool in ("uv", "git", "make"):
        found = _version(_own(tool), "--version")
        table.add_row(tool, found or "missing", "" if found else "needed by 'make setup'")
    table.add_row("backend", settings.backend, WHERE[settings.backend])
    table.add_row("process tree", *_tree())
    table.add_row("sandbox", *_sandbox(settings))
    if settings.sandbox != "off" and find_sandbox().bwrap is not None:
        table.add_row("starter", *_starter())
    table.add_row("docker", *_docker())
    table.add_row("limits", *_limits())
    table.add_row("machine", f"{os.cpu_count()} cores, {format_memory(psutil.virtual_memory().total)}", "")
    table.add_row("home", str(settings.home), f"{format_memory(_free(settings.home))} free")
    # A table that is not looked at is read by a program or kept: one line a row.
    width = None if sys.stdout.isatty() else 160
    Console(highlight=False, soft_wrap=True, width=width).print(table)


def _tree() -> tuple[str, str]:
    if platform.system() == "Linux":
        return "subreaper", "daemons that a step leaves behind are found and killed, also when the platform is killed"
    return "process group", "a step's group is killed; a daemon with a session of its own is not found"


def _sandbox(settings: Settings) -> tuple[str, str]:
    if settings.sandbox == "off":
        return "switched off", f"BULKHEAD_SANDBOX=off; {UNPROTECTED}"
    found = find_sandbox()
    if found.bwrap is not None:
        version = _version("bwrap", "--version") or found.bwrap
        return version, "steps see their own processes, stores and datasets; no network unless declared"
    refused = "every step is refused: BULKHEAD_SANDBOX=required" if settings.sandbox == "required" else UNPROTECTED
    return found.reason, refused


def _starter() -> tuple[str, str]:
    if find_compiled_starter() is not None:
        return "compiled", "what stands in a sandbox beside the workload; under 1 MB"
    return "Python", "what stands in a sandbox: 4 MB and 6 ms more a step; compiled by 'make setup' where there is a cc"


def _limits() -> tuple[str, str]:
    if platform.system() != "Linux":
        return "none", "time limits hold; what a step uses is not measured here"
    fence = make_fence(f"doctor-{os.getpid()}", memory=1 << 30, pids=64, cores=None)
    if fence is None:
        return "watch", "every 0.05 s over the process tree; kills what is above its contract's limits"
    fence.remove()
    return f"cgroup v{fence.version} and watch", "the kernel holds memory, pids and cpu; the watch holds the rest"


def _docker() -> tuple[str, str]:
    client = _version("docker", "--version")
    if client is None:
        return "missing", "not needed by the embedded backend"
    engine = subprocess.run(
        ["docker", "version", "-f", "{{.Server.Version}}"], capture_output=True, text=True, timeout=20
    )
    answered = engine.returncode == 0 and engine.stdout.strip()
    state = f"engine {engine.stdout.strip()}" if answered else "client only, no engine answers"
    return state, "not needed by the embedded backend"


def _own(tool: str) -> str:
    beside = Path(sys.executable).parent / tool
    return str(beside) if beside.is_file() else tool


def _version(command: str, flag: str) -> str | None:
    try:
        done = subprocess.run([command, flag], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    return lines[0] if done.returncode == 0 and lines else None


def _free(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return psutil.disk_usage(str(path)).free
