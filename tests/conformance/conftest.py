"""A project for each tier."""

import pytest

from tests.conformance.suite import TIERS
from tests.conftest import Project, needs_sandbox


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> str:
    """Return the name of each tier in turn; where there is no sandbox, say so."""
    if "sandboxed" in request.param:
        needs_sandbox()
    return str(request.param)


@pytest.fixture
def tiered(tier: str, project: Project) -> Project:
    """Return an empty project that runs its steps on each tier in turn."""
    project.environment |= TIERS[tier]
    return project
