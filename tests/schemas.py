"""Writes the JSON schemas of the protocol from the models that hold it: `python -m tests.schemas docs`."""

import json
import sys
from pathlib import Path
from typing import Any

from orchestrator.execution.report import EVENTS, WorkloadException
from orchestrator.execution.result_file import ResultFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def result_schema() -> dict[str, Any]:
    """Return the schema of the result file."""
    return {"$schema": DIALECT, **ResultFile.model_json_schema()}


def messages_schema() -> dict[str, Any]:
    """Return the schema of one line of the messages file."""
    parts: dict[str, Any] = {}
    kinds = [_message("opened", {"type": "object"}), _message("closed", _closed(parts))]
    for method, model in EVENTS.items():
        kinds.append(_message(method, _part(model, parts)))
    title = "One line of the messages file"
    return {"$schema": DIALECT, "title": title, "oneOf": kinds, "$defs": dict(sorted(parts.items()))}


def _message(method: str, params: dict[str, Any]) -> dict[str, Any]:
    properties = {"__dagster_pipes_version": {"type": "string"}, "method": {"const": method}, "params": params}
    return {"type": "object", "properties": properties, "required": ["__dagster_pipes_version", "method"]}


def _closed(parts: dict[str, Any]) -> dict[str, Any]:
    exception = _part(WorkloadException, parts)
    return {"type": ["object", "null"], "properties": {"exception": {"anyOf": [exception, {"type": "null"}]}}}


def _part(model: Any, parts: dict[str, Any]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/$defs/{model}")
    parts |= schema.pop("$defs", {})
    if "$ref" not in schema:
        parts[model.__name__] = schema
    return {"$ref": f"#/$defs/{model.__name__}"}


SCHEMAS = {"result.schema.json": result_schema, "messages.schema.json": messages_schema}

if __name__ == "__main__":
    for name, schema in SCHEMAS.items():
        Path(sys.argv[1], name).write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
