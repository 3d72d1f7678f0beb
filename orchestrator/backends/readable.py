"""Waits for file descriptors."""

import select
from collections.abc import Sequence


def readable(fds: Sequence[int], seconds: float) -> set[int]:
    """Return which of these descriptors can be read, waiting for one; unlike select, with numbers of any size."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return {fd for fd, _ in poll.poll(seconds * 1000)}
