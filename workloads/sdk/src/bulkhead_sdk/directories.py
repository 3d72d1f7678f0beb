"""The directories that the environment names."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


def variable(kind: str, name: str) -> str:
    """Name the environment variable of a store, dataset or publication: `BULKHEAD_STORE_MY_STORE`."""
    return f"BULKHEAD_{kind}_" + "".join(c if c.isalnum() and c.isascii() else "_" for c in name).upper()


def directory_from_environment(kind: str, name: str) -> Path | None:
    """Return the directory that the environment names for this store, dataset or publication."""
    from pathlib import Path

    value = os.environ.get(variable(kind, name))
    return Path(value) if value else None
