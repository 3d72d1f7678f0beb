"""Control groups: the kernel holds a step's limits where this user may make groups; elsewhere the watch alone does.

Both versions are spoken. With version 1 a group is made in each controller's own hierarchy, below the platform's; with
version 2 in the nearest group above the platform that hands its controllers down and that this user may write to.
"""

import contextlib
import os
import time

CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
PERIOD = 100_000
PREFIX = "bulkhead-"
REMOVE_SECONDS = 2.0


class Fence:
    """The groups of one step. `folders` holds the group of each controller."""

    def __init__(self, version: int, folders: dict[str, str]) -> None:
        self.version, self.folders = version, folders

    def hold(self, memory: float | None, pids: float | None, cores: float | None) -> None:
        """Set the limits.

        Raises:
            OSError: the kernel refuses one.
        """
        if memory is not None:
            if self.version == 1:
                self._set("memory", "memory.limit_in_bytes", str(int(memory)))
                self._try("memory", "memory.memsw.limit_in_bytes", str(int(memory)))
            else:
                self._set("memory", "memory.max", str(int(memory)))
                self._try("memory", "memory.swap.max", "0")
        if pids is not None:
            self._set("pids", "pids.max", str(int(pids)))
        if cores is not None and "cpu" in self.folders:
            quota = max(1000, int(cores * PERIOD))
            if self.version == 1:
                self._try("cpu", "cpu.cfs_period_us", str(PERIOD))
                self._try("cpu", "cpu.cfs_quota_us", str(quota))
            else:
                self._try("cpu", "cpu.max", f"{quota} {PERIOD}")

    def join(self) -> None:
        """Move the calling process."""
        self.move(0)

    def move(self, pid: int) -> None:
        """Move a process, and so all that it will start, into the groups. What fails is left to the watch."""
        for controller in self.folders:
            self._try(controller, "cgroup.procs", str(pid))

    def broken(self) -> str | None:
        """Return the limit that the kernel had to enforce: `memory` (it killed) or `pids` (it refused a fork)."""
        kills = self._count("memory", "memory.oom_control" if self.version == 1 else "memory.events", "oom_kill")
        if kills:
            return "memory"
        return "pids" if self._count("pids", "pids.events", "max") else None

    def cpu_seconds(self) -> float:
        """Return what the groups have used; 0 where it is not counted."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            if self.version == 1:
                return int(self._get("cpuacct", "cpuacct.usage")) / 1e9
            return self._count("cpu", "cpu.stat", "usage_usec") / 1e6
        return 0.0

    def remove(self) -> None:
        """Remove the groups once they are empty."""
        deadline = time.monotonic() + REMOVE_SECONDS
        for folder in set(self.folders.values()):
            while os.path.isdir(folder):
                try:
                    os.rmdir(folder)
                except OSError:
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.01)

    def _set(self, controller: str, name: str, value: str) -> None:
        with open(f"{self.folders[controller]}/{name}", "w") as file:
            file.write(value)

    def _try(self, controller: str, name: str, value: str) -> None:
        with contextlib.suppress(OSError):
            self._set(controller, name, value)

    def _get(self, controller: str, name: str) -> str:
        with open(f"{self.folders[controller]}/{name}") as file:
            return file.read()

    def _count(self, controller: str, name: str, key: str) -> int:
        with contextlib.suppress(OSError, KeyError, ValueError):
            for line in self._get(controller, name).splitlines():
                word, _, number = line.partition(" ")
                if word == key:
                    return int(number)
        return 0


def make_fence(
    name: str, memory: float | None, pids: float | None, cores: float | None, cpu: float | None = None
) -> Fence | None:
    """Make the groups of a step and set its limits; None if this user may not, or there is nothing to hold.

    A limit to `cpu` seconds is not set: groups count what no parent is told, and the watch reads it.
    """
    if memory is None and pids is None and cores is None and cpu is None:
        return None
    fence = _groups(name)
    if fence is None:
        return None
    made: dict[str, str] = {}
    try:
        for controller, folder in fence.folders.items():
            if folder not in made.values():
                os.mkdir(folder)
                made[controller] = folder
        fence.hold(memory, pids, cores)
    except OSError:
        # A group that was there before belongs to another step.
        Fence(fence.version, made).remove()
        return None
    return fence


def remove_fence(name: str) -> None:
    """Remove the groups that a step left behind because its supervisor was killed."""
    fence = _groups(name)
    if fence is not None:
        fence.remove()


def _groups(name: str) -> Fence | None:
    """Return where the groups of a step would be, or None if there is no such place."""
    own, mounts = _own_groups(), _mounts()
    folders = {}
    for controller in CONTROLLERS:
        if controller in mounts:
            folders[controller] = _below(mounts[controller], own.get(controller, "/"), name)
    if "memory" in folders and "pids" in folders:
        writable = all(os.access(os.path.dirname(folder), os.W_OK) for folder in folders.values())
        return Fence(1, folders) if writable else None
    if "" in mounts and "" in own:
        parent = _handing_down(mounts[""], own[""])
        if parent is not None:
            return Fence(2, dict.fromkeys(("memory", "pids", "cpu"), f"{parent}/{PREFIX}{name}"))
    return None


def _own_groups() -> dict[str, str]:
    """Return the group of this process by controller; version 2 under the name ''."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError), open("/proc/self/cgroup") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            found |= dict.fromkeys(controllers.split(","), path)
    return found


def _mounts() -> dict[str, str]:
    """Return where each controller's hierarchy is mounted; version 2 under the name ''."""
    found = {}
    with contextlib.suppress(OSError), open("/proc/self/mountinfo") as file:
        for line in file:
            mount, _, kind = line.partition(" - ")
            words = kind.split()
            if words[0] == "cgroup2":
                found[""] = mount.split()[4]
            elif words[0] == "cgroup":
                found |= {name: mount.split()[4] for name in words[2].split(",") if name in CONTROLLERS}
    return found


def _below(mount: str, own: str, name: str) -> str:
    # In a container the path may be the host's, and the mount the container's own.
    base = mount + own.rstrip("/")
    return f"{base if os.path.isdir(base) else mount}/{PREFIX}{name}"


def _handing_down(mount: str, own: str) -> str | None:
    path = own
    while True:
        folder = (mount + path).rstrip("/")
        with contextlib.suppress(OSError), open(f"{folder}/cgroup.subtree_control") as file:
            writable = os.access(folder, os.W_OK) and os.access(f"{folder}/cgroup.procs", os.W_OK)
            if {"memory", "pids"} <= set(file.read().split()) and writable:
                return folder
        if path in ("/", ""):
            return None
        path = os.path.dirname(path)
