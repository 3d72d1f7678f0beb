"""Turn Python values into Pipes metadata: `{name: {"raw_value": ..., "type": ...}}`, always valid JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

PNG = b"\x89PNG\r\n\x1a\n"
TYPES = {bool: "bool", int: "int", float: "float", str: "text", type(None): "null"}


def plain(value: Any, where: str) -> Any:
    """Return the value as JSON knows it; NaN and infinities become text, dates ISO text, numpy Python.

    Raises TypeError that names `where` for anything else.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return float(value) if value - value == 0 else _not_finite(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [plain(item, f"{where}[{number}]") for number, item in enumerate(items)]
    if getattr(value, "shape", ()) != () and hasattr(value, "tolist"):
        return plain(value.tolist(), where)
    if hasattr(value, "item"):
        return plain(value.item(), where)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, (int, str)):
        return int(value) if isinstance(value, int) else str(value)
    if _is_path(value) or type(value).__name__ in ("Decimal", "UUID", "timedelta"):
        return str(value)
    raise TypeError(f"metadata {where!r}: cannot send a {type(value).__name__}")


def _is_path(value: Any) -> bool:
    if not isinstance(value, os.PathLike):
        return False
    from pathlib import PurePath

    return isinstance(value, PurePath)


def _not_finite(value: float) -> str:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def typed(metadata: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Give every value its Pipes type; `{"raw_value": ..., "type": ...}` keeps the type it names."""
    result = {}
    for name, value in (metadata or {}).items():
        if isinstance(value, Mapping) and set(value) == {"raw_value", "type"}:
            raw, kind = plain(value["raw_value"], name), value["type"]
            if kind in ("float", "int") and isinstance(raw, str):
                kind = "text"
        else:
            raw = plain(value, name)
            kind = "path" if _is_path(value) else TYPES.get(type(raw), "json")
        result[str(name)] = {"raw_value": raw, "type": kind}
    return result


def table(
    rows: int | None, columns: Mapping[str, str] | None, preview: Iterable[Mapping[str, Any]] | None
) -> dict[str, Any]:
    """Describe a table: `dagster/row_count`, `dagster/column_schema` and `preview`, each only if given."""
    result: dict[str, Any] = {}
    if rows is not None:
        result["dagster/row_count"] = {"raw_value": plain(rows, "rows"), "type": "int"}
    if columns is not None:
        schema = [{"name": str(name), "type": str(kind)} for name, kind in columns.items()]
        result["dagster/column_schema"] = {"raw_value": {"columns": schema}, "type": "table_schema"}
    if preview is not None:
        records = [{str(name): _cell(value, name) for name, value in row.items()} for row in preview]
        names = dict.fromkeys([*(columns or {}), *(name for record in records for name in record)])
        schema = [{"name": str(name), "type": str((columns or {}).get(name, "string"))} for name in names]
        result["preview"] = {"raw_value": {"records": records, "schema": schema}, "type": "table"}
    return result


def _cell(value: Any, name: object) -> Any:
    cell = plain(value, f"preview.{name}")
    return str(cell) if isinstance(cell, (dict, list)) else cell


def image(name: str, png: bytes) -> dict[str, str]:
    """Embed a PNG in Markdown, which the Dagster UI renders; raises ValueError if the bytes are no PNG."""
    import base64

    if not bytes(png).startswith(PNG):
        raise ValueError(f"image {name!r}: expected the bytes of a PNG, got {bytes(png[:8])!r}")
    return {"raw_value": f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})", "type": "md"}
