"""The report of a step that ran alone, as plain text or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 60


def as_json(report: Mapping[str, Any]) -> str:
    """Return the report as one JSON object."""
    return json.dumps(report, indent=2, allow_nan=False)


def as_text(report: Mapping[str, Any]) -> str:
    """Return the report for a reader: assets, checks, datasets, result."""
    lines = [f"step {report['step']}"]
    if report["parameters"]:
        lines.append("parameters " + ", ".join(f"{k}={_text(v)}" for k, v in report["parameters"].items()))
    if report["partition"]:
        lines.append(f"partition {', '.join(report['partition'])}")
    for asset in report["assets"]:
        lines += ["", f"asset {asset['asset']}", *_metadata(asset["metadata"], "  ")]
        if asset["data_version"]:
            lines.append(f"  data version: {asset['data_version']}")
    if report["checks"]:
        lines += ["", "checks"]
    for check in report["checks"]:
        word = "PASS" if check["passed"] else "FAIL" if check["blocking"] else "WARN"
        lines += [f"  {word}  {check['asset']}.{check['name']}", *_metadata(check["metadata"], "        ")]
    if report["datasets"]:
        lines += ["", "datasets"]
    for dataset in report["datasets"]:
        where = f"published in {dataset['path']}" if dataset["published"] else "not published"
        lines.append(f"  {dataset['name']}: version {dataset['version']}, {where}")
    return "\n".join([*lines, "", f"result: {_result(report)}"])


def _result(report: Mapping[str, Any]) -> str:
    if report["error"]:
        return f"failed (exit {report['exit_code']}): {report['error']}"
    if report["blocked"]:
        failed = [f"{c['asset']}.{c['name']}" for c in report["checks"] if c["blocking"] and not c["passed"]]
        return f"blocked (exit {report['exit_code']}) by {', '.join(failed)}"
    return "ok" if not report["exit_code"] else f"failed (exit {report['exit_code']})"


def _metadata(metadata: Mapping[str, Mapping[str, Any]], indent: str) -> list[str]:
    lines = []
    for name, value in metadata.items():
        raw, kind = value["raw_value"], value["type"]
        label = {"dagster/row_count": "rows", "dagster/column_schema": "columns"}.get(name, name)
        if kind == "table":
            columns = [column["name"] for column in raw["schema"]]
            lines += [f"{indent}{label}:", *table(columns, raw["records"], indent + "  ")]
        elif kind == "table_schema":
            text = ", ".join(f"{column['name']} {column['type']}" for column in raw["columns"])
            lines.append(f"{indent}{label}: {text}")
        elif kind == "md" and "](data:image/" in raw:
            lines.append(f"{indent}{label}: image, {len(raw) * 3 // 4096} kB")
        elif kind == "md" and "\n" in raw:
            lines += [f"{indent}{label}:", *(f"{indent}  {line}".rstrip() for line in raw.splitlines())]
        else:
            lines.append(f"{indent}{label}: {_text(raw)}")
    return lines


def table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], indent: str) -> list[str]:
    """Align columns; numbers to the right, text to the left, long cells cut."""
    cells = [[_cut(_text(row.get(column))) for column in columns] for row in rows]
    widths = [max([len(column), *(len(line[i]) for line in cells)]) for i, column in enumerate(columns)]
    right = [all(isinstance(row.get(column), (int, float, type(None))) for row in rows) for column in columns]
    return [
        (
            indent
            + "  ".join(
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(line, widths, right, strict=True)
            )
        ).rstrip()
        for line in [list(columns), *cells]
    ]


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."
