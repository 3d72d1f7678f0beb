"""Parameters of a step: a frozen dataclass filled from flags, the environment and its defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from bulkhead_sdk.errors import BadParameter

TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def _number(text: str) -> float:
    value = float(text)
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(text)
    return value


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word not in TRUE + FALSE:
        raise ValueError(text)
    return word in TRUE


READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "int": (int, "a whole number"),
    "float": (_number, "a finite number"),
    "str": (str, "text"),
    "bool": (_boolean, "true or false"),
    "str | None": (str, "text"),
    "None | str": (str, "text"),
    "typing.Optional[str]": (str, "text"),
    "Optional[str]": (str, "text"),
}


@dataclass(frozen=True)
class Parameter:
    """One field of the dataclass: how it is called, read and explained."""

    name: str
    kind: str
    default: Any
    help: str
    variable: str | None

    @property
    def flag(self) -> str:
        """Return the command line's name: `null_fraction` is `--null-fraction`."""
        return "--" + self.name.replace("_", "-")

    def read(self, text: str, origin: str) -> Any:
        """Turn text into a value; raises BadParameter that names `origin`, the text and what was expected."""
        reader, expected = READERS[self.kind]
        try:
            return reader(text)
        except ValueError:
            raise BadParameter(f"{origin}: expected {expected} ({self.kind}), got {text!r}") from None


def parameters_of(declared: type, prefix: str | None) -> list[Parameter]:
    """List the parameters of a dataclass; raises TypeError for a field of another type or without default."""
    found = []
    for field in fields(declared):
        kind = field.type if isinstance(field.type, str) else _name(field.type)
        if kind not in READERS:
            expected = "int, float, str, bool or str | None"
            raise TypeError(f"{declared.__name__}.{field.name}: expected {expected}, got {kind}")
        if field.default is MISSING:
            raise TypeError(f"{declared.__name__}.{field.name}: a parameter needs a default")
        variable = f"{prefix}_{field.name}".upper() if prefix else None
        found.append(Parameter(field.name, kind, field.default, field.metadata.get("help", ""), variable))
    return found


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)


def read_parameters(
    declared: type, prefix: str | None, flags: Mapping[str, str | None], environment: Mapping[str, str]
) -> Any:
    """Build the dataclass: flag, else variable, else default. An empty variable counts as not set.

    Raises BadParameter, also for a ValueError from the dataclass's own `__post_init__`.
    """
    values: dict[str, Any] = {}
    for parameter in parameters_of(declared, prefix):
        flag = flags.get(parameter.name)
        if flag is not None:
            values[parameter.name] = parameter.read(flag, parameter.flag)
        elif parameter.variable and environment.get(parameter.variable):
            values[parameter.name] = parameter.read(environment[parameter.variable], parameter.variable)
    try:
        return declared(**values)
    except ValueError as error:
        raise BadParameter(str(error)) from error
