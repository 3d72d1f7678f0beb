"""A run with more steps than anyone reads: each asset once, and nothing left behind."""

import shutil
from collections import Counter
from typing import Any

import pytest

from tests.conftest import Project

STEPS, CHAIN, CHAINS = 500, 5, 20


def tiny(number: int) -> dict[str, Any]:
    """Return a step that is a program without Pipes; the first hundred form chains of five."""
    name = f"step_{number:03}"
    asset: dict[str, Any] = {"key": name}
    if number < CHAIN * CHAINS and number % CHAIN:
        asset["deps"] = [f"step_{number - 1:03}"]
    return {"name": name, "run": [shutil.which("true")], "results": "file", "assets": [asset], "script": ""}


@pytest.mark.timeout(900)
def test_each_of_five_hundred_steps_makes_its_asset_once(project: Project) -> None:
    project.patience = 800
    project.team("team", [tiny(number) for number in range(STEPS)])
    ran = project.run("team_job")
    names = [f"step_{number:03}" for number in range(STEPS)]
    assert (ran.code, ran.named("RUN_ENDED")[0]["status"], ran.steps("STEP_SUCCESS")) == (0, "SUCCESS", names)
    assert Counter(e["asset"] for e in ran.named("ASSET_MATERIALIZATION")) == dict.fromkeys(names, 1)
    ended = {e["step"]: number for number, e in enumerate(ran.events) if e["event"] == "STEP_SUCCESS"}
    began = {e["step"]: number for number, e in enumerate(ran.events) if e["event"] == "STEP_START"}
    for first, second in ((n - 1, n) for n in range(CHAIN * CHAINS) if n % CHAIN):
        assert ended[names[first]] < began[names[second]]
    assert (project.processes(), list((project.home / "steps").iterdir())) == ([], [])
