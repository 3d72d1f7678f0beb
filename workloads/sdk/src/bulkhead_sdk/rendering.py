"""The report of a step that ran alone, as plain text or as JSON."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
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
        lines += ["", *asset_lines(asset["asset"], asset["metadata"], asset["data_version"])]
    if report["checks"]:
        lines += ["", "checks"]
    for check in report["checks"]:
        shown = check_lines(
            check["asset"], check["name"], check["passed"], check["blocking"], check["metadata"]
        )
        lines += [f"  {line}" for line in shown]
    if report["datasets"]:
        lines += ["", "datasets"]
    for dataset in report["datasets"]:
        where = f"published in {dataset['path']}" if dataset["published"] else "not published"
        lines.append(f"  {dataset['name']}: version {dataset['version']}, {where}")
    return "\n".join([*lines, "", f"result: {_result(report)}"])


def asset_lines(asset: str, metadata: Mapping[str, Mapping[str, Any]], data_version: str | None) -> list[str]:
    """Return one reported asset as lines."""
    version = [f"  data version: {data_version}"] if data_version else []
    return [f"asset {asset}", *_metadata(metadata, "  "), *version]


def check_lines(
    asset: str, name: str, passed: bool, blocking: bool, metadata: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return one reported check as lines: PASS, FAIL (it blocks) or WARN."""
    word = "PASS" if passed else "FAIL" if blocking else "WARN"
    return [f"{word}  {asset}.{name}", *_metadata(metadata, "      ")]


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
