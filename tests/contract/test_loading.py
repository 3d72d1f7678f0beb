"""Big contracts: each is read once, and what is paid for a step does not depend on how many others there are."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.core import decl
from dagster_shared.yaml_utils import parse_yamls_with_source_position

from orchestrator.contract import reading
from orchestrator.contract.catalog import load_catalog
from orchestrator.contract.reading import read_contract
from orchestrator.definitions import team_definitions
from orchestrator.execution import platform as platforms
from orchestrator.execution.fingerprints import contract_hash
from orchestrator.execution.platform import Platform, load_platform
from orchestrator.graph.specs import _is_plain
from orchestrator.graph.thin import thin_definition
from tests.bench.loading import contract, write_project
from tests.contract.contracts import document, load, said, step

REPOSITORY = Path(__file__).resolve().parents[2]


def calls_of(work: Callable[[], Any]) -> int:
    """Return how many Python functions are called by some work."""
    count = 0

    def called(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Platform]:
    """Return a function that makes a project with so many steps for each team, and reads its contracts."""

    def make(**steps: int) -> Platform:
        root = tmp_path / "-".join(map(str, steps.values()))
        monkeypatch.setenv("BULKHEAD_PROJECT", str(write_project(root, **steps)))
        return load_platform()

    return make


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return a list that takes the name of each reader of YAML: `CSafeLoader` looks for bounds, `_Loader` for values."""
    found: list[str] = []
    made = yaml.constructor.SafeConstructor.__init__

    def counted(self: Any) -> None:
        found.append(type(self).__name__)
        made(self)

    monkeypatch.setattr(yaml.constructor.SafeConstructor, "__init__", counted)
    yield found


def job_of(team: str, platform: Platform | None = None) -> dg.JobDefinition:
    return team_definitions(team, platform).resolve_job_def(f"{team}_job")


def test_a_contract_of_5000_steps_loads(at: Callable[..., Platform]) -> None:
    platform = at(big=5000, small=10)
    assert platform.catalog.problems == {}
    assert len(job_of("big", platform).nodes) == 5000
    assert len(job_of("small", platform).nodes) == 10


def test_ten_times_the_steps_cost_ten_times_the_calls(at: Callable[..., Platform]) -> None:
    at(warm=10)
    job_of("warm")
    calls = {}
    for steps in (100, 1000):
        at(big=steps)
        calls[steps] = calls_of(lambda: job_of("big"))
    assert calls[1000] <= 12 * calls[100], calls


