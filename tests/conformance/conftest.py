"""The tiers that a test of the suite runs on."""

from collections.abc import Iterator

import pytest

from tests.conformance.suite import DOCKER, TIERS, settings_of
from tests.conftest import Project

EVERY_TIER = [pytest.param(tier, marks=pytest.mark.engine) if tier == DOCKER else tier for tier in TIERS]


@pytest.fixture(params=EVERY_TIER)
def tier(request: pytest.FixtureRequest) -> str:
    """Return the name of each tier in turn."""
    return str(request.param)


@pytest.fixture
def tiered(tier: str, project: Project) -> Iterator[Project]:
    """Return an empty project that runs its steps on each tier in turn."""
    project.environment |= settings_of(tier)
    yield project
    project.close()
