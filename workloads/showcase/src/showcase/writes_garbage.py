"""Report properly, and leave a line in the messages that is no message."""

from showcase.pipes import append_line, open_pipes

GARBAGE = "Segmentation fault (core dumped) {"


def main() -> None:
    with open_pipes("writes_garbage") as pipes:
        pipes.report_asset_materialization(asset_key="writes_garbage")
        append_line(GARBAGE)


if __name__ == "__main__":
    main()
