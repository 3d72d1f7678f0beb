"""A step alone on a machine: flags, local folders, and a report for a reader. No Dagster."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from bulkhead_sdk.directories import directory_from_environment, variable
from bulkhead_sdk.errors import BLOCKED, MissingInput, NothingReported, WorkloadError
from bulkhead_sdk.parameters import Parameter
from bulkhead_sdk.parts import Dataset, Partition

HOME = Path(".standalone")
WOULD_FAIL = "under Dagster this step would fail"


class Standalone:
    """Collect what is reported; print it and publish what was written when the step ends."""

    standalone = True

    def __init__(self, step: str) -> None:
        self.step = step
        self.flags: dict[str, str | None] = {}
        self.partition: Partition | None = None
        self.as_json = False
        self.given_datasets: dict[str, Path] = {}
        self.parameters: Any = None
        self.assets: list[dict[str, Any]] = []
        self.checks: list[dict[str, Any]] = []
        self.versions: list[dict[str, Any]] = []
        self._staging: dict[str, Path] = {}

    def open(self, parameters: list[Parameter]) -> None:
        """Read the command line."""
        from bulkhead_sdk.command_line import read

        line = read(self.step, parameters, sys.argv[1:])
        self.flags = {parameter.name: line.pop(parameter.name) for parameter in parameters}
        self.partition = Partition.from_flags(line["partition"])
        self.as_json = line["json"]
        self.given_datasets = line["dataset"]

    def asked_for(self, asset: str) -> bool:
        """Every asset is asked for."""
        return True

    def blocking(self, asset: str, name: str, said: bool) -> bool:
        """Take the workload's word."""
        return said

    def skips_asset(self, asset: str) -> bool:
        """Skip nothing."""
        return False

    def skips_check(self, asset: str, name: str) -> bool:
        """Skip nothing."""
        return False

    def log(self, text: str, level: str) -> None:
        """Print the line to stderr; debug lines are left out."""
        if level != "debug":
            print(f"{level}: {text}" if level != "info" else text, file=sys.stderr, flush=True)

    def materialization(self, asset: str, metadata: dict[str, Any], data_version: str | None) -> None:
        """Keep the report of an asset."""
        self.assets.append({"asset": asset, "data_version": data_version, "metadata": metadata})

    def check(self, asset: str, name: str, passed: bool, blocking: bool, metadata: dict[str, Any]) -> None:
        """Keep the report of a check."""
        found = {"asset": asset, "name": name, "passed": passed, "blocking": blocking, "metadata": metadata}
        self.checks.append(found)

    def store(self, name: str) -> Path:
        """Return the store that the environment names, else a local folder, made if it is missing."""
        path = directory_from_environment("STORE", name) or HOME / "stores" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def dataset(self, name: str) -> Dataset:
        """Return the dataset from `--dataset`, the environment, or this folder's own published version."""
        for origin, path in (
            ("--dataset", self.given_datasets.get(name)),
            (variable("DATASET", name), directory_from_environment("DATASET", name)),
        ):
            if path is not None:
                return _version_at(path, f"{origin}: ")
        if (HOME / "datasets" / name / "current").is_file():
            return _version_at(HOME / "datasets" / name, "")
        remedy = f"give its folder with --dataset {name}=PATH or {variable('DATASET', name)}=PATH"
        raise MissingInput(f"no dataset {name!r}: {remedy}")

    def new_version(self, name: str) -> Path:
        """Return a staging folder beside the published versions."""
        if name not in self._staging:
            import tempfile

            parent = HOME / "datasets" / name
            parent.mkdir(parents=True, exist_ok=True)
            self._staging[name] = Path(tempfile.mkdtemp(prefix=".staging-", dir=parent))
        return self._staging[name]

    def close(self, error: BaseException | None, exit_code: int) -> int:
        """Publish if the step ended cleanly, print the report, return the exit code."""
        import shutil

        failure = str(error) if isinstance(error, WorkloadError) else None
        try:
            if error is None or (isinstance(error, SystemExit) and not error.code):
                if not exit_code:
                    self._demand_reports()
                self._publish(move=not exit_code)
        except NothingReported as nothing:
            failure, exit_code = str(nothing), nothing.exit_code
            print(f"{self.step}: {nothing}", file=sys.stderr)
        finally:
            for staging in self._staging.values():
                shutil.rmtree(staging, ignore_errors=True)
        if isinstance(error, (SystemExit, WorkloadError)) and not (
            self.assets or self.checks or self.as_json
        ):
            return exit_code
        if error is not None and failure is None and not isinstance(error, SystemExit):
            failure = f"{type(error).__name__}: {error}"
        self._print(exit_code, failure)
        return exit_code

    def _demand_reports(self) -> None:
        if not (self.assets or self.checks):
            raise NothingReported(f"nothing was reported: {WOULD_FAIL}")
        for name, staging in self._staging.items():
            if not any(staging.glob("*.parquet")):
                raise NothingReported(f"{name!r} got a new version without *.parquet: {WOULD_FAIL}")
            if not any(asset["asset"] == name for asset in self.assets):
                raise NothingReported(f"{name!r} was written and not reported: {WOULD_FAIL}")

    def _publish(self, move: bool) -> None:
        for name, staging in self._staging.items():
            version = content_hash(staging)[:16]
            target = HOME / "datasets" / name / version
            if move:
                if not target.exists():
                    staging.chmod(0o755)
                    os.replace(staging, target)
                pointer = target.parent / f".current-{os.getpid()}"
                pointer.write_text(version + "\n", encoding="utf-8")
                os.replace(pointer, target.parent / "current")
            self.versions.append({"name": name, "version": version, "published": move, "path": str(target)})

    def _print(self, exit_code: int, failure: str | None) -> None:
        from bulkhead_sdk import rendering

        report = {
            "step": self.step,
            "parameters": vars(self.parameters) if self.parameters is not None else {},
            "partition": list(self.partition.keys) if self.partition else None,
            "assets": self.assets,
            "checks": self.checks,
            "datasets": self.versions,
            "blocked": exit_code == BLOCKED,
            "error": failure,
            "exit_code": exit_code,
        }
        print(rendering.as_json(report) if self.as_json else rendering.as_text(report), flush=True)


def content_hash(folder: Path) -> str:
    """Hash the names and the contents of all files below a folder: sha256, hex."""
    import hashlib

    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def _version_at(path: Path, origin: str) -> Dataset:
    pointer = path / "current"
    if pointer.is_file():
        path = path / pointer.read_text(encoding="utf-8").strip()
    if not path.is_dir():
        raise MissingInput(f"{origin}{path} is not a directory")
    if not any(path.glob("*.parquet")):
        raise MissingInput(f"{origin}{path} has no *.parquet")
    return Dataset(path, path.resolve().name)
