"""Run a step as a real process, alone or under a real Pipes bootstrap."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dagster_pipes import encode_param


@dataclass(frozen=True)
class Ended:
    """What a process left behind."""

    code: int
    stdout: str
    stderr: str
    messages: list[dict[str, Any]]

    def of(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of each message with this method."""
        return [message["params"] for message in self.messages if message["method"] == method]

    @property
    def closed_with(self) -> str | None:
        """Return `name: message` of the exception that the last message carries."""
        assert self.messages[-1]["method"] == "closed"
        error = self.messages[-1]["params"].get("exception")
        return error and error["message"].strip()


def _start(folder: Path, code: str, arguments: tuple[str, ...], env: Mapping[str, str]) -> Ended:
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    messages = folder / "messages"
    lines = messages.read_text(encoding="utf-8").splitlines() if messages.exists() else []
    return Ended(ended.returncode, ended.stdout, ended.stderr, [json.loads(line) for line in lines])


@pytest.fixture
def alone(tmp_path: Path) -> Callable[..., Ended]:
    """Run code in an empty folder without Dagster: `alone(code, "--rows", "5", env={...})`."""
    return lambda code, *arguments, env=None: _start(tmp_path, code, arguments, env or {})


@pytest.fixture
def piped(tmp_path: Path) -> Callable[..., Ended]:
    """Run code under Pipes: `piped(code, assets=[...], checks=[...], env={...}, **extras)`."""

    def run(
        code: str,
        *arguments: str,
        assets: list[str] | None = None,
        checks: list[dict[str, Any]] | None = None,
        env: Mapping[str, str] | None = None,
        **extras: Any,
    ) -> Ended:
        context = {
            "asset_keys": ["things"] if assets is None else assets,
            "code_version_by_asset_key": {},
            "provenance_by_asset_key": {},
            "partition_key": None,
            "partition_key_range": None,
            "partition_time_window": None,
            "run_id": "a-run",
            "job_name": None,
            "retry_number": 0,
            "extras": {"team": "t", "step": "things", "attempt": 1, "partition": None}
            | ({} if checks is None else {"checks": checks})
            | extras,
        }
        (tmp_path / "context").write_text(json.dumps(context), encoding="utf-8")
        bootstrap = {
            "DAGSTER_PIPES_CONTEXT": encode_param({"path": str(tmp_path / "context")}),
            "DAGSTER_PIPES_MESSAGES": encode_param({"path": str(tmp_path / "messages")}),
        }
        return _start(tmp_path, code, arguments, {**bootstrap, **(env or {})})

    return run
