"""Close Pipes properly, then exit with a code of its own."""

import sys

from showcase.pipes import open_pipes


def main() -> None:
    with open_pipes("exits_3") as pipes:
        pipes.log.info("this step exits 3")
    print("the licence server refused the request", file=sys.stderr)
    sys.exit(3)


if __name__ == "__main__":
    main()
