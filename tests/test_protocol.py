"""The documented protocol is the one that the platform holds."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orchestrator.execution.report import EVENTS, Asked, Report
from orchestrator.execution.result_file import result_messages
from tests.schemas import SCHEMAS, messages_schema, result_schema

DOCS = Path(__file__).resolve().parent.parent / "docs"
ASKED = Asked(["a"], [("a", "good")], frozenset({"a"}), frozenset({("a", "good")}), frozenset())


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_in_the_documents_is_made_from_the_model(name: str) -> None:
    written = json.loads((DOCS / name).read_text(encoding="utf-8"))
    assert written == SCHEMAS[name](), "run: make -f Makefile_dev.txt schemas"
    jsonschema.Draft202012Validator.check_schema(written)


def test_every_method_is_documented() -> None:
    documented = re.findall(r"^\| `([a-z_]+)` \|", (DOCS / "protocol.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"opened", "closed", *EVENTS} <= set(documented)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("opened", {"extras": {}}),
        ("closed", {"exception": {"message": "no", "stack": [], "name": "E", "cause": None, "context": None}}),
        ("report_asset_materialization", {"asset_key": "a", "metadata": {"n": {"raw_value": 1, "type": "int"}}, "data_version": None}),
        ("report_asset_materialization", {"asset_key": "a", "partition": "b"}),
        ("report_asset_check", {"asset_key": "a", "check_name": "good", "passed": "yes"}),
        ("report_asset_check", {"asset_key": "a", "check_name": "good", "passed": True, "severity": "FATAL"}),
        ("log", {"message": 5}),
        ("log_external_stream", {"stream": "stdin", "text": "x"}),
    ],
)  # fmt: skip
def test_a_message_fits_the_schema_if_and_only_if_the_platform_takes_it(method: str, params: dict[str, Any]) -> None:
    message = {"__dagster_pipes_version": "0.1", "method": method, "params": params}
    report = Report(ASKED)
    opened = b'{"__dagster_pipes_version": "0.1", "method": "opened", "params": {}}'
    for line in ([] if method == "opened" else [opened]) + [json.dumps(message).encode()]:
        report.take(line)
    fits = jsonschema.Draft202012Validator(messages_schema()).is_valid(message)
    assert fits == (report.violations == [])


def test_the_example_of_a_result_file_fits_its_schema_and_is_taken(tmp_path: Path) -> None:
    text = re.findall(r"```json\n(.*?)```", (DOCS / "protocol.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    jsonschema.validate(json.loads(text), result_schema())
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    asked = Asked(
        ["word_counts"], [], frozenset({"word_counts"}), frozenset({("word_counts", "some_words")}), frozenset()
    )
    report = Report(asked)
    for line in result_messages(path, asked, 0):
        report.take(line)
    assert (report.violations, list(report.materialized), list(report.checked)) == (
        [], ["word_counts"], [("word_counts", "some_words")],
    )  # fmt: skip
