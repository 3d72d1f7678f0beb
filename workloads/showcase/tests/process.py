"""Run a step as the platform runs it: a process of its own with a Pipes bootstrap in files."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster_pipes import (
    DAGSTER_PIPES_CONTEXT_ENV_VAR,
    DAGSTER_PIPES_MESSAGES_ENV_VAR,
    encode_param,
)


@dataclass(frozen=True)
class Ended:
    """What a process left: exit code (negative for a signal), both streams, lines of its messages file."""

    code: int
    stdout: str
    stderr: str
    lines: list[str]

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @property
    def methods(self) -> list[str]:
        return [message["method"] for message in self.messages]

    def params(self, method: str) -> list[dict[str, Any]]:
        """Parameters of each message named `method`, in order."""
        return [message["params"] for message in self.messages if message["method"] == method]


def bootstrap(folder: Path, step: str, asset_keys: list[str] | None = None) -> dict[str, str]:
    """Write a context file and an empty messages file below `folder`; return the environment naming them."""
    context = {
        "asset_keys": [step] if asset_keys is None else asset_keys,
        "code_version_by_asset_key": None,
        "provenance_by_asset_key": None,
        "partition_key": None,
        "partition_key_range": None,
        "partition_time_window": None,
        "run_id": "a-run",
        "job_name": "failing_job",
        "retry_number": 0,
        "extras": {"team": "showcase", "step": step, "attempt": 1, "checks": [], "partition": None},
    }
    (folder / "context.json").write_text(json.dumps(context))
    (folder / "messages").touch()
    return {
        "PATH": os.environ["PATH"],
        DAGSTER_PIPES_CONTEXT_ENV_VAR: encode_param({"path": str(folder / "context.json")}),
        DAGSTER_PIPES_MESSAGES_ENV_VAR: encode_param({"path": str(folder / "messages")}),
    }


def command(step: str) -> list[str]:
    return [sys.executable, "-m", f"showcase.{step}"]


def run(
    step: str,
    folder: Path,
    *,
    asset_keys: list[str] | None = None,
    preexec_fn: Callable[[], None] | None = None,
) -> Ended:
    """Run `step` under Pipes to its end, at most 30 s."""
    env = bootstrap(folder, step, asset_keys)
    ended = subprocess.run(
        command(step), env=env, capture_output=True, text=True, timeout=30, preexec_fn=preexec_fn
    )
    lines = (folder / "messages").read_text().splitlines()
    return Ended(ended.returncode, ended.stdout, ended.stderr, lines)


def run_standalone(step: str) -> Ended:
    """Run `step` without any platform; its messages are lines of its stdout."""
    env = {"PATH": os.environ["PATH"]}
    ended = subprocess.run(command(step), env=env, capture_output=True, text=True, timeout=30)
    lines = [line for line in ended.stdout.splitlines() if line.startswith("{")]
    return Ended(ended.returncode, ended.stdout, ended.stderr, lines)
