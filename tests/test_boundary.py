"""What must never meet: workload code and data libraries in the orchestrator, Dagster in a workload's environment."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
TEAMS = sorted(path.parent.name for path in (REPOSITORY / "workloads").glob("*/defs.yaml"))
ENVIRONMENTS = sorted(path for path in (REPOSITORY / "workloads").glob("*/.venv"))
FOREIGN_MODULES = {
    "bulkhead_sdk", "duckdb", "etl", "ml", "numpy", "pandas", "pandera", "polars", "pyarrow", "showcase", "sklearn",
}  # fmt: skip
FOREIGN_DISTRIBUTIONS = FOREIGN_MODULES - {"sklearn"} | {"bulkhead-sdk", "scikit-learn"}
LOAD_EVERYTHING = """
import json, sys
from orchestrator import definitions
for team in json.loads(sys.argv[1]):
    getattr(definitions, team).get_repository_def().get_all_jobs()
definitions.defs.get_repository_def().get_all_jobs()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
LIST_DISTRIBUTIONS = (
    "import json, importlib.metadata as m; print(json.dumps([d.name.lower() for d in m.distributions()]))"
)


def run(*command: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(word) for word in command], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)


def answer(*command: object) -> set[str]:
    done = run(*command)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_definitions_of_all_teams_load_without_one_module_of_a_workload_or_a_data_library() -> None:
    loaded = answer(sys.executable, "-c", LOAD_EVERYTHING, json.dumps(TEAMS))
    assert {"dagster", "orchestrator"} <= loaded
    assert loaded & FOREIGN_MODULES == set()


def test_no_workload_and_no_data_library_is_installed_in_the_orchestrators_environment() -> None:
    installed = answer(sys.executable, "-c", LIST_DISTRIBUTIONS)
    assert {"bulkhead", "dagster"} <= installed
    assert installed & FOREIGN_DISTRIBUTIONS == set()


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.parent.name)
def test_a_workloads_environment_has_the_protocol_and_no_dagster(environment: Path) -> None:
    installed = answer(environment / "bin" / "python", "-c", LIST_DISTRIBUTIONS)
    assert {name for name in installed if name.startswith("dagster") or name == "bulkhead"} == {"dagster-pipes"}


def test_every_team_has_an_environment_and_a_code_location_of_its_own() -> None:
    entries = yaml.safe_load((REPOSITORY / "deployment" / "workspace.yaml").read_text())["load_from"]
    assert sorted(entry["python_module"]["attribute"] for entry in entries) == TEAMS
    assert set(TEAMS) <= {path.parent.name for path in ENVIRONMENTS}


def test_imports_run_one_way_only() -> None:
    done = run(BIN / "lint-imports", "--no-cache")
    assert done.returncode == 0, done.stdout
    assert "3 kept, 0 broken" in done.stdout


def test_bulkhead_check_finds_nothing_wrong() -> None:
    done = run(BIN / "bulkhead", "check")
    lines = [f"{f'team {team}':<20} ok" for team in ("etl", "ml", "showcase")] + [f"{'boundary':<20} ok"]
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, lines, "")
