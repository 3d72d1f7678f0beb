"""Reads one `defs.yaml` into a contract, or into every problem found in it."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Union, get_args, get_origin

import yaml
from dagster_shared.yaml_utils import YAML_TIMESTAMP_TAG, parse_yamls_with_source_position
from dagster_shared.yaml_utils.source_position import SourcePositionTree
from pydantic import BaseModel, ValidationError

from orchestrator.contract.model import Contract
from orchestrator.errors import Problem, did_you_mean, listed

COMPONENT_TYPE = "orchestrator.Workload"
# What Dagster allows beside `attributes` in a component file.
FILE_KEYS = ("type", "attributes", "requirements", "template_vars_module", "post_processing")
# A contract has six levels and a few hundred values.
MAX_DEPTH, MAX_VALUES = 100, 500_000
# So many characters count as one value more.
LONG_TEXT = 64
# What YAML makes of them is neither a mapping nor a list.
OTHER_COLLECTIONS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("omap", "pairs", "set"))
KeyPath = Sequence[str | int]
# The reader in C where there is one; typed as what it has in common with the other.
SAFE_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(SAFE_LOADER):  # type: ignore[misc]
    """Reads YAML as Dagster does: a date is text."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != YAML_TIMESTAMP_TAG]
        for first, resolvers in SAFE_LOADER.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True)
