"""The one thing that a workload imports: a step to report on."""

from __future__ import annotations

import os
import sys

from bulkhead_sdk import metadata as values
from bulkhead_sdk.errors import BLOCKED, WorkloadError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Any

    from bulkhead_sdk.parameters import Parameter
    from bulkhead_sdk.parts import Dataset, Partition

LEVELS = ("debug", "info", "warning", "error", "critical")


def open_step(name: str, *, parameters: type | None = None, env_prefix: str | None = None) -> Step:
    """Open a step for a `with` block.

    `parameters` is a frozen dataclass whose fields are int, float, str, bool or `str | None`, each with a
    default. A field `rows` is read from `--rows` (standalone), else `<env_prefix>_ROWS`, else its default.
    """
    return Step(name, parameters, env_prefix)


class Step:
    """One process of a workload, under the platform or alone.

    Leaving the block exits the process: 65 after a failed blocking check, 64 for a parameter that cannot be
    read, 66 for a missing input, 70 (alone) if nothing was reported, 1 with a traceback for an exception.
    """

    parameters: Any

    def __init__(self, name: str, parameters: type | None, env_prefix: str | None) -> None:
        self.name = name
        self.parameters = None
        self._declared = parameters
        self._prefix = env_prefix
        self._host: Any = None
        self._reported: set[str] = set()
        self._checked: set[tuple[str, str]] = set()
        self._blocked: list[str] = []

    def __enter__(self) -> Step:
        if "DAGSTER_PIPES_CONTEXT" in os.environ:
            from bulkhead_sdk.under_pipes import UnderPipes as Host
        else:
            from bulkhead_sdk.standalone import Standalone as Host
        parameters = self._declared_parameters()
        self._host = Host(self.name)
        try:
            self._host.open(parameters)
            self.parameters = self._read_parameters()
            self._host.parameters = self.parameters
        except SystemExit:
            raise
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        host, self._host = self._host, None
        ended_cleanly = error is None or (isinstance(error, SystemExit) and not error.code)
        if ended_cleanly:
            code = BLOCKED if self._blocked else 0
        else:
            code = error.exit_code if isinstance(error, WorkloadError) else getattr(error, "code", 1)
            code = code if isinstance(code, int) else 1
        code = host.close(error, code)
        if isinstance(error, WorkloadError):
            print(f"{self.name}: {error}", file=sys.stderr)
        if code and (ended_cleanly or isinstance(error, WorkloadError)):
            if self._blocked and ended_cleanly:
                print(f"{self.name}: blocked by {', '.join(self._blocked)}", file=sys.stderr)
            sys.stdout.flush()
            raise SystemExit(code) from None

    @property
    def standalone(self) -> bool:
        """Tell whether this process runs without the platform."""
        return self._open().standalone

    @property
    def partition(self) -> Partition | None:
        """Return the partitions of this run, or None if the step is not partitioned."""
        return self._open().partition

    def asked_for(self, asset: str) -> bool:
        """Tell whether the asset is selected in this run; alone, every asset is."""
        return self._open().asked_for(asset)

    def store(self, name: str) -> Path:
        """Return the directory of a private store; alone `.standalone/stores/<name>`. Raises MissingInput."""
        return self._open().store(name)

    def dataset(self, name: str) -> Dataset:
        """Return the pinned version of a dataset that this step reads. Raises MissingInput."""
        return self._open().dataset(name)

    def new_version(self, name: str) -> Path:
        """Return an empty directory to write `*.parquet` into; it is published after the checks.

        Alone, the files move to `.standalone/datasets/<name>/<version>` when the block ends without an
        exception and without a failed blocking check. The asset of the same name must be reported.
        """
        return self._open().new_version(name)

    def log(self, text: str, level: str = "info") -> None:
        """Log one line to Dagster's event log; alone, to stderr."""
        if level not in LEVELS:
            raise ValueError(f"log level: expected one of {', '.join(LEVELS)}, got {level!r}")
        self._open().log(str(text), level)

    def check(
        self,
        name: str,
        *,
        passed: bool,
        asset: str,
        blocking: bool = True,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Report a check; a failed blocking one ends the step with 65 when the block is left.

        Whether a check blocks is the contract's word where the platform sends it. A check that was not asked
        for in this run is skipped and counts for nothing.
        """
        host = self._open()
        passed = passed.item() if hasattr(passed, "item") else passed
        if not isinstance(passed, bool):
            raise TypeError(f"check {name!r}: `passed` is a bool, got {passed!r}")
        if (asset, name) in self._checked:
            raise ValueError(f"check {name!r} of {asset!r} was reported already")
        self._checked.add((asset, name))
        if host.skips_check(asset, name):
            host.log(f"check {name!r} of {asset!r} was not asked for in this run: skipped", "debug")
            return
        blocking = host.blocking(asset, name, blocking)
        host.check(asset, name, passed, blocking, values.typed(metadata))
        if blocking and not passed:
            self._blocked.append(f"{asset}.{name}")

    def report(
        self, asset: str, *, metadata: Mapping[str, Any] | None = None, data_version: str | None = None
    ) -> None:
        """Report an asset as made. Values are Python, numpy scalars, or `{"raw_value", "type"}` of Pipes."""
        host = self._open()
        if asset in self._reported:
            raise ValueError(f"asset {asset!r} was reported already")
        typed = values.typed(metadata)
        self._reported.add(asset)
        if host.skips_asset(asset):
            host.log(f"asset {asset!r} was not asked for in this run: skipped", "debug")
            return
        host.materialization(asset, typed, data_version)

    def report_table(
        self,
        asset: str,
        *,
        rows: int | None = None,
        columns: Mapping[str, str] | None = None,
        preview: Iterable[Mapping[str, Any]] | None = None,
        metadata: Mapping[str, Any] | None = None,
        data_version: str | None = None,
    ) -> None:
        """Report a table: row count, `{column: type}` and a few rows as dicts, each shown by Dagster's UI."""
        described = {**values.table(rows, columns, preview), **(metadata or {})}
        self.report(asset, metadata=described, data_version=data_version)

    def image(self, name: str, png: bytes) -> dict[str, str]:
        """Return a metadata value that Dagster's UI shows as a picture; raises ValueError if it is no PNG."""
        return values.image(name, png)

    def _declared_parameters(self) -> list[Parameter]:
        if self._declared is None:
            return []
        from bulkhead_sdk.parameters import parameters_of

        return parameters_of(self._declared, self._prefix)

    def _read_parameters(self) -> Any:
        if self._declared is None:
            return None
        from bulkhead_sdk.parameters import read_parameters

        return read_parameters(self._declared, self._prefix, self._host.flags, os.environ)

    def _open(self) -> Any:
        if self._host is None:
            raise RuntimeError(f"step {self.name!r} is not open: use it inside `with open_step(...) as step`")
        return self._host
