"""Loads the engine proxy's programs, which belong to no package."""

import sys
from importlib import import_module
from typing import Any

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "deployment" / "engine-proxy"


def load(name: str) -> Any:
    """Import one of its modules by name."""
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    return import_module(name)
