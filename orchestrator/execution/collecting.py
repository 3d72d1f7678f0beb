"""When Python looks for garbage: not while much is built that will stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Python's own is 700 (before 3.13): among many new objects that stay, it looks through all of them again and again.
NEW_OBJECTS = 10_000


@contextmanager
def collector_paused() -> Iterator[None]:
    """Collect no garbage within the block. Pauses may be nested; a collector that is off stays off."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def keep_what_is_loaded() -> None:
    """Never look through what is in memory now, and less often through what comes, as long as the process lives."""
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
