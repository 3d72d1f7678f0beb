"""Whatever stands in a team's defs.yaml, it is a contract or problems that say where, and the neighbours stay sound."""

import copy
import math
import re
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.contract.catalog import load_catalog
from orchestrator.contract.model import Contract
from orchestrator.contract.reading import ContractFile, read_contract
from orchestrator.contract.rules import own_problems
from orchestrator.errors import Problem
from tests.contract.contracts import document, write

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "workloads" / "etl" / "defs.yaml").read_text(encoding="utf-8")
ETL = yaml.safe_load(TEXT)
SHOWN = Path("workloads/etl/defs.yaml")
FUZZING = settings(
    max_examples=200,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
# What no writer of YAML writes, put into the text in place of these words.
RAW = {
    "HUGE": "0x" + "f" * 4000,
    "DEEP": "[" * 90 + "]" * 90,
    "TOODEEP": "{a: " * 500 + "}" * 500,
    "ALIAS": "*nowhere",
    "TAGGED": "!!int ''",
}


def keys_of(tree: Any) -> Iterator[str]:
    """Yield every key of a document, from the top down."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield key
            yield from keys_of(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from keys_of(value)


KEYS = st.sampled_from(sorted({*keys_of(ETL), "partitions_def", "secret_variables", "backfill_policy", "pool", "zzz"}))
WORDS = st.sampled_from(
    ["", "etl", "other", "other_data", "measurements", "{{ env.X }}", "{{ x }", "5m", "1Gi", "-1", "rw", "*", "+key:a",
     "((", "a and", "tag:x=", "team:", "@", "* * * * *", "0 0 31 2 *", "@daily", "UTC", "utc", "\0", "a\nb", "\u2028",
     "\u202e", "\U0001f600", "\ud7ff\ue000", "x" * 5000, *RAW]
)  # fmt: skip
NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from([math.nan, math.inf, -math.inf, 1e308, 10**400, -(10**4000), 2**63, 0, -1])
)
SCALARS = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.text(max_size=12), st.dates(), st.datetimes(), st.binary(max_size=6), WORDS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | SCALARS, inner, max_size=4),
    max_leaves=10,
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every value of a document but the whole."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def insert(parent: Any, at: Any, key: Any, value: Any) -> None:
    if isinstance(parent, list):
        parent.insert(at, value)
    else:
        parent[key] = value


def rename(parent: Any, at: Any, key: Any) -> None:
    items = list(parent.items())
    parent.clear()
    parent.update({key if name == at else name: value for name, value in items})


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """Return the contract of team etl with one to four things changed."""
    changed = copy.deepcopy(ETL)
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(list(places(changed)) or [()]))
        if not path:
            break
        parent = changed
        for part in path[:-1]:
            parent = parent[part]
        change = draw(st.sampled_from(["replace", "replace", "delete", "insert", "rename"]))
        if change == "delete":
            del parent[path[-1]]
        elif change == "insert":
            insert(parent, path[-1], draw(KEYS | SCALARS), draw(VALUES))
        elif change == "rename" and isinstance(parent, dict):
            rename(parent, path[-1], draw(KEYS | SCALARS))
        else:
            parent[path[-1]] = draw(VALUES)
    return dump(changed)


def dump(value: Any) -> str:
    text = str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
    for word, raw in RAW.items():
        text = re.sub(rf"\b{word}\b", raw, text)
    return text


# Each stands on lines of its own somewhere in a contract, where it may or may not fit.
SPECIALTIES = st.sampled_from(
    [
        "&a [*a]", "&a {x: *a}", "<<: *nowhere", "<<: [1, 2]", "<<: {team: ml}", "<<: &m {image: x}", "? [a, b]\n: c",
        "? {a: b}\n: c", "? !!binary aGk=\n: c", "!!python/object/apply:os.system [exit]", "!!python/name:os.system x",
        "description: !!python/object:x.Y {}", "description: !!int x", "description: !!bool ''", "env: !!set {A, B}",
        "description: !!timestamp x", "description: !!float ''", "env: !!omap [a: 1]", "env: !!pairs [a: 1]",
        "description: !!binary '*'", "description: !!null x", "description: !<a%0Ab> x", "team: etl", "team: etl\nteam: etl",
        "1: 2", "1.0: 2", "null: 3", "true: no", "~: ~", "=: =", "description: =", "---", "...", "--- !x", "%YAML 9.9", "%TAG ! x",
        "\tx: 1", "x:\t1", "x: |+2\n  a", "x: >-\n b", "'unclosed", '"\\ud800"', '"\\x"', "[", "}", "- ", ":", "?", "@", "`",
        "jobs: {a: &j {}, b: *j}", "owners: &o [a@b.c]\nenv: *o", "\ufeff", "x: \x85y", "x: \u2028y", "\x0b", "\x07",
        "network: 0x" + "f" * 4000, "resources: {memory: 0x" + "f" * 4000 + "}", "? 0x" + "f" * 4000 + "\n: 1",
        "resources: {cpu: 0x" + "f" * 4000 + "}", "resources: {cpu_time: .nan, pids: .inf}",
        "resources: {cpu_time: 0x" + "f" * 4000 + "}",
    ]
)  # fmt: skip


@st.composite
def specialties(draw: st.DrawFn) -> bytes:
    """Return a contract with rare YAML put into it, its line ends and its encoding changed."""
    lines = TEXT.splitlines()
    for _ in range(draw(st.integers(0, 3))):
        indent = " " * draw(st.sampled_from([0, 2, 2, 2, 4, 6]))
        special = "\n".join(indent + line for line in draw(SPECIALTIES).split("\n"))
        lines.insert(draw(st.integers(0, len(lines))), special)
    text = draw(st.sampled_from(["", "", "\ufeff", "\ufeff\ufeff"])) + draw(
        st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n"])
    ).join(lines)
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "latin-1"])), "replace")


FILES = {
    "text": st.text(),
    "bytes": st.binary(),
    "document": VALUES.map(dump),
    "attributes": VALUES.map(lambda value: dump({"type": "orchestrator.Workload", "attributes": value})),
    "known keys": st.dictionaries(KEYS, VALUES, max_size=6).map(lambda changes: dump(document("etl", **changes))),
    "mutations": mutations(),
    "specialties": specialties(),
}
EVERY_KIND_OF_FILE = pytest.mark.parametrize("contents", FILES.values(), ids=FILES)


def put(root: Path, content: str | bytes) -> Path:
    """Write the contract file of team etl; return its path."""
    path = root / "workloads" / "etl" / "defs.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def line_count(path: Path) -> int:
    """Return the number of lines of a file; 1 for what is empty or no text."""
    try:
        return len(path.read_bytes().decode().splitlines()) or 1
    except UnicodeDecodeError:
        return 1


def assert_addressed(problems: Iterable[Problem], path: Path) -> None:
    last = line_count(path)
    for problem in problems:
        assert problem.path == SHOWN
        assert 1 <= problem.line <= last
        assert problem.message.strip()
        assert str(problem).isprintable(), "one line, nothing that moves the cursor"
        for leak in ("Traceback", "pydantic", "ValueAndSourcePosition", "object at 0x"):
            assert leak not in str(problem)


def claims(contract: Contract) -> set[tuple[str, str]]:
    """Return every name that no other team can have as well."""
    named = {"asset": contract.asset_keys(), "dataset": contract.publishes}
    named |= {"store": list(contract.stores), "job": list(contract.jobs)}
    return {(kind, name) for kind, names in named.items() for name in names}


def problems_of(tmp_path: Path, content: str | bytes) -> list[str]:
    file = read_contract(put(tmp_path, content), SHOWN)
    return [str(problem) for problem in (*file.problems, *own_problems(file))]


@EVERY_KIND_OF_FILE
@FUZZING
@given(data=st.data())
def test_any_file_is_a_valid_contract_or_problems_that_say_where(
    tmp_path: Path, contents: st.SearchStrategy[str | bytes], data: st.DataObject
) -> None:
    path = put(tmp_path, data.draw(contents))
    file = read_contract(path, SHOWN)
    assert isinstance(file, ContractFile)
    assert isinstance(file.contract, Contract) != bool(file.problems)
    assert_addressed([*file.problems, *own_problems(file)], path)


@EVERY_KIND_OF_FILE
@pytest.mark.parametrize("other", ["before", "zafter"])
@FUZZING
@given(data=st.data())
def test_a_sound_team_stays_sound_beside_any_file_that_takes_none_of_its_names(
    tmp_path: Path, other: str, contents: st.SearchStrategy[str | bytes], data: st.DataObject
) -> None:
    path = put(tmp_path, data.draw(contents))
    if not (tmp_path / "workloads" / other).exists():
        sound = document(other, publishes=[f"{other}_data"], stores={"other": "rw"}, jobs={"other": {}})
        write(tmp_path, **{other: sound})
    catalog = load_catalog(tmp_path / "workloads")
    assert ("etl" in catalog.sound) != ("etl" in catalog.problems)
    assert_addressed(catalog.problems.get("etl", ()), path)
    fuzzed, beside = catalog.files["etl"].contract, catalog.files[other].contract
    assert beside is not None
    if other in catalog.problems:
        assert other == "zafter"
        assert fuzzed is not None
        assert claims(fuzzed) & claims(beside)
    else:
        assert catalog.sound[other] == beside


def test_the_contract_that_is_mutated_is_sound(tmp_path: Path) -> None:
    assert problems_of(tmp_path, TEXT) == []
    assert problems_of(tmp_path, dump(ETL)) == []


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_a_file_nested_so_deeply_that_it_would_end_the_process_is_one_problem(tmp_path: Path, opening: str) -> None:
    assert problems_of(tmp_path, opening * 100_000) == [
        f"{SHOWN}:1: this is not YAML: it is nested more than 100 levels deep."
    ]


@pytest.mark.parametrize("value", ["[*{0}, *{0}, *{0}, *{0}, *{0}]", "{{<<: [*{0}, *{0}, *{0}, *{0}, *{0}]}}"])
def test_aliases_that_stand_for_more_than_fits_into_memory_are_one_problem(tmp_path: Path, value: str) -> None:
    bomb = ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {value.format(f'a{i - 1}')}" for i in range(1, 40))]
    (text,) = problems_of(tmp_path, "\n".join([*bomb, f"type: *a{len(bomb) - 1}"]))
    assert re.fullmatch(rf"{SHOWN}:\d+: this is not YAML: it stands for more than 500000 values\.", text)


def test_a_long_text_with_many_aliases_is_one_problem(tmp_path: Path) -> None:
    assert problems_of(tmp_path, f"a: &a {'x' * 500_000}\ntype: [{'*a, ' * 90_000}]") == [
        f"{SHOWN}:2: this is not YAML: it stands for more than 500000 values."
    ]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("description: !!int ''", "1: this is not YAML: a value does not fit its tag."),
        ("description: !!bool maybe", "1: this is not YAML: a value does not fit its tag."),
        ("description: !!timestamp x", "1: this is not YAML: a value does not fit its tag."),
        ("env: !!set {A}", "5: this is not YAML: the tag 'tag:yaml.org,2002:set' has no place in a contract."),
        ("network: 0x" + "f" * 4000, "5: network: found a int too large to show. Expected 'none' or 'data'."),
        ("? 0x" + "f" * 4000 + "\n  : 1", "2: a key is text; found a int too large to show."),
        ("1: 2", "5: [1]: a key is text; found 1."),
        ('description: x\n  "a\\nb": 1', "6: 'a\\nb': unknown key 'a\\nb'. Expected one of: "),
        ("resources: {cpu_time: 0x" + "f" * 4000 + "}", "5: resources.cpu_time: a duration needs a unit: write '5s', '5m' or '5h'."),
        ("resources: {memory: 0x" + "f" * 4000 + "}",
         "5: resources.memory: this number of bytes is more than any machine holds. Expected 256Mi, 1Gi or the like."),
    ],
)  # fmt: skip
def test_a_value_that_no_reader_expects_is_a_problem_like_any_other(tmp_path: Path, line: str, text: str) -> None:
    lines = ["type: orchestrator.Workload", "attributes:", "  team: etl", "  image: etl", f"  {line}"]
    lines += ["  steps: [{name: a, run: [a], assets: [{key: a}]}]"]
    (found,) = problems_of(tmp_path, "\n".join(lines))
    assert found.startswith(f"{SHOWN}:{text}")


def test_a_type_of_the_wrong_kind_is_shown_cut(tmp_path: Path) -> None:
    content = dump({"type": "HUGE", "attributes": ETL["attributes"], "day": date(2026, 1, 1)})
    assert problems_of(tmp_path, content)[-1] == (
        f"{SHOWN}:1: type: expected 'orchestrator.Workload', found a int too large to show."
    )
