"""Ask for another try, each time."""

import os
import sys

from showcase.pipes import open_pipes


def main() -> None:
    with open_pipes("exits_75") as pipes:
        pipes.log.info(f"attempt {pipes.extras.get('attempt')}")
    print("the source is busy, try again", file=sys.stderr)
    sys.exit(os.EX_TEMPFAIL)


if __name__ == "__main__":
    main()
