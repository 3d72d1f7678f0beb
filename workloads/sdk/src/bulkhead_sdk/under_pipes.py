"""A step under the platform: everything it reports goes through Dagster Pipes.

The same words go to stdout (reports) and stderr (log lines): a step's own output reads like a standalone run.
"""

from __future__ import annotations

import sys
import time
from functools import cached_property

from bulkhead_sdk.errors import MissingInput
from bulkhead_sdk.pipes import open_session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from bulkhead_sdk.parts import Dataset, Partition


class UnderPipes:
    """Report to the platform. `extras` of the context say what was asked for."""

    standalone = False
    flags: Mapping[str, str | None] = {}

    def __init__(self, step: str) -> None:
        self.step = step
        self.pipes = open_session()
        extras = self.pipes.extras
        self.assets = set(self.pipes.asset_keys) if self.pipes.asset_keys is not None else None
        self.checks = _by_asset_and_name(extras["checks"]) if "checks" in extras else None
        self.declared = extras.get("declared")
        self.stamps_logs = "log_timestamp" in (extras.get("accepts") or ())

    @cached_property
    def partition(self) -> Partition | None:
        """Return the partitions that the platform sent."""
        sent = self.pipes.extras.get("partition")
        if not sent:
            return None
        from bulkhead_sdk.parts import Partition

        return Partition(tuple(sent["keys"]), tuple(sent.get("dimensions") or ()))

    def open(self, parameters: list[Any]) -> None:
        """Take no flags: under the platform the environment alone carries parameters."""

    def asked_for(self, asset: str) -> bool:
        """Tell whether the asset is selected in this run."""
        return self.assets is None or asset in self.assets

    def blocking(self, asset: str, name: str, said: bool) -> bool:
        """Return what the contract says about the check, else what the workload said."""
        return bool((self.checks or {}).get((asset, name), {}).get("blocking", said))

    def skips_asset(self, asset: str) -> bool:
        """Tell whether the asset is declared and was left out of this run; an undeclared one is passed on."""
        if self.asked_for(asset):
            return False
        if self.declared is not None:
            return asset in self.declared["assets"]
        return not self.assets or asset == self.step or any(owner == asset for owner, _ in self.checks or ())

    def skips_check(self, asset: str, name: str) -> bool:
        """Tell whether the check is declared and was left out of this run; an undeclared one is passed on."""
        if self.checks is None or (asset, name) in self.checks:
            return False
        if self.declared is not None:
            return (asset, name) in _by_asset_and_name(self.declared["checks"])
        return not (self.asked_for(asset) and any(owner == asset for owner, _ in self.checks))

    def log(self, text: str, level: str) -> None:
        """Send one line to Dagster's event log, timed if the platform accepts that, and print it."""
        message: dict[str, Any] = {"message": text, "level": level.upper()}
        if self.stamps_logs:
            message["timestamp"] = time.time()
        print(f"{level}: {text}", file=sys.stderr, flush=True)
        self.pipes.send("log", message)

    def materialization(self, asset: str, metadata: dict[str, Any], data_version: str | None) -> None:
        """Report an asset, asked for or not: the platform judges."""
        from bulkhead_sdk import rendering

        message = {"asset_key": asset, "data_version": data_version, "metadata": metadata or None}
        self.pipes.send("report_asset_materialization", message)
        _print(rendering.asset_lines(asset, metadata or {}, data_version))

    def check(self, asset: str, name: str, passed: bool, blocking: bool, metadata: dict[str, Any]) -> None:
        """Report a check."""
        from bulkhead_sdk import rendering

        severity = "ERROR" if blocking else "WARN"
        message = {"asset_key": asset, "check_name": name, "passed": passed, "severity": severity}
        self.pipes.send("report_asset_check", {**message, "metadata": metadata or None})
        _print(rendering.check_lines(asset, name, passed, blocking, metadata or {}))

    def store(self, name: str) -> Path:
        """Return the store's directory; raises MissingInput if the contract does not give it."""
        return self._directory("STORE", name, f"store {name!r}", f"add `{name}: rw` to `stores`")

    def dataset(self, name: str) -> Dataset:
        """Return the pinned version; raises MissingInput if the contract does not read it."""
        from bulkhead_sdk.parts import Dataset

        path = self._directory(
            "DATASET", name, f"dataset {name!r}", f"add `{name}` to `reads` and to its asset's `deps`"
        )
        return Dataset(path, path.name)

    def new_version(self, name: str) -> Path:
        """Return the platform's directory for the new version; it is published after a green verdict."""
        return self._directory("PUBLISH", name, f"new version of {name!r}", f"add `{name}` to `publishes`")

    def _directory(self, kind: str, name: str, what: str, remedy: str) -> Path:
        from bulkhead_sdk.directories import directory_from_environment, variable

        path = directory_from_environment(kind, name)
        if path is None:
            raise MissingInput(
                f"no {what} was handed to this step ({variable(kind, name)}): {remedy} in defs.yaml"
            )
        if not path.is_dir():
            raise MissingInput(f"{variable(kind, name)}: {path} is not a directory")
        return path

    def close(self, error: BaseException | None, exit_code: int) -> int:
        """Close Pipes, with the exception if there was one; returns the exit code as it is."""
        ended_cleanly = error is None or (isinstance(error, SystemExit) and not error.code)
        self.pipes.close(None if ended_cleanly else error)
        return exit_code


def _print(lines: Sequence[str]) -> None:
    """Print for a person; a metadata value that cannot be shown is no reason to fail."""
    try:
        print("\n".join(lines), flush=True)
    except (OSError, UnicodeError):
        return


def _by_asset_and_name(checks: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(check["asset"], check["name"]): check for check in checks}
