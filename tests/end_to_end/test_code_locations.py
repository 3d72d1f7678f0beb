"""One code location a team: a broken contract takes down its own and no other."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BULKHEAD, REPOSITORY, Project

BIN = Path(sys.executable).parent
LOAD = """
import sys
from orchestrator import definitions
from orchestrator.errors import ContractError
try:
    jobs = getattr(definitions, sys.argv[1]).get_repository_def().get_all_jobs()
    print(sorted(job.name for job in jobs if not job.name.startswith("__")))
except ContractError as error:
    print(error)
"""


@pytest.fixture
def copied(project: Project) -> Project:
    """Return the repository's own contracts in a project of their own, with `timeout` of ml misspelled once."""
    for contract in (REPOSITORY / "workloads").glob("*/defs.yaml"):
        folder = project.root / "workloads" / contract.parent.name
        folder.mkdir()
        shutil.copy(contract, folder)
    broken = project.root / "workloads" / "ml" / "defs.yaml"
    broken.write_text(broken.read_text().replace("timeout: 5m", "timeuot: 5m", 1))
    return project


def line_of(contract: Path, text: str) -> int:
    return next(n for n, line in enumerate(contract.read_text().splitlines(), 1) if text in line)


def load(project: Project, team: str) -> str:
    command = [sys.executable, "-c", LOAD, team]
    done = subprocess.run(command, env=project.variables(), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_other_teams_load_beside_a_broken_contract(copied: Project) -> None:
    assert load(copied, "etl") == "['etl_job']"
    assert load(copied, "showcase") == "['failing_job']"


def test_the_broken_location_says_file_line_key_and_the_nearest_known_key(copied: Project) -> None:
    line = line_of(copied.root / "workloads" / "ml" / "defs.yaml", "timeuot")
    assert load(copied, "ml") == (
        f"workloads/ml/defs.yaml:{line}: steps[0].timeuot: unknown key 'timeuot'. Expected one of: assets, "
        "backfill_policy, checks, description, name, pool, resources, results, retries, run, start_timeout, timeout. Did you mean 'timeout'?"
    )


def words(value: object) -> set[str]:
    """Return every text below a JSON value."""
    if isinstance(value, str):
        return {value}
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {word for part in below for word in words(part)}


def test_dg_list_defs_lists_every_asset_of_the_repository(project: Project) -> None:
    command = [BIN / "dg", "list", "defs", "--json"]
    env = project.variables(BULKHEAD_PROJECT=str(REPOSITORY))
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"measurements", "model_registry", "never_runs"} <= words(json.loads(done.stdout))


def test_bulkhead_ui_on_a_taken_port_exits_64_and_names_the_next_one(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [BULKHEAD, "ui", "--port", str(port)]
        done = subprocess.run(command, env=project.variables(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr == (
        f"bulkhead: port {port} on 127.0.0.1 cannot be used: Address already in use. Stop what listens there, "
        f"or take another: make ui PORT={port + 1}\n"
    )