def test_each_contract_is_parsed_once_for_the_definitions_of_a_team(
    at: Callable[..., Platform], parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at(big=10, small=10)
    monkeypatch.delattr(decl, "parse_yamls_with_source_position")
    parsed.clear()
    job_of("big")
    # Dagster reads a few examples of its own.
    assert [name for name in parsed if name != "SourcePositionLoader"] == ["CSafeLoader", "_Loader"] * 2


def test_what_a_step_asks_of_the_contracts_costs_the_same_in_a_big_one(at: Callable[..., Platform]) -> None:
    def asked(platform: Platform) -> int:
        big = platform.catalog.sound["big"]

        def ask() -> None:
            assert platform.catalog.owner_of("big_00003") == "big"
            assert platform.catalog.jobs_of("big_00003") == ["big_job"]
            assert big.blocking_checks("big_00003") == ["not_empty"]
            assert big.step_of("big_00003") is big.steps[3]
            assert platform.contract_hash("big") == first

        first = platform.contract_hash("big")
        ask()
        return calls_of(ask)

    assert asked(at(big=10)) == asked(at(big=1000))


def test_the_hash_of_a_contract_is_computed_once_and_anew_when_contracts_are_read_again(
    at: Callable[..., Platform], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []
    monkeypatch.setattr(platforms, "contract_hash", lambda contract: hashed.append(contract) or contract_hash(contract))
    platform = at(big=2)
    first = platform.contract_hash("big")
    assert (platform.contract_hash("big"), len(hashed)) == (first, 1)
    file = platform.settings.workloads / "big" / "defs.yaml"
    file.write_text(file.read_text().replace("5m", "6m"))
    assert platform.contract_hash("big") == first
    assert load_platform().contract_hash("big") != first


def test_a_problem_in_a_big_contract_has_its_line(tmp_path: Path) -> None:
    big = contract(1000)
    big["attributes"]["steps"][700]["checks"][0]["asset"] = "big_00701"
    written = yaml.safe_dump(big, sort_keys=False).splitlines()
    line = next(n for n, text in enumerate(written, 1) if text == "      asset: big_00701")
    assert said(load(tmp_path, big=big)) == {
        "big": [
            f"workloads/big/defs.yaml:{line}: steps[700].checks[0].asset: asset 'big_00701' is made by step "
            "'big_00701'. Declare check 'not_empty' there."
        ]
    }


def test_two_big_teams_that_claim_the_same_assets_are_told_apart_by_as_many_calls_as_steps(tmp_path: Path) -> None:
    calls = {}
    for steps in (100, 1000):
        same = contract(steps)["attributes"]["steps"]
        root = tmp_path / str(steps)
        root.mkdir()
        catalog = load(root, a=document("a", steps=same), b=document("b", steps=same))
        calls[steps] = calls_of(lambda catalog=catalog: catalog.problems)  # type: ignore[misc]
        assert len(catalog.problems["b"]) == steps
    assert calls[1000] <= 12 * calls[100], calls


@pytest.mark.parametrize("team", ["etl", "ml", "showcase"])
def test_a_contract_is_read_as_dagster_reads_it(team: str) -> None:
    path = REPOSITORY / "workloads" / team / "defs.yaml"
    text = path.read_text(encoding="utf-8")
    (dagsters,) = parse_yamls_with_source_position(text, str(path))
    (node,), (document,), _ = reading._documents(text, path)
    assert document == dagsters.value
    assert node.start_mark.line + 1 == dagsters.source_position_tree.position.start.line
    assert read_contract(path, path).positions == dagsters.source_position_tree


@pytest.mark.parametrize("value", ["2026-01-02", "2026-01-02 03:04:05", "0x1F", "1_000", "yes", "~", "!!binary aGk="])
def test_a_value_is_read_as_dagster_reads_it(value: str) -> None:
    (dagsters,) = parse_yamls_with_source_position(f"a: {value}")
    assert reading._documents(f"a: {value}", Path("x"))[1] == [dagsters.value]


def test_a_thin_definition_is_what_multi_asset_makes() -> None:
    def body(context: dg.AssetExecutionContext) -> Iterator[Any]:
        yield from ()

    assets = [
        dg.AssetSpec(
            ["a", "b-c"], deps=["up", ["x.y", "z-1"]], description="An asset.", code_version="1", skippable=True
        ),
        dg.AssetSpec("d", deps=["up"], metadata={"m": 1}, skippable=True),
    ]
    given: dict[str, Any] = {
        "name": "both",
        "specs": assets,
        "check_specs": [dg.AssetCheckSpec("good", asset="d", blocking=True)],
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "description": "What it does.",
        "config_schema": {"ROWS": dg.Field(dg.Any, is_required=False)},
        "retry_policy": dg.RetryPolicy(max_retries=2),
        "pool": "few",
        "op_tags": {"bulkhead/team": "etl"},
    }
    stock = dg.multi_asset(can_subset=True, **given)(body)
    thin = thin_definition(body, **given)
    thin_attributes, stock_attributes = thin.get_attributes_dict(), stock.get_attributes_dict()
    assert list(thin_attributes.pop("specs")) == list(stock_attributes.pop("specs"))
    for apart in ("node_def", "resource_defs"):
        del thin_attributes[apart], stock_attributes[apart]
    assert thin_attributes == stock_attributes
    assert (thin.op.ins, thin.op.outs) == (stock.op.ins, stock.op.outs)
    assert (thin.op.name, thin.op.description, thin.op.tags) == (stock.op.name, stock.op.description, stock.op.tags)
    assert thin.op.config_schema.config_type.key == stock.op.config_schema.config_type.key
    assert (thin.op.retry_policy, thin.op.pool) == (stock.op.retry_policy, stock.op.pool)


@pytest.mark.parametrize(
    "text", ["a", "a b, c", "a/b.c", "None", "True, False", "Nones", "1", "b'x'", "{{ 1 }}", "a=1", "set"]
)
def test_a_plain_word_is_what_dagster_makes_of_it(text: str) -> None:
    resolved = dg.ResolutionContext.default().resolve_value(text)
    assert (resolved == text) or not _is_plain(text)
    assert _is_plain(text) == (text in {"a", "a b, c", "a/b.c", "Nones", "a=1", "set"})


def test_the_keys_beside_the_contract_reach_dagster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = {
        **document("etl", steps=[step("a"), step("b", ["a"])]),
        "post_processing": {"assets": [{"target": "key:a", "attributes": {"tags": {"owner": "x"}}}]},
    }
    load(tmp_path, etl=file)
    monkeypatch.setenv("BULKHEAD_PROJECT", str(tmp_path))
    specs = {spec.key.to_user_string(): spec for spec in team_definitions("etl").resolve_all_asset_specs()}
    assert (specs["a"].tags, specs["b"].tags) == ({"owner": "x"}, {})
    (where,) = specs["a"].metadata["dagster/code_references"].code_references
    assert (Path(where.file_path), where.line_number) == (tmp_path / "workloads" / "etl" / "defs.yaml", 1)


def test_a_catalog_without_a_broken_contract_asks_for_no_positions(tmp_path: Path, parsed: list[str]) -> None:
    write_project(tmp_path, big=3)
    parsed.clear()
    catalog = load_catalog(tmp_path / "workloads")
    assert (catalog.problems, parsed) == ({}, ["CSafeLoader", "_Loader"])
