"""What leaves the process is JSON that Pipes and Dagster read."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from bulkhead_sdk import metadata

PIPES_TYPES = {"text", "json", "md", "float", "int", "bool", "null", "path", "table", "table_schema"}


class Scalar:
    """Stand for a numpy scalar."""

    shape = ()

    def __init__(self, value: object) -> None:
        self.value = value

    def item(self) -> object:
        return self.value


class Array(Scalar):
    """Stand for a numpy array."""

    shape = (2,)

    def tolist(self) -> object:
        return self.value


@pytest.mark.parametrize(
    ("value", "raw", "kind"),
    [
        (1, 1, "int"),
        (0.5, 0.5, "float"),
        (True, True, "bool"),
        (None, None, "null"),
        ("a", "a", "text"),
        (float("nan"), "NaN", "text"),
        (float("inf"), "Infinity", "text"),
        (float("-inf"), "-Infinity", "text"),
        (Scalar(3), 3, "int"),
        (Scalar(float("nan")), "NaN", "text"),
        (Array([1.0, float("nan")]), [1.0, "NaN"], "json"),
        ({"a": [1, float("nan")]}, {"a": [1, "NaN"]}, "json"),
        (("a", 1), ["a", 1], "json"),
        ({"b", "a"}, ["a", "b"], "json"),
        (date(2026, 1, 2), "2026-01-02", "text"),
        (Path("a/b"), "a/b", "path"),
        ({"raw_value": "# T", "type": "md"}, "# T", "md"),
        ({"raw_value": float("nan"), "type": "float"}, "NaN", "text"),
    ],
)
def test_a_value_gets_its_pipes_type(value, raw, kind):
    assert metadata.typed({"v": value}) == {"v": {"raw_value": raw, "type": kind}}
    assert kind in PIPES_TYPES


def test_a_value_that_has_no_json_form_is_refused():
    with pytest.raises(TypeError) as caught:
        metadata.typed({"v": {"inner": [object()]}})
    assert str(caught.value) == "metadata 'v.inner[0]': cannot send a object"


TABLE = """
    from bulkhead_sdk import open_step
    with open_step("things") as step:
        step.report_table(
            "things", rows=2, columns={"x_1": "Float64", "name": "String"},
            preview=[{"x_1": 0.5, "name": "a"}, {"x_1": float("nan"), "name": None}],
            metadata={"plot": step.image("predicted", b"\\x89PNG\\r\\n\\x1a\\n0"), "score": float("nan")},
        )
"""
SCHEMA = [{"name": "x_1", "type": "Float64"}, {"name": "name", "type": "String"}]


def test_a_table_report_is_what_dagster_reads(piped):
    sent = piped(TABLE).of("report_asset_materialization")
    records = [{"x_1": 0.5, "name": "a"}, {"x_1": "NaN", "name": None}]
    assert sent == [
        {
            "asset_key": "things",
            "data_version": None,
            "metadata": {
                "dagster/row_count": {"raw_value": 2, "type": "int"},
                "dagster/column_schema": {"raw_value": {"columns": SCHEMA}, "type": "table_schema"},
                "preview": {"raw_value": {"records": records, "schema": SCHEMA}, "type": "table"},
                "plot": {"raw_value": "![predicted](data:image/png;base64,iVBORw0KGgow)", "type": "md"},
                "score": {"raw_value": "NaN", "type": "text"},
            },
        }
    ]


def test_dagster_pipes_itself_accepts_a_table_report():
    from dagster_pipes import _normalize_param_metadata

    described = metadata.table(1, {"a": "Int64"}, [{"a": 1, "when": date(2026, 1, 2), "all": [1]}])
    assert _normalize_param_metadata(described, "report_asset_materialization", "metadata") == described
    assert described["preview"]["raw_value"]["schema"][1:] == [
        {"name": "when", "type": "string"},
        {"name": "all", "type": "string"},
    ]
    assert described["preview"]["raw_value"]["records"] == [{"a": 1, "when": "2026-01-02", "all": "[1]"}]


def test_the_report_alone_is_readable(alone):
    assert alone(TABLE).stdout == (
        "step things\n"
        "\n"
        "asset things\n"
        "  rows: 2\n"
        "  columns: x_1 Float64, name String\n"
        "  preview:\n"
        "    x_1  name\n"
        "    0.5  a\n"
        "    NaN  null\n"
        "  plot: image, 0 kB\n"
        "  score: NaN\n"
        "\n"
        "result: ok\n"
    )


def test_json_is_one_object_and_strict(alone):
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    report = json.loads(alone(TABLE, "--json").stdout, parse_constant=refuse)
    assert report["assets"][0]["metadata"]["score"] == {"raw_value": "NaN", "type": "text"}
    assert (report["exit_code"], report["error"], report["checks"]) == (0, None, [])
