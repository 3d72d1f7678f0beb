"""The results of a program that speaks no Pipes: its exit code, and the JSON file that it may leave.

What the file says becomes Pipes messages, so that one set of rules holds for both. The JSON schema of the file is in
`docs/result.schema.json`.
"""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError

from orchestrator.execution.report import Asked

MAX_BYTES = 16 << 20
PROTOCOL = "0.1"


class ResultError(Exception):
    """The result file cannot be used; says why."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AssetResult(_Part):
    """One asset that was made."""

    metadata: dict[str, Any] = Field(default={}, description="Any JSON value by name.")
    data_version: StrictStr | None = Field(default=None, description="What tells this content from any other.")


class CheckResult(_Part):
    """One check that was run."""

    asset: StrictStr
    name: StrictStr
    passed: StrictBool
    severity: Literal["WARN", "ERROR"] = "ERROR"
    metadata: dict[str, Any] = Field(default={}, description="Any JSON value by name.")


class ResultFile(_Part):
    """What a step leaves at the path in BULKHEAD_RESULT."""

    assets: dict[str, AssetResult] = Field(default={}, description="By asset key, as the contract writes it.")
    checks: list[CheckResult] = []


def result_messages(path: Path, asked: Asked, exit_code: int | None) -> Iterator[bytes]:
    """Yield the Pipes messages that a program without Pipes would have sent.

    Without a file, an exit with 0 means that every asset asked for was made.

    Raises:
        ResultError: the file is there and is no result file.
    """
    yield _message("opened", {})
    try:
        result = _read(path)
    except ResultError:
        yield _message("closed", {})
        raise
    if result is None and exit_code == 0:
        result = ResultFile(assets={key: AssetResult() for key in asked.assets})
    for key, asset in (result.assets if result else {}).items():
        params = {"asset_key": key, "metadata": _metadata(asset.metadata), "data_version": asset.data_version}
        yield _message("report_asset_materialization", params)
    for check in result.checks if result else []:
        named = {"asset_key": check.asset, "check_name": check.name, "passed": check.passed}
        more = {"severity": check.severity, "metadata": _metadata(check.metadata)}
        yield _message("report_asset_check", {**named, **more})
    yield _message("closed", {})


def _read(path: Path) -> ResultFile | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ResultError(f"its result file cannot be read: {error.strerror}") from error
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise ResultError("its result file is no plain file")
    with os.fdopen(fd, "rb") as file:
        if found.st_size > MAX_BYTES:
            raise ResultError(f"its result file is larger than {MAX_BYTES >> 20}Mi")
        try:
            return ResultFile.model_validate(json.loads(file.read().decode("utf-8")))
        except ValidationError as error:
            reasons = [
                f"{'.'.join(str(part) for part in item['loc']) or 'the whole'}: {item['msg']}"
                for item in error.errors()[:3]
            ]
            raise ResultError(f"its result file does not fit its schema: {'; '.join(reasons)}") from error
        except (ValueError, RecursionError) as error:
            raise ResultError(f"its result file is not JSON: {error}") from error


def _metadata(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        if isinstance(value, dict) and value.keys() == {"raw_value", "type"}
        else {"raw_value": value, "type": "__infer__"}
        for name, value in values.items()
    }


def _message(method: str, params: dict[str, Any]) -> bytes:
    return json.dumps({"__dagster_pipes_version": PROTOCOL, "method": method, "params": params}).encode()
