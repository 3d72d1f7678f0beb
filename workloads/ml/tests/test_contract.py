"""The contract and the code agree."""

from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from ml.model import Limits
from ml.training_set import Split

CONTRACT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[1] / "defs.yaml").read_text())["attributes"]


def test_every_step_runs_a_module_of_its_name_and_makes_that_asset() -> None:
    for step in CONTRACT["steps"]:
        assert step["run"] == ["python", "-m", f"ml.{step['name']}"]
        assert find_spec(f"ml.{step['name']}")
        assert [asset["key"] for asset in step["assets"]] == [step["name"]]


def test_the_contract_lets_in_exactly_the_variables_that_the_steps_read() -> None:
    names = {f"ML_{field.name.upper()}" for parameters in (Split, Limits) for field in fields(parameters)}
    assert set(CONTRACT["env"]) == names
