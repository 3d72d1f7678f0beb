"""Start one process after another, until something stops it."""

import os
import time

from showcase.pipes import open_pipes

CEILING = 300


def fork_until(ceiling: int, pause: float = 0.01) -> None:
    """Fork every `pause` seconds; raises RuntimeError at `ceiling` processes, to spare a laptop."""
    for _ in range(ceiling):
        try:
            if os.fork() == 0:
                time.sleep(30)
                os._exit(0)
        except BlockingIOError:
            time.sleep(1)
        time.sleep(pause)
    raise RuntimeError(f"no limit stopped this step at {ceiling} processes")


def main() -> None:
    with open_pipes("forks_too_much") as pipes:
        pipes.log.info("forking")
        fork_until(CEILING)


if __name__ == "__main__":
    main()
