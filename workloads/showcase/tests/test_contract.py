"""The contract names every step and says what becomes of it."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CONTRACT: dict[str, Any] = yaml.safe_load((ROOT / "defs.yaml").read_text())["attributes"]
STEPS: list[dict[str, Any]] = CONTRACT["steps"]
CATEGORIES = (
    "workload raised",
    "workload exited",
    "killed by signal",
    "out of memory",
    "limit exceeded",
    "timed out",
    "contract violated",
    "check failed",
)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step["name"])
def test_a_step_runs_the_program_of_its_name_and_makes_the_asset_of_its_name(step: dict[str, Any]) -> None:
    if step.get("results") == "file":
        assert step["run"] == ["sh", f"{step['name']}.sh"]
        assert (ROOT / f"{step['name']}.sh").is_file()
    else:
        assert step["run"] == ["python", "-m", f"showcase.{step['name']}"]
        assert find_spec(f"showcase.{step['name']}")
    assert [asset["key"] for asset in step["assets"]] == [step["name"]]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step["name"])
def test_a_step_says_its_final_state_and_a_failing_one_its_category(step: dict[str, Any]) -> None:
    state, _, rest = step["description"].partition(": ")
    assert state in ("succeeds", "fails", "skipped")
    assert rest.startswith(CATEGORIES) == (state == "fails")


def test_every_module_is_a_step() -> None:
    modules = {path.stem for path in (ROOT / "src" / "showcase").glob("*.py")}
    assert modules - {"__init__", "pipes"} == {
        step["name"] for step in STEPS if step.get("results") != "file"
    }


def test_every_category_has_a_step() -> None:
    seen = {category for category in CATEGORIES for step in STEPS if category in step["description"]}
    assert seen == set(CATEGORIES)
