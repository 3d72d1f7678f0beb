"""The units a contract is written in: durations (`90s`, `5m`) and memory sizes (`256Mi`, `1Gi`)."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BYTES |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
MAX_SECONDS, MAX_BYTES = 366 * 86400.0, 2**60
MEMORY_PATTERN = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$"


def parse_duration(value: Any) -> float:
    """Return seconds from text such as `30s`, `5m` or `1h30m`.

    Raises:
        ValueError: the text is no duration, is not above zero, or is more than a year.
    """
    if isinstance(value, float | int) and not isinstance(value, bool):
        # Python writes no whole number of more than 4300 digits.
        number = value if abs(value) < 10**4000 else 5
        raise ValueError(f"a duration needs a unit: write '{number}s', '{number}m' or '{number}h'.")
    if not isinstance(value, str) or not re.match(DURATION_PATTERN, value):
        raise ValueError(f"{value!r} is not a duration. Expected a number with a unit: 30s, 5m, 1h30m.")
    seconds = sum(float(n) * _SECONDS[unit] for n, _, unit in re.findall(r"([0-9]+(\.[0-9]+)?)(ms|s|m|h|d)", value))
    if seconds <= 0:
        raise ValueError(f"{value!r} is not above zero. Expected a duration such as 30s or 5m.")
    if seconds > MAX_SECONDS:
        raise ValueError(f"{value!r} is more than a year. Expected a duration such as 30s or 5m.")
    return seconds


def parse_memory(value: Any) -> int:
    """Return bytes from text such as `256Mi` or `1Gi` (Kubernetes notation).

    Raises:
        ValueError: the text is no memory size, is below one MiB, or above one EiB.
    """
    if isinstance(value, int) and abs(value) > MAX_BYTES:
        raise ValueError("this number of bytes is more than any machine holds. Expected 256Mi, 1Gi or the like.")
    if isinstance(value, bool) or not isinstance(value, str | int) or not re.match(MEMORY_PATTERN, str(value)):
        raise ValueError(f"{value!r} is not a memory size. Expected a number with a unit: 256Mi, 1Gi.")
    match = re.match(r"^([0-9.]+)([A-Za-z]*)$", str(value))
    assert match is not None
    number = float(match[1]) * _BYTES[match[2]]
    if number > MAX_BYTES:
        raise ValueError(f"{value!r} is more than any machine holds. Expected 256Mi, 1Gi or the like.")
    size = int(number)
    if size < 2**20:
        raise ValueError(f"{value!r} is {size} bytes, less than any process needs. Expected 256Mi, 1Gi or the like.")
    return size


def format_duration(seconds: float) -> str:
    """Return seconds as a person writes them: 20ms, 0.8s, 12.3s, 5m 3s, 1h 2m."""
    if 0 < seconds < 0.1:
        return f"{max(1, round(seconds * 1000))}ms"
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds % 1 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest}s" if rest else f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if minutes else f"{hours}h"


def format_memory(size: int) -> str:
    """Return bytes in the largest binary unit that keeps the number readable: 271Mi, 1.5Gi."""
    for unit, factor in (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if size >= factor:
            number = size / factor
            return f"{number:.0f}{unit}" if number >= 10 or number == int(number) else f"{number:.1f}{unit}"
    return f"{size}B"


Duration = Annotated[
    float, BeforeValidator(parse_duration), WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})
]
Memory = Annotated[
    int,
    BeforeValidator(parse_memory),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": MEMORY_PATTERN}, {"type": "integer"}]}),
]