class ContractFile:
    """One `defs.yaml` as read: the contract if it holds by itself, and the problems if it does not.

    `document` is the file without `attributes`, `line` the line it starts on.
    """

    team: str
    path: Path
    contract: Contract | None
    problems: tuple[Problem, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    text: str = field(default="", repr=False, compare=False)
    line: int = 1

    @cached_property
    def positions(self) -> SourcePositionTree | None:
        """Where each value of the file stands, as far as it can be told. Found out when first asked for."""
        return positions_of(self.text, self.path)

    def problem(self, key_path: KeyPath, message: str) -> Problem:
        """Return a problem at a key below `attributes`, with the line it stands on."""
        return Problem(self.path, _line(self.positions, ["attributes", *key_path]), dotted(key_path), message)


def dotted(key_path: KeyPath) -> str:
    """Return a key path as people write it: steps[1].assets[0].key."""
    text = "".join(f"[{_excerpt(part)}]" if isinstance(part, int) else f".{_key(part)}" for part in key_path)
    return text.removeprefix(".")


def read_contract(path: Path, shown: Path) -> ContractFile:
    """Read the contract in `path`. `shown` is the path that problems name.

    Never raises for what stands in the file: each fault becomes a `Problem`.
    """
    team = path.parent.name
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return ContractFile(team, shown, None, (Problem(shown, 1, "", f"cannot be read: {error}"),))
    try:
        _refuse_the_unbounded(text)
        nodes, documents, twice = _documents(text, shown)
    except (yaml.YAMLError, ValueError, TypeError, LookupError, RecursionError, AttributeError) as error:
        return ContractFile(team, shown, None, (_yaml_problem(shown, text, error),))
    if twice:
        return ContractFile(team, shown, None, tuple(twice))
    if len(documents) != 1 or not isinstance(documents[0], dict):
        message = (
            f"expected one YAML document, a mapping with the keys 'type' and 'attributes'; found {len(documents)}."
        )
        if len(documents) == 1:
            message = "expected a mapping with the keys 'type' and 'attributes'."
        return ContractFile(team, shown, None, (Problem(shown, 1, "", message),))
    document = documents[0]
    if outer := list(_file_problems(shown, document, text)):
        return ContractFile(team, shown, None, tuple(outer))
    attributes = document.pop("attributes")
    try:
        contract = Contract.model_validate(attributes)
    except ValidationError as error:
        return ContractFile(team, shown, None, tuple(_validation_problems(shown, text, attributes, error)))
    return ContractFile(team, shown, contract, (), document, text, nodes[0].start_mark.line + 1)


def _file_problems(path: Path, document: Mapping[Any, Any], text: str) -> Iterator[Problem]:
    unknown = [key for key in document if key not in FILE_KEYS]
    has_contract = isinstance(document.get("attributes"), dict)
    if not unknown and has_contract and document.get("type") == COMPONENT_TYPE:
        return
    positions = positions_of(text, path)
    for key in unknown:
        hint = f"unknown key. Expected one of: {listed(FILE_KEYS)}.{did_you_mean(_key(key), FILE_KEYS)}"
        yield Problem(path, _line(positions, [key]), _key(key), hint)
    if document.get("type") != COMPONENT_TYPE:
        found = document.get("type", "nothing")
        yield Problem(
            path, _line(positions, ["type"]), "type", f"expected {COMPONENT_TYPE!r}, found {_excerpt(found)}."
        )
    if not has_contract:
        yield Problem(path, _line(positions, ["attributes"]), "attributes", "expected a mapping: the team's contract.")


def _validation_problems(
    path: Path, text: str, attributes: Mapping[str, Any], error: ValidationError
) -> Iterator[Problem]:
    positions = positions_of(text, path)
    by_place: dict[tuple[str | int, ...], list[Any]] = {}
    for item in error.errors(include_url=False):
        place = _written(item["loc"], attributes)
        if item["type"] == "missing":
            place = (*place, item["loc"][-1])
        by_place.setdefault(place, []).append(item)
    problems = [
        Problem(path, _line(positions, ["attributes", *place]), dotted(place), _message(place, items))
        for place, items in by_place.items()
    ]
    yield from sorted(problems, key=lambda problem: problem.line)


def _message(place: KeyPath, items: Sequence[Any]) -> str:
    kinds = {item["type"] for item in items}
    if "extra_forbidden" in kinds:
        known = _known_keys(place[:-1])
        hint = did_you_mean(str(place[-1]), known)
        return f"unknown key {place[-1]!r}. Expected one of: {listed(known)}.{hint}"
    if "missing" in kinds:
        return f"missing key {place[-1]!r}."
    if "invalid_key" in kinds:
        return f"a key is text; found {', '.join(_excerpt(item['input']) for item in items)}."
    for item in items:
        if item["type"] == "value_error":
            return str(item["ctx"]["error"])
    reasons = dict.fromkeys(item["msg"].removeprefix("Input should be ") for item in items)
    found = _excerpt(items[0]["input"])
    return f"found {found}. Expected {' or '.join(reasons)}.{_nearest_literal(items)}"


def _excerpt(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # Python writes no whole number of more than 4300 digits.
        text = f"a {type(value).__name__} too large to show"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _key(key: Any) -> str:
    """Return a key as text of one line."""
    return key if isinstance(key, str) and key.isprintable() else _excerpt(key)


def _nearest_literal(items: Sequence[Any]) -> str:
    for item in items:
        if item["type"] == "literal_error" and isinstance(item["input"], str):
            return did_you_mean(item["input"], re.findall(r"'([^']*)'", item["ctx"]["expected"]))
    return ""


def _written(loc: Sequence[str | int], attributes: Any) -> tuple[str | int, ...]:
    """Keep the part of a pydantic location that stands in the file; the rest names union members."""
    place: list[str | int] = []
    value = attributes
    for part in loc:
        is_key = isinstance(value, dict) and part in value
        if is_key or (isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)):
            inner: Any = value
            value = inner[part]
        elif isinstance(value, dict) and part != "[key]" and not place:
            break
        else:
            continue
        place.append(part)
    return tuple(place)


def _known_keys(place: KeyPath) -> list[str]:
    """Return the keys that the model knows at a place of the contract."""
    model: Any = Contract
    for part in place:
        model = _inner(model, part)
        if model is None:
            return []
    return sorted(model.model_fields) if _is_model(model) else []


def _inner(annotation: Any, part: str | int) -> Any:
    if _is_model(annotation):
        found = annotation.model_fields.get(part)
        return _strip(found.annotation) if found else None
    if get_origin(annotation) in (list, tuple) or (get_origin(annotation) is dict):
        return _strip(get_args(annotation)[-1])
    return None


def _strip(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member not in (type(None), str)]
        return _strip(members[0]) if members else str
    if hasattr(annotation, "__metadata__"):
        return _strip(get_args(annotation)[0])
    return annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def positions_of(text: str, path: Path) -> SourcePositionTree | None:
    """Return where each value of a text's one document stands, or None if that cannot be told. `path` is its file."""
    try:
        documents = parse_yamls_with_source_position(text, str(path))
    except (yaml.YAMLError, ValueError, TypeError, LookupError, RecursionError, AttributeError):
        # The two readers of YAML do not refuse quite the same texts.
        return None
    return documents[0].source_position_tree if len(documents) == 1 else None


def _line(positions: SourcePositionTree | None, key_path: KeyPath) -> int:
    if positions is None:
        return 1
    return positions.lookup_closest_and_path(key_path, None)[0].start.line


def _yaml_problem(path: Path, text: str, error: Exception) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, LookupError | AttributeError):
        what = "a value does not fit its tag"
    # What is missing at the end is missed on the line after the last.
    line = min(mark.line + 1, len(text.splitlines()) or 1) if mark else 1
    return Problem(path, line, "", f"this is not YAML: {what}.")


