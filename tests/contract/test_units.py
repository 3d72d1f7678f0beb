"""Durations and memory sizes, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contract.units import format_duration, format_memory, parse_duration, parse_memory

ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30), ("1.5m", 90), ("5m", 300), ("1h30m", 5400), ("1d", 86400), ("366d", 31622400)],
)
def test_a_duration_is_a_number_with_a_unit_or_several(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (300, "a duration needs a unit: write '300s', '300m' or '300h'."),
        (1.5, "a duration needs a unit: write '1.5s', '1.5m' or '1.5h'."),
        ("5 minutes", "'5 minutes' is not a duration. Expected a number with a unit: 30s, 5m, 1h30m."),
        ("-5m", "'-5m' is not a duration. Expected a number with a unit: 30s, 5m, 1h30m."),
        ("", "'' is not a duration. Expected a number with a unit: 30s, 5m, 1h30m."),
        (True, "True is not a duration. Expected a number with a unit: 30s, 5m, 1h30m."),
        (None, "None is not a duration. Expected a number with a unit: 30s, 5m, 1h30m."),
        ("0s", "'0s' is not above zero. Expected a duration such as 30s or 5m."),
        ("367d", "'367d' is more than a year. Expected a duration such as 30s or 5m."),
    ],
)
def test_a_value_that_is_no_duration_is_refused_with_what_was_expected(value: object, text: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_duration(value)
    assert str(refused.value) == text


def test_a_number_too_large_for_a_float_is_refused_as_a_duration_too() -> None:
    number = 10**400
    with pytest.raises(ValueError) as refused:
        parse_duration(number)
    assert str(refused.value) == f"a duration needs a unit: write '{number}s', '{number}m' or '{number}h'."


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("256Mi", 256 * 2**20),
        ("1.5Gi", 3 * 2**29),
        ("2Ti", 2**41),
        ("2048Ki", 2**21),
        ("5000k", 5 * 10**6),
        ("1G", 10**9),
        ("1048576", 2**20),
        (2**30, 2**30),
    ],
)
def test_a_memory_size_is_written_as_kubernetes_writes_it(value: object, size: int) -> None:
    assert parse_memory(value) == size


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1GB", "'1GB' is not a memory size. Expected a number with a unit: 256Mi, 1Gi."),
        ("lots", "'lots' is not a memory size. Expected a number with a unit: 256Mi, 1Gi."),
        (-1, "-1 is not a memory size. Expected a number with a unit: 256Mi, 1Gi."),
        (1.5, "1.5 is not a memory size. Expected a number with a unit: 256Mi, 1Gi."),
        (True, "True is not a memory size. Expected a number with a unit: 256Mi, 1Gi."),
        (512, "512 is 512 bytes, less than any process needs. Expected 256Mi, 1Gi or the like."),
        ("1k", "'1k' is 1000 bytes, less than any process needs. Expected 256Mi, 1Gi or the like."),
        ("2000000Ti", "'2000000Ti' is more than any machine holds. Expected 256Mi, 1Gi or the like."),
        ("9" * 400, f"'{'9' * 400}' is more than any machine holds. Expected 256Mi, 1Gi or the like."),
    ],
)
def test_a_value_that_is_no_memory_size_is_refused_with_what_was_expected(value: object, text: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_memory(value)
    assert str(refused.value) == text


@given(ANYTHING)
def test_whatever_is_written_is_a_quantity_above_zero_or_a_value_error(value: object) -> None:
    for parse in (parse_duration, parse_memory):
        try:
            parsed = parse(value)
        except ValueError:
            continue
        assert 0 < parsed < float("inf")


@given(st.integers(1, 10**6), st.sampled_from(["s", "m"]))
def test_a_whole_duration_below_a_minute_or_an_hour_reads_back_as_written(number: int, unit: str) -> None:
    text = f"{number % 59 + 1}{unit}"
    assert format_duration(parse_duration(text)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.84, "0.8s"), (12, "12s"), (60, "1m"), (303, "5m 3s"), (3600, "1h"), (3720, "1h 2m")],
)
def test_seconds_are_shown_as_a_person_writes_them(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1Ki"), (3 * 2**29, "1.5Gi"), (271 * 2**20, "271Mi"), (2**40, "1Ti")],
)
def test_bytes_are_shown_in_the_largest_unit_that_stays_readable(size: int, text: str) -> None:
    assert format_memory(size) == text
