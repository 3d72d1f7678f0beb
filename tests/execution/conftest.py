"""What the tests of the execution layer share."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Return a Dagster instance of its own, with its records on disk."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made
