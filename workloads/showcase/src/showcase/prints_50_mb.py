"""Print 50 MB to stdout, half of it in lines, half of it without a newline, and succeed."""

import sys

from showcase.pipes import open_pipes

MB = 1_000_000
LINE = "x" * 99 + "\n"


def flood() -> None:
    """Print 25 MB in lines of 100 characters, then one line of 25 MB."""
    for _ in range(25):
        sys.stdout.write(LINE * (MB // len(LINE)))
    for _ in range(25):
        sys.stdout.write("." * MB)
    sys.stdout.write("\n")
    sys.stdout.flush()


def main() -> None:
    with open_pipes("prints_50_mb") as pipes:
        flood()
        pipes.report_asset_materialization(asset_key="prints_50_mb", metadata={"megabytes": 50})


if __name__ == "__main__":
    main()
