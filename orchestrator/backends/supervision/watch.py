"""Measures a process tree while it runs, and says which of its limits it broke."""

import time
from collections.abc import Collection

from . import processes
from .cgroups import Fence

SAMPLE_SECONDS = 0.05
# Measuring takes at most this part of the time.
SHARE = 0.1


class Watch:
    """The peaks of one tree, and its limits: `memory` (bytes), `cpu` (seconds), `pids`, `open_files`, `output` (bytes).

    A limit that is None is not held.
    """

    def __init__(self, limits: dict[str, float | None], fence: Fence | None, count_shared_memory: bool) -> None:
        self.limits, self.fence, self.count_shared_memory = limits, fence, count_shared_memory
        self.peaks: dict[str, float] = {"memory": 0, "cpu": 0.0, "pids": 0, "open_files": 0, "output": 0, "disk": 0}
        self.broken: str | None = None
        self._next = 0.0

    @property
    def measured(self) -> bool:
        """Whether there was a measurement."""
        return self._next > 0

    def due(self) -> float:
        """Return the seconds until the next measurement."""
        return max(0.0, self._next - time.monotonic())

    def count_output(self, size: int) -> None:
        """Take in how many bytes the workload has written so far."""
        self._peak("output", size)
        self._find("output")

    def count_disk(self, size: int) -> None:
        """Take in how large the workload's files are, if it fills a disk; 0 if it does not."""
        self._peak("disk", size)
        if size and self.broken is None:
            self.broken = "disk"

    def sample(self, tree: list[int], wrappers: frozenset[int]) -> None:
        """Measure the tree now. `wrappers` are processes in it that are not the workload's."""
        began = time.monotonic()
        seen = {pid: found for pid in tree if (found := processes.look(pid)) is not None}
        own = {pid: found for pid, found in seen.items() if pid not in wrappers}
        self._peak("pids", sum(found.threads for found in own.values()))
        self._peak("memory", self._memory(own))
        self._peak("cpu", sum(found.cpu for found in seen.values()))
        if self.limits["open_files"] is not None:
            self._peak("open_files", sum(processes.open_files(pid) for pid in own))
        self._judge()
        self._next = began + max(SAMPLE_SECONDS, (time.monotonic() - began) / SHARE)

    def settle(self, cpu: float, output: int) -> None:
        """Take in what is known when the tree is gone: its cpu seconds as its parent was told them, its output."""
        self._peak("cpu", cpu)
        self._peak("output", output)
        self._judge()

    def _judge(self) -> None:
        if self.fence is not None:
            self._peak("cpu", self.fence.cpu_seconds())
        for name in self.limits:
            self._find(name)
        held = self.fence.broken() if self.fence is not None and self.broken is None else None
        # A group further up, which is not the contract's, may have run out as well.
        if held is not None and (limit := self.limits[held]) is not None:
            # The kernel lets nobody past the limit: the peak is the limit.
            self._peak(held, limit)
            self.broken = held

    def _find(self, name: str) -> None:
        limit = self.limits[name]
        if self.broken is None and limit is not None and self.peaks[name] > limit:
            self.broken = name

    def _memory(self, own: Collection[int]) -> int:
        """Return the bytes of the tree that no file backs; a page that several processes share counts once."""
        anonymous = shared = 0
        for pid in own:
            sizes = processes.unbacked_memory(pid, alone=len(own) == 1)
            anonymous += sizes[0]
            shared += sizes[1]
        if own and self.count_shared_memory:
            shared = max(shared, processes.shared_memory(min(own)))
        return anonymous + shared

    def _peak(self, name: str, value: float) -> None:
        self.peaks[name] = max(self.peaks[name], value)
