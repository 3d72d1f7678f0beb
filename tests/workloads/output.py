"""Write to stdout and stderr what no log expects."""

import os
import sys

from common import run
from dagster_pipes import open_dagster_pipes

MEBIBYTE = 1 << 20


def _report() -> None:
    with open_dagster_pipes() as pipes:
        pipes.report_asset_materialization()


def _pour(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def ten_megabytes_without_a_newline() -> None:
    for _ in range(10):
        _pour(2, b"x" * MEBIBYTE)
    _report()


def invalid_utf_8() -> None:
    _pour(1, b"caf\xe9 \xff\xfe\xc3(\n")
    _report()


def nul_bytes() -> None:
    _pour(1, b"a\0b\0" * 1000 + b"\n")
    _report()


def one_gigabyte_on_stdout() -> None:
    block = (b"." * 127 + b"\n") * (MEBIBYTE // 128)
    for _ in range(1024):
        _pour(1, block)
    _pour(1, b"the end\n")
    _report()


def closes_its_output() -> None:
    for fd in (0, 1, 2):
        os.close(fd)
    _report()


def wipes_its_log() -> None:
    print("said once", flush=True)
    for fd in (1, 2):
        try:
            os.truncate(fd, 0)
        except OSError as error:
            print(error, file=sys.stderr)
    _report()


if __name__ == "__main__":
    run(globals())
