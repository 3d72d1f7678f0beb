"""The command line of a step that runs alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from bulkhead_sdk.errors import BadParameter
from bulkhead_sdk.parameters import Parameter


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadParameter(f"{message}; see --help")


def read(step: str, parameters: list[Parameter], arguments: list[str]) -> dict[str, Any]:
    """Parse the flags; parameters stay text or None. Raises BadParameter; `--help` prints and exits 0."""
    parser = _Parser(
        prog=step,
        allow_abbrev=False,
        description=f"Run the step {step} alone and print what it would report.",
        epilog="Exit codes: 0 done, 64 bad parameter, 65 a blocking check failed, 66 input missing, "
        "70 nothing was reported, 1 an exception.",
    )
    group = parser.add_argument_group("parameters") if parameters else parser
    for parameter in parameters:
        origin = f"{parameter.variable}, " if parameter.variable else ""
        group.add_argument(
            parameter.flag,
            dest=parameter.name,
            metavar=parameter.kind.split(" ")[0].upper(),
            nargs="?" if parameter.kind == "bool" else None,
            const="true" if parameter.kind == "bool" else None,
            help=f"{parameter.help} [{origin}default {parameter.default!r}]".strip().replace("%", "%%"),
        )
    parser.add_argument(
        "--partition",
        metavar="KEY",
        action="append",
        default=[],
        help="a partition key, or date=2026-01-01,region=eu; repeatable",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME=PATH",
        action="append",
        default=[],
        help="a folder of *.parquet to read as this dataset; repeatable",
    )
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    line = vars(parser.parse_args(arguments))
    datasets = {}
    for text in line["dataset"]:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise BadParameter(f"--dataset: expected NAME=PATH, got {text!r}")
        datasets[name] = Path(path)
    line["dataset"] = datasets
    return line
