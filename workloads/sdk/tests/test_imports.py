"""Importing the sdk costs next to nothing."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_sdk_loads_neither_dagster_pipes_nor_other_heavy_modules():
    code = "import sys, bulkhead_sdk; print(*sorted(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"dagster_pipes", "argparse", "base64", "json", "logging", "tempfile", "hashlib", "subprocess"}
    assert heavy & set(modules) == set()


def test_a_step_alone_never_loads_dagster_pipes(alone):
    code = """
    import sys
    from bulkhead_sdk import open_step
    with open_step("things") as step:
        step.report("things")
        print("dagster_pipes" in sys.modules)
    """
    assert alone(code).stdout.splitlines()[0] == "False"


def test_a_step_under_the_platform_loads_nothing_heavy(piped):
    code = """
    import sys
    before = set(sys.modules)
    from bulkhead_sdk import open_step
    with open_step("things") as step:
        step.log("starting")
        step.report("things", metadata={"n": 1})
        step.check("good", passed=True, asset="things")
        print("loaded:", *set(sys.modules) - before)
    """
    ended = piped(code, accepts=["log_timestamp"])
    assert ended.code == 0, ended.stderr
    loaded = set(ended.stdout.splitlines()[-1].removeprefix("loaded: ").split())
    assert "bulkhead_sdk.pipes" in loaded
    heavy = {
        "dagster_pipes",
        "logging",
        "argparse",
        "dataclasses",
        "typing",
        "pathlib",
        "inspect",
        "traceback",
    }
    assert heavy & loaded == set()
    assert {"bulkhead_sdk.parts", "bulkhead_sdk.parameters", "bulkhead_sdk.standalone"} & loaded == set()


def test_the_dataclasses_are_there_when_they_are_asked_for():
    import bulkhead_sdk
    from bulkhead_sdk import parts

    assert (bulkhead_sdk.Dataset, bulkhead_sdk.Partition) == (parts.Dataset, parts.Partition)
    assert not hasattr(bulkhead_sdk, "Other")
    assert {name for name in bulkhead_sdk.__all__ if not hasattr(bulkhead_sdk, name)} == set()
