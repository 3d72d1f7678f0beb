"""The steps as the platform runs them: Pipes in files, inputs and store in the environment."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from conftest import measurements
from dagster_pipes import encode_param

STEPS = yaml.safe_load((Path(__file__).parents[1] / "defs.yaml").read_text())["attributes"]["steps"]


def run(step: dict[str, Any], folder: Path, asset_keys: list[str]) -> tuple[int, list[dict[str, Any]]]:
    """Run a step of the contract with these assets and all its checks asked for; return code and messages."""
    checks = [{key: check[key] for key in ("asset", "name", "blocking")} for check in step["checks"]]
    context = {
        "asset_keys": asset_keys,
        "code_version_by_asset_key": None,
        "provenance_by_asset_key": None,
        "partition_key": None,
        "partition_key_range": None,
        "partition_time_window": None,
        "run_id": "a-run",
        "job_name": "ml_pipeline_job",
        "retry_number": 0,
        "extras": {"team": "ml", "step": step["name"], "attempt": 1, "checks": checks, "partition": None},
    }
    context_file, messages = folder / "context.json", folder / "messages"
    context_file.write_text(json.dumps(context))
    messages.write_text("")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "BULKHEAD_STORE_ML": str(folder / "store"),
        "BULKHEAD_DATASET_MEASUREMENTS": str(folder / "v1"),
        "DAGSTER_PIPES_CONTEXT": encode_param({"path": str(context_file)}),
        "DAGSTER_PIPES_MESSAGES": encode_param({"path": str(messages)}),
    }
    ended = subprocess.run([sys.executable, *step["run"][1:]], env=env, cwd=folder, timeout=60)
    return ended.returncode, [json.loads(line) for line in messages.read_text().splitlines()]


def reported(messages: list[dict[str, Any]]) -> tuple[list[str], set[str]]:
    """Names of the assets, and of the checks that passed."""
    params = [(message["method"], message["params"]) for message in messages]
    return (
        [values["asset_key"] for method, values in params if method == "report_asset_materialization"],
        {
            values["check_name"]
            for method, values in params
            if method == "report_asset_check" and values["passed"]
        },
    )


def test_each_step_reports_its_asset_and_every_check_of_the_contract(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "store").mkdir()
    measurements(noise=0.1).write_parquet(tmp_path / "v1" / "measurements.parquet")
    for step in STEPS:
        code, messages = run(step, tmp_path, [step["name"]])
        assert code == 0
        assert reported(messages) == ([step["name"]], {check["name"] for check in step["checks"]})
        assert messages[-1]["method"] == "closed"


def test_a_run_of_the_checks_alone_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "store").mkdir()
    measurements(noise=0.1).write_parquet(tmp_path / "v1" / "measurements.parquet")
    for step in STEPS:
        before = sorted((tmp_path / "store").rglob("*"))
        code, messages = run(step, tmp_path, [])
        assert code == 0
        assert reported(messages) == ([], {check["name"] for check in step["checks"]})
        assert sorted((tmp_path / "store").rglob("*")) == before
        run(step, tmp_path, [step["name"]])
