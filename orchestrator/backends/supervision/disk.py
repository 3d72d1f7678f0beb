"""Finds out whether a workload fills the disk that others need as well."""

import contextlib
import os
import stat
import time

# What is kept free: this much, or this part of a small disk.
RESERVE, PART = 512 << 20, 0.1


class Disk:
    """The disks that a workload writes to: its folders, and its logs (open file descriptors).

    When one has less than its reserve left, a workload whose own files are larger than that reserve is at fault.
    """

    def __init__(self, folders: list[str], logs: list[int]) -> None:
        self.folders, self.logs = folders, logs
        # The kernel's clock for files may be a tick behind.
        self._began = time.time() - 1

    def fills(self, pids: list[int], output: int) -> int:
        """Return the bytes of the workload's own files if it fills a disk; 0 otherwise."""
        places: list[str | int] = [*self.folders, *self.logs]
        short = [reserve for place in places if (reserve := _shortage(place)) is not None]
        if not short:
            return 0
        own = output + self._written() + sum(_unnamed(pid) for pid in pids)
        return own if own >= min(short) else 0

    def _written(self) -> int:
        """Return the bytes of the files below its folders that were written since it began."""
        total, unseen = 0, list(self.folders)
        while unseen:
            with contextlib.suppress(OSError), os.scandir(unseen.pop()) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        if entry.is_dir(follow_symlinks=False):
                            unseen.append(entry.path)
                        elif (found := entry.stat(follow_symlinks=False)).st_ctime >= self._began:
                            total += found.st_blocks * 512
        return total


def _shortage(place: str | int) -> int | None:
    """Return the reserve of the disk that a file or folder is on, if less than that is left."""
    with contextlib.suppress(OSError):
        disk = os.statvfs(place)
        reserve = min(RESERVE, int(disk.f_blocks * disk.f_frsize * PART))
        return reserve if disk.f_bavail * disk.f_frsize < reserve else None
    return None


def _unnamed(pid: int) -> int:
    """Return the bytes of files that a process holds open and nobody can see."""
    total = 0
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found = os.stat(f"/proc/{pid}/fd/{name}")
                if stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                    total += found.st_blocks * 512
    return total
