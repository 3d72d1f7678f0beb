"""Flag, else variable, else default."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from bulkhead_sdk.parameters import parameters_of

CODE = """
    from __future__ import annotations
    import json
    from dataclasses import asdict, dataclass, field
    from bulkhead_sdk import open_step

    @dataclass(frozen=True)
    class P:
        rows: int = field(default=100, metadata={"help": "rows of clean data, 100% clean"})
        null_fraction: float = 0.01
        name: str = "a"
        keep: bool = True
        source: str | None = None

        def __post_init__(self):
            if self.rows < 0:
                raise ValueError(f"rows: expected 0 or more, got {self.rows}")

    with open_step("things", parameters=P, env_prefix="ETL") as step:
        step.report("things", metadata={"parameters": asdict(step.parameters)})
"""
DEFAULTS = {"rows": 100, "null_fraction": 0.01, "name": "a", "keep": True, "source": None}


def read(ended) -> dict:
    assert ended.code == 0, ended.stderr
    return json.loads(ended.stdout)["parameters"]


def test_defaults_hold_when_nothing_is_given(alone):
    assert read(alone(CODE, "--json")) == DEFAULTS


def test_the_environment_beats_the_default(alone):
    env = {
        "ETL_ROWS": "7",
        "ETL_NULL_FRACTION": "1e-3",
        "ETL_KEEP": "off",
        "ETL_SOURCE": "x.csv",
        "ETL_NAME": "b",
    }
    expected = {"rows": 7, "null_fraction": 0.001, "name": "b", "keep": False, "source": "x.csv"}
    assert read(alone(CODE, "--json", env=env)) == expected


def test_a_flag_beats_the_environment(alone):
    ended = alone(CODE, "--json", "--rows", "9", "--null-fraction=0.5", "--keep", "no", env={"ETL_ROWS": "7"})
    assert read(ended) == {**DEFAULTS, "rows": 9, "null_fraction": 0.5, "keep": False}


def test_a_boolean_flag_without_a_value_means_true(alone):
    assert read(alone(CODE, "--json", "--keep", env={"ETL_KEEP": "0"}))["keep"] is True


def test_an_empty_variable_counts_as_not_set(alone):
    assert read(alone(CODE, "--json", env={"ETL_ROWS": "", "ETL_SOURCE": ""})) == DEFAULTS


def test_under_pipes_the_environment_counts_and_flags_do_not(piped):
    ended = piped(CODE, "--rows", "9", env={"ETL_ROWS": "7"})
    assert ended.code == 0
    sent = ended.of("report_asset_materialization")[0]["metadata"]["parameters"]
    assert sent == {"raw_value": {**DEFAULTS, "rows": 7}, "type": "json"}


BAD = [
    ({"ETL_ROWS": "many"}, "ETL_ROWS: expected a whole number (int), got 'many'"),
    ({"ETL_ROWS": "1.5"}, "ETL_ROWS: expected a whole number (int), got '1.5'"),
    ({"ETL_NULL_FRACTION": "nan"}, "ETL_NULL_FRACTION: expected a finite number (float), got 'nan'"),
    ({"ETL_KEEP": "perhaps"}, "ETL_KEEP: expected true or false (bool), got 'perhaps'"),
    ({"ETL_ROWS": "-1"}, "rows: expected 0 or more, got -1"),
]


@pytest.mark.parametrize(("env", "text"), BAD)
def test_a_bad_variable_ends_with_64_and_names_it(alone, env, text):
    ended = alone(CODE, env=env)
    assert (ended.code, ended.stdout, ended.stderr) == (64, "", f"things: {text}\n")


@pytest.mark.parametrize(("env", "text"), BAD)
def test_a_bad_variable_reaches_pipes(piped, env, text):
    ended = piped(CODE, env=env)
    assert (ended.code, ended.stderr) == (64, f"things: {text}\n")
    assert [message["method"] for message in ended.messages] == ["opened", "closed"]
    assert ended.closed_with == f"bulkhead_sdk.errors.BadParameter: {text}"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--rows", "many"], "--rows: expected a whole number (int), got 'many'"),
        (["--rows", ""], "--rows: expected a whole number (int), got ''"),
        (["--row", "1"], "unrecognized arguments: --row 1; see --help"),
        (["--dataset", "x"], "--dataset: expected NAME=PATH, got 'x'"),
    ],
)
def test_a_bad_flag_ends_with_64_and_names_it(alone, arguments, text):
    ended = alone(CODE, *arguments)
    assert (ended.code, ended.stdout, ended.stderr) == (64, "", f"things: {text}\n")


def test_help_lists_every_parameter_with_its_variable_and_default(alone):
    ended = alone(CODE, "--help", env={"COLUMNS": "200"})
    assert ended.code == 0
    words = " ".join(ended.stdout.split())
    assert "--rows INT rows of clean data, 100% clean [ETL_ROWS, default 100]" in words
    assert "--null-fraction FLOAT [ETL_NULL_FRACTION, default 0.01]" in words


def test_a_field_of_another_type_is_refused():
    @dataclass(frozen=True)
    class Odd:
        many: list = ()  # type: ignore[assignment]

    with pytest.raises(TypeError) as caught:
        parameters_of(Odd, None)
    assert str(caught.value) == "Odd.many: expected int, float, str, bool or str | None, got list"


def test_a_field_without_a_default_is_refused():
    @dataclass(frozen=True)
    class Bare:
        rows: int

    with pytest.raises(TypeError) as caught:
        parameters_of(Bare, None)
    assert str(caught.value) == "Bare.rows: a parameter needs a default"
