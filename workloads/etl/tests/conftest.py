"""Run the team's modules as real processes, alone, in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`run("measurements", "--rows", "50", env={...})` is `python -m etl.measurements --rows 50`."""

    def start(
        module: str, *arguments: str, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"etl.{module}", *arguments],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return start
