import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

COEFFICIENTS = (10.0, 100.0, 1000.0, 0.5)
INTERCEPT = 2.2


def measurements(rows: int = 200, noise: float = 0.0, seed: int = 0) -> pl.DataFrame:
    """Rows whose y is linear in x_1 to x_4, plus normal noise of that standard deviation."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 4))
    y = x @ COEFFICIENTS + INTERCEPT + random.normal(scale=noise, size=rows)
    return pl.DataFrame({f"x_{i + 1}": x[:, i] for i in range(4)} | {"y": y})


@dataclass(frozen=True)
class Ended:
    """What a standalone step left: exit code, its JSON report if it printed one, stderr."""

    code: int
    report: dict[str, Any]
    stderr: str

    @property
    def metadata(self) -> dict[str, Any]:
        """Plain values of the metadata of the one asset it reported."""
        (asset,) = self.report["assets"]
        return {name: value["raw_value"] for name, value in asset["metadata"].items()}

    @property
    def checks(self) -> dict[str, bool]:
        return {check["name"]: check["passed"] for check in self.report["checks"]}


@pytest.fixture
def step(tmp_path: Path) -> Callable[..., Ended]:
    """Run `python -m ml.<step>` standalone in an empty folder, whose store is `.standalone/stores/ml`."""

    def run(name: str, *arguments: str, **environment: str) -> Ended:
        ended = subprocess.run(
            [sys.executable, "-m", f"ml.{name}", "--json", *arguments],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        report = json.loads(ended.stdout) if ended.stdout.startswith("{") else {}
        return Ended(ended.returncode, report, ended.stderr)

    return run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / ".standalone" / "stores" / "ml"


@pytest.fixture
def publish(tmp_path: Path) -> Callable[[pl.DataFrame, str], str]:
    """Write a frame as a version of measurements; return the flag that hands it to a step."""

    def write(frame: pl.DataFrame, version: str) -> str:
        folder = tmp_path / "measurements" / version
        folder.mkdir(parents=True)
        frame.write_parquet(folder / "measurements.parquet")
        return f"--dataset=measurements={folder}"

    return write
