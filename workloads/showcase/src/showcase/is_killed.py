"""Be killed by a signal that no process can catch."""

import os
import signal

from showcase.pipes import open_pipes


def main() -> None:
    with open_pipes("is_killed") as pipes:
        pipes.log.info("this step kills itself")
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
