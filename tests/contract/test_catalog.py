"""All contracts together: who has a name, and whose problem is whose."""

from pathlib import Path

import pytest

from orchestrator.contract.catalog import load_catalog
from orchestrator.errors import CommandError, ContractError
from tests.contract.contracts import document, load, said, step, write

ETL = document("etl", publishes=["measurements"], steps=[step("measurements")], jobs={"part": {}, "all": {}})
ML = document("ml", steps=[step("model", ["measurements"])])


def test_the_team_that_the_workspace_lists_first_keeps_a_name_that_two_claim(tmp_path: Path) -> None:
    teams = {team: document(team, steps=[step("data")]) for team in ("apple", "banana", "cherry")}
    catalog = load(tmp_path, "cherry", "banana", **teams)
    assert catalog.teams == ["cherry", "banana", "apple"]
    place = "steps[0].assets[0].key: asset 'data' is already made by team 'cherry'. Take another key."
    assert said(catalog) == {
        "banana": [f"workloads/banana/defs.yaml:12: {place}"],
        "apple": [f"workloads/apple/defs.yaml:12: {place}"],
    }
    assert list(catalog.sound) == ["cherry"]
    assert catalog.owner_of("data") == "cherry"


@pytest.mark.parametrize("broken", ["", "\xff: [", "type: 3", document("bad", steps=[]), document("other")])
def test_a_broken_contract_breaks_only_its_own_team(tmp_path: Path, broken: str) -> None:
    catalog = load(tmp_path, "bad", "etl", "ml", bad=broken, etl=ETL, ml=ML)
    assert list(catalog.problems) == ["bad"]
    assert list(catalog.sound) == ["etl", "ml"]


def test_a_team_that_builds_on_a_broken_team_is_not_broken_by_it(tmp_path: Path) -> None:
    catalog = load(
        tmp_path, etl="type: 3", ml=document("ml", reads=["measurements"], steps=[step("m", ["measurements"])])
    )
    assert list(catalog.problems) == ["etl"]
    assert catalog.contract("ml").reads == ["measurements"]
    assert catalog.owner_of("measurements") is None


def test_a_team_with_an_unmet_need_is_broken_and_those_that_build_on_it_are_not(tmp_path: Path) -> None:
    etl = document("etl", publishes=["measurements"], reads=["nothing"], steps=[step("measurements")])
    assert said(load(tmp_path, etl=etl, ml=ML)) == {
        "etl": ["workloads/etl/defs.yaml:16: reads[0]: no workload publishes 'nothing'. Datasets: measurements."]
    }


def test_a_broken_teams_contract_is_an_error_with_every_problem(tmp_path: Path) -> None:
    catalog = load(tmp_path, etl=document("etl", owners=["x"], network="all"), ml=document("ml", owners=["x", "y"]))
    with pytest.raises(ContractError) as refused:
        catalog.contract("ml")
    assert refused.value.team == "ml"
    assert str(refused.value) == (
        "workloads/ml/defs.yaml:14: owners[0]: found 'x'. Expected an e-mail address or 'team:<name>'.\n"
        "workloads/ml/defs.yaml:15: owners[1]: found 'y'. Expected an e-mail address or 'team:<name>'."
    )


def test_an_unknown_team_is_an_error_that_names_the_nearest_one(tmp_path: Path) -> None:
    catalog = load(tmp_path, etl=ETL, ml=ML)
    with pytest.raises(CommandError) as refused:
        catalog.contract("etll")
    assert str(refused.value) == f"no team 'etll' in {tmp_path / 'workloads'}. Teams: etl, ml. Did you mean 'etl'?"


def test_the_jobs_of_an_asset_are_its_owners_and_those_that_select_everything_come_first(tmp_path: Path) -> None:
    jobs = {"a_part": {"selection": "key:measurements"}, "whole": {}}
    catalog = load(tmp_path, etl=document("etl", steps=[step("measurements")], jobs=jobs))
    assert catalog.jobs_of("measurements") == ["whole", "a_part"]
    assert catalog.jobs_of("unknown") == []


@pytest.mark.parametrize(
    "workspace",
    [
        b"",
        b"\xff\xfe",
        b"load_from: [",
        b"load_from: 3",
        b"load_from: [3]",
        b"load_from: [{python_module: }]",
        b"load_from: [{python_module: {attribute: [etl]}}]",
        b"load_from: [{python_module: {attribute: unknown}}, {python_file: x.py}]",
    ],
)
def test_a_workspace_that_names_no_team_leaves_the_teams_in_the_order_of_their_names(
    tmp_path: Path, workspace: bytes
) -> None:
    (tmp_path / "workspace.yaml").write_bytes(workspace)
    catalog = load_catalog(write(tmp_path, ml=ML, etl=ETL), tmp_path / "workspace.yaml")
    assert catalog.teams == ["etl", "ml"]
    assert catalog.problems == {}


def test_a_platform_without_workloads_has_no_teams_and_no_problems(tmp_path: Path) -> None:
    catalog = load_catalog(tmp_path / "workloads", tmp_path / "workspace.yaml")
    assert (catalog.teams, catalog.problems, catalog.sound) == ([], {}, {})
