"""What the workloads of the conformance suite share. Each is a function; `python FILE NAME` runs one."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from dagster_pipes import decode_param


def messages() -> str:
    """Return the path of the messages file."""
    return str(decode_param(os.environ["DAGSTER_PIPES_MESSAGES"])["path"])


def write(data: bytes) -> None:
    """Append bytes to the messages file, past the library."""
    with open(messages(), "ab") as file:
        file.write(data)


def line(method: str, **params: Any) -> bytes:
    """Return one message as the protocol writes it."""
    return json.dumps({"__dagster_pipes_version": "0.1", "method": method, "params": params}).encode() + b"\n"


def say(method: str, **params: Any) -> None:
    """Send one message, past the library."""
    write(line(method, **params))


def made(name: str) -> bytes:
    """Return the message that reports an asset."""
    return line("report_asset_materialization", asset_key=name, metadata=None, data_version=None)


def run(names: dict[str, Any]) -> None:
    """Run the function that the command line names."""
    function: Callable[[], None] = names[sys.argv[1]]
    function()
