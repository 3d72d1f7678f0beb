"""What the engine is asked for one step: a container that can do no more than its contract says."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.backends.engine import LABEL, Engine, Image
from orchestrator.backends.launch import Launch

INIT = "/run/bulkhead-init"
# Who a workload is in its container, if the platform itself is root.
NOBODY = 10001
SHARED_MEMORY, TEMPORARY = 64 << 20, 256 << 20
LEAST_MEMORY = 6 << 20
# Above the contract's limit, so that its breach can be seen; the kernel lets nobody past this.
SPARE_PIDS = 16


def user() -> tuple[int, int]:
    """Return the user and group that steps run as: the platform's own, but never root."""
    return (os.getuid(), os.getgid()) if os.getuid() else (NOBODY, NOBODY)


def container_config(engine: Engine, image: Image, launch: Launch, status: str, init: str) -> dict[str, Any]:
    """Return the body of the engine's request to create a step's container.

    Its command, its environment and its own limits are not in it: they are told to `bulkhead-init` on its stdin, so
    that nobody reads them in `docker inspect`, and so that a container can be made before they are known.
    """
    limits = launch.limits
    memory = max(limits.memory, LEAST_MEMORY) if limits.memory else None
    size = memory or TEMPORARY
    config: dict[str, Any] = {
        "Image": image.id,
        "Entrypoint": [INIT, "--status", status, "--stdin"],
        "Cmd": [],
        "User": "{}:{}".format(*user()),
        "WorkingDir": image.folder,
        "Labels": labels(engine, launch),
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": {
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "NetworkMode": engine.network() if launch.network else "none",
            "IpcMode": "private",
            "ShmSize": min(size, SHARED_MEMORY),
            "Tmpfs": {"/tmp": f"rw,nosuid,nodev,mode=1777,size={min(size, TEMPORARY)}"},
            "Mounts": _mounts(engine, launch, init),
            "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
            "OomScoreAdj": 800,
            "LogConfig": _log(engine),
            "RestartPolicy": {"Name": "no"},
        },
    }
    host = config["HostConfig"]
    if memory:
        # No swap beyond the memory.
        host |= {"Memory": memory, "MemorySwap": memory}
    if limits.cores:
        host["NanoCpus"] = int(min(limits.cores, os.cpu_count() or limits.cores) * 1e9)
    if limits.pids:
        host["PidsLimit"] = limits.pids + SPARE_PIDS
    return config


def labels(engine: Engine, launch: Launch) -> dict[str, str]:
    """Return what a container says of itself, by which it is found again."""
    keep = {"keep": f"{engine.settings.keep_failed:g}"} if engine.settings.keep_failed else {}
    own = {**launch.labels, **keep, "home": engine.path(engine.settings.home)}
    return {f"{LABEL}{name}": value for name, value in own.items()}


def order(launch: Launch, environment: Mapping[str, str]) -> bytes:
    """Return what `bulkhead-init` is told on its stdin: a length, then words with a NUL behind each.

    The words are what follows on its command line: its limits, the workload's variables, the command.
    """
    limits = launch.limits
    held = {
        "--pids": limits.pids,
        "--open-files": limits.open_files,
        "--cpu-time": limits.cpu_time,
        "--memory": limits.memory,
    }
    words = [word for option, limit in held.items() if limit is not None for word in (option, str(limit))]
    words += [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
    data = b"".join(os.fsencode(word) + b"\0" for word in [*words, "--", *launch.argv])
    return b"%d\n" % len(data) + data


def key_of(config: Mapping[str, Any], status: str) -> str:
    """Return what two containers have in common that can stand for each other."""
    return json.dumps(config, sort_keys=True).replace(json.dumps(status), "")


def _mounts(engine: Engine, launch: Launch, init: str) -> list[dict[str, Any]]:
    given = [(str(launch.scratch), True), *((str(mount.path), mount.writable) for mount in launch.mounts)]
    bound = [(engine.path(Path(path)), path, writable) for path, writable in given]
    bound.append((init, INIT, False))
    return [
        {"Type": "bind", "Source": source, "Target": target, "ReadOnly": not writable}
        for source, target, writable in bound
    ]


def _log(engine: Engine) -> dict[str, Any]:
    """Return where the engine itself keeps output: nowhere, unless someone may want to look into a kept container."""
    if engine.settings.keep_failed:
        return {"Type": "local", "Config": {"max-size": "10m", "max-file": "2"}}
    return {"Type": "none", "Config": {}}
