"""Reads processes from /proc. Where there is no /proc, no process is found."""

import contextlib
import os

TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """One process as it was a moment ago: its threads, and cpu seconds with those of its reaped children."""

    __slots__ = ("cpu", "threads")

    def __init__(self, threads: int, cpu: float) -> None:
        self.threads, self.cpu = threads, cpu


def children(pid: int) -> list[int]:
    """Return the direct children of a process."""
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as listing:
                found += [int(word) for word in listing.read().split()]
    return found


def descendants(pid: int) -> list[int]:
    """Return all processes below a process."""
    found, unseen = [], children(pid)
    while unseen:
        child = unseen.pop()
        found.append(child)
        unseen += children(child)
    return found


def look(pid: int) -> Process | None:
    """Return what a process is using, or None if it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    cpu = sum(int(field) for field in fields[11:15]) / TICKS
    return Process(int(fields[17]), cpu)


def unbacked_memory(pid: int, alone: bool) -> tuple[int, int]:
    """Return the bytes of a process that no file backs: its own, and shared ones. (0, 0) if it is gone.

    Pages of files are not counted: the kernel takes them back when memory is short. Unless the process is `alone`, a
    page that it shares counts as its part of it, which takes the kernel longer to find out.
    """
    source, words = (
        ("status", (b"RssAnon:", b"RssShmem:")) if alone else ("smaps_rollup", (b"Pss_Anon:", b"Pss_Shmem:"))
    )
    sizes = [0, 0]
    with contextlib.suppress(OSError), open(f"/proc/{pid}/{source}", "rb") as file:
        for line in file:
            for i, word in enumerate(words):
                if line.startswith(word):
                    sizes[i] = int(line.split()[1]) * 1024
    return sizes[0], sizes[1]


def open_files(pid: int) -> int:
    """Return how many file descriptors a process holds."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def shared_memory(pid: int) -> int:
    """Return the bytes that lie in /dev/shm as a process sees it."""
    try:
        usage = os.statvfs(f"/proc/{pid}/root/dev/shm")
    except OSError:
        return 0
    return (usage.f_blocks - usage.f_bfree) * usage.f_frsize


def outside_pid(inside: int, candidates: list[int]) -> int | None:
    """Return which of these processes has a pid inside the innermost pid namespace."""
    for pid in candidates:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith("NSpid:") and line.split()[-1] == str(inside):
                    return pid
    return None
