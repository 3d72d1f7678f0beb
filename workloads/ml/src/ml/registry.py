"""The registered models: one folder each, one row each in `ml.duckdb`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead_sdk import TryAgain

from ml.artifact import Artifact, loads, version_of
from ml.atomic import replacing

if TYPE_CHECKING:
    import duckdb

DATABASE = "ml.duckdb"
COLUMNS = {
    "version": "VARCHAR",
    "path": "VARCHAR",
    "sha256": "VARCHAR",
    "rmse": "DOUBLE",
    "features": "VARCHAR[]",
    "dataset_version": "VARCHAR",
    "created_at": "TIMESTAMP",
}


@dataclass(frozen=True)
class Champion:
    """The registered model with the lowest RMSE; of equals, the oldest."""

    version: str
    rmse: float


def register(store: Path, content: bytes) -> dict[str, Any]:
    """Keep an artifact's bytes under its version, once; return its row of the registry.

    Registering the same bytes again changes nothing. Raises ValueError if the folder of that version holds
    something else, TryAgain if another process has the database open.
    """
    artifact, version = loads(content), version_of(content)
    path = Path("models") / version / "model.json"
    _keep(store / path, content)
    row = _row(artifact, version, path, content)
    with _connect(store / DATABASE, read_only=False) as database:
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        database.execute(f"CREATE TABLE IF NOT EXISTS model_registry ({columns}, PRIMARY KEY (version))")
        places = ", ".join("?" for _ in row)
        database.execute(f"INSERT INTO model_registry VALUES ({places}) ON CONFLICT DO NOTHING", row)
    return next(entry for entry in entries(store) if entry["version"] == version)


def entries(store: Path) -> list[dict[str, Any]]:
    """Return all rows, newest first, keyed by column; times are UTC. Raises TryAgain as `register`."""
    if not (store / DATABASE).is_file():
        return []
    with _connect(store / DATABASE, read_only=True) as database:
        exists = "SELECT 1 FROM duckdb_tables() WHERE table_name = 'model_registry'"
        if database.execute(exists).fetchone() is None:
            return []
        rows = database.execute("SELECT * FROM model_registry ORDER BY created_at DESC, version").fetchall()
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def champion(store: Path) -> Champion | None:
    """Return the best registered model, None if there is none yet. Raises TryAgain as `register`."""
    known = entries(store)
    if not known:
        return None
    best = min(known, key=lambda entry: (entry["rmse"], entry["created_at"]))
    return Champion(best["version"], best["rmse"])


def is_not_worse(rmse: float, best: Champion | None) -> bool:
    """Tell whether `rmse` is at most the champion's; a difference up to 1e-9 counts as equal."""
    return best is None or rmse <= best.rmse + 1e-9


def _keep(path: Path, content: bytes) -> None:
    if path.exists():
        if path.read_bytes() != content:
            raise ValueError(
                f"models/{path.parent.name}/{path.name} is not what was registered: it was changed"
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    path.chmod(0o444)


def _row(artifact: Artifact, version: str, path: Path, content: bytes) -> list[Any]:
    return [
        version,
        path.as_posix(),
        sha256(content).hexdigest(),
        artifact.rmse,
        list(artifact.features),
        artifact.dataset_version,
        datetime.now(UTC).replace(tzinfo=None),
    ]


@contextmanager
def _connect(path: Path, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    try:
        database = duckdb.connect(path, read_only=read_only)
    except duckdb.IOException as error:
        if "lock" not in str(error):
            raise
        raise TryAgain(f"{path.name} is open in another process: try again when it has ended") from error
    with database:
        yield database
