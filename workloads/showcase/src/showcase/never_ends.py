"""Wait for ever, with a child that ignores INT and TERM."""

import signal
import subprocess
import sys
import time

from showcase.pipes import open_pipes

CHILD_SECONDS = 120


def ignore_polite_signals() -> None:
    """Ignore INT and TERM; a program started afterwards inherits it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def main() -> None:
    with open_pipes("never_ends") as pipes:
        child = subprocess.Popen(
            [sys.executable, "-c", f"import time; time.sleep({CHILD_SECONDS})"],
            preexec_fn=ignore_polite_signals,
        )
        pipes.log.info(f"child {child.pid} ignores INT and TERM")
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main()