def _refuse_the_unbounded(text: str) -> None:
    """Raise for a text that the readers of YAML must not be given.

    Nested deeply it ends the process; with aliases of aliases a few lines stand for more than fits into memory.
    """
    counts, anchors = [0], [""]
    counted: dict[str, int] = {}
    events: Iterator[Any] = yaml.parse(text, Loader=SAFE_LOADER)
    for event in events:
        problem = ""
        if isinstance(event, yaml.CollectionStartEvent):
            counts.append(0)
            anchors.append(event.anchor or "")
            if event.tag in OTHER_COLLECTIONS:
                problem = f"the tag {event.tag!r} has no place in a contract"
        elif isinstance(event, yaml.CollectionEndEvent):
            count = counts.pop()
            counted[anchors.pop()] = count
            counts[-1] += count + 1
        elif isinstance(event, yaml.ScalarEvent):
            counted[event.anchor or ""] = 1 + len(event.value) // LONG_TEXT
            counts[-1] += counted[event.anchor or ""]
        elif isinstance(event, yaml.AliasEvent):
            counts[-1] += counted.get(event.anchor or "", 1)
        if len(counts) > MAX_DEPTH:
            problem = f"it is nested more than {MAX_DEPTH} levels deep"
        if counts[-1] > MAX_VALUES:
            problem = f"it stands for more than {MAX_VALUES} values"
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _documents(text: str, path: Path) -> tuple[list[yaml.Node], list[Any], list[Problem]]:
    """Return the documents in a text, as nodes and as values, and a problem for each mapping key that stands twice.

    Raises whatever a reader of YAML raises.
    """
    loader = _Loader(text)
    nodes = []
    while loader.check_node():
        nodes.append(loader.get_node())
    twice = [Problem(path, line, key, "this key stands twice. Keep one.") for key, line in _repeated_keys(nodes)]
    try:
        return nodes, [loader.construct_object(node, deep=True) for node in nodes], twice
    except (yaml.YAMLError, ValueError, TypeError, LookupError, RecursionError, AttributeError):
        # Dagster's reader says what is wrong, in its own words.
        return nodes, [document.value for document in parse_yamls_with_source_position(text, str(path))], twice


def _repeated_keys(nodes: Iterable[yaml.Node]) -> Iterator[tuple[str, int]]:
    """Yield (key, line) of every mapping key that stands twice; YAML itself keeps the last in silence."""
    open_nodes = list(nodes)
    seen_nodes: set[int] = set()
    while open_nodes:
        node = open_nodes.pop()
        if id(node) in seen_nodes:
            continue
        seen_nodes.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            open_nodes.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                open_nodes.append(value)
                if isinstance(key, yaml.ScalarNode):
                    if key.value in keys:
                        yield _key(key.value), key.start_mark.line + 1
                    keys.add(key.value)
