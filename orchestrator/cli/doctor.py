"""`bulkhead doctor`: what this machine can do, and what follows from it."""

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from orchestrator.contract.units import format_memory
from orchestrator.settings import read_settings

BWRAP_PROBE = ["bwrap", "--ro-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "--dev", "/dev", "true"]


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
    table.add_row("backend", settings.backend, "steps are process trees of this machine")
    table.add_row("process tree", *_tree())
    table.add_row("bwrap", *_bwrap())
    table.add_row("docker", *_docker())
    table.add_row(
        "memory limit", "watcher", "sampled each 0.1 s over the process tree; kills above the contract's limit"
    )
    table.add_row("machine", f"{os.cpu_count()} cores, {format_memory(psutil.virtual_memory().total)}", "")
    table.add_row("home", str(settings.home), f"{format_memory(_free(settings.home))} free")
    Console(highlight=False, soft_wrap=True).print(table)


def _tree() -> tuple[str, str]:
    if platform.system() == "Linux":
        return "subreaper", "daemons that a step leaves behind are found and killed, also when the platform is killed"
    return "process group", "a step's group is killed; a daemon with a session of its own is not found"


def _bwrap() -> tuple[str, str]:
    if shutil.which("bwrap") is None:
        return "missing", "steps share this user's view of the file system and network"
    works = subprocess.run(BWRAP_PROBE, capture_output=True, timeout=20).returncode == 0
    follows = "not used by this version; steps share this user's view of the file system and network"
    return (_version("bwrap", "--version") or "installed") + ("" if works else " (does not work here)"), follows


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
