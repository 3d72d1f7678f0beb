"""The rules that no schema can state: within a contract, and between teams."""

from pathlib import Path
from typing import Any

import pytest

from tests.contract.contracts import document, load, said, step

ETL = document(
    "etl",
    stores={"etl": "rw"},
    publishes=["measurements"],
    jobs={"etl_job": {}},
    steps=[step("raw_measurements"), step("measurements", ["raw_measurements"])],
)


def own(tmp_path: Path, **attributes: Any) -> list[str]:
    """Return what is said of team ml's contract, alone on the platform; without the file's name."""
    (texts,) = said(load(tmp_path, ml=document("ml", **attributes))).values()
    return [text.split(":", 2)[2].strip() for text in texts]


def beside_etl(tmp_path: Path, **attributes: Any) -> list[str]:
    """Return what is said of team ml's contract beside a sound team etl; without the file's name."""
    found = said(load(tmp_path, "etl", "ml", etl=ETL, ml=document("ml", **attributes)))
    assert list(found) == ["ml"]
    return [text.split(":", 2)[2].strip() for text in found["ml"]]


def test_a_dependence_on_an_asset_that_nobody_makes_names_the_nearest_one(tmp_path: Path) -> None:
    texts = beside_etl(tmp_path, steps=[step("model", ["raw_measurement"])])
    assert texts == [
        "steps[0].assets[0].deps[0]: no workload makes 'raw_measurement'. Did you mean 'raw_measurements'?"
    ]


def test_a_dependence_on_a_private_asset_of_another_team_names_what_that_team_publishes(tmp_path: Path) -> None:
    assert beside_etl(tmp_path, steps=[step("model", ["raw_measurements"])]) == [
        "steps[0].assets[0].deps[0]: asset 'raw_measurements' is private to team 'etl'. Depend on what it publishes: "
        "measurements."
    ]


def test_a_dependence_on_a_published_dataset_is_sound(tmp_path: Path) -> None:
    ml = document("ml", reads=["measurements"], steps=[step("model", ["measurements"])])
    assert said(load(tmp_path, etl=ETL, ml=ml)) == {}


@pytest.mark.parametrize(
    ("reads", "text"),
    [
        ("measurement", "no workload publishes 'measurement'. Datasets: measurements. Did you mean 'measurements'?"),
        ("weather", "no workload publishes 'weather'. Datasets: measurements."),
        ("raw_measurements", "asset 'raw_measurements' of team 'etl' is not published, so no other team can read it. "
         "Datasets: measurements."),
    ],
)  # fmt: skip
def test_a_dataset_that_nobody_publishes_cannot_be_read(tmp_path: Path, reads: str, text: str) -> None:
    assert beside_etl(tmp_path, reads=[reads]) == [f"reads[0]: {text}"]


@pytest.mark.parametrize(
    ("attributes", "texts"),
    [
        ({"steps": [step("measurements")]},
         ["steps[0].assets[0].key: asset 'measurements' is already made by team 'etl'. Take another key."]),
        ({"steps": [step("measurements")], "publishes": ["measurements"]},
         ["steps[0].assets[0].key: asset 'measurements' is already made by team 'etl'. Take another key.",
          "publishes[0]: dataset 'measurements' is already published by team 'etl'. A dataset has one publisher."]),
        ({"stores": {"etl": "ro"}},
         ["stores.etl: store 'etl' is private to team 'etl'. Read its datasets, or take another name."]),
        ({"jobs": {"etl_job": {}}},
         ["jobs.etl_job: job 'etl_job' is already declared by team 'etl'. Take another name."]),
    ],
)  # fmt: skip
def test_a_name_that_an_earlier_team_has_cannot_be_claimed(
    tmp_path: Path, attributes: dict[str, Any], texts: list[str]
) -> None:
    assert beside_etl(tmp_path, **attributes) == texts


CHECKED = {"checks": [{"name": "good", "asset": "measurements"}]}


def test_a_check_on_another_teams_asset_is_refused(tmp_path: Path) -> None:
    assert beside_etl(tmp_path, steps=[step("my_measurements", **CHECKED)]) == [
        "steps[0].checks[0].asset: check 'good' is on 'measurements', which team 'ml' does not make. A team checks its "
        "own assets only. Assets of this step: my_measurements. Did you mean 'my_measurements'?"
    ]


@pytest.mark.parametrize(
    ("attributes", "texts"),
    [
        ({"team": "mll"}, ["team: found 'mll'. Expected 'ml', the name of its folder."]),
        ({"steps": [step("a", **CHECKED), step("measurements")]},
         ["steps[0].checks[0].asset: asset 'measurements' is made by step 'measurements'. "
          "Declare check 'good' there."]),
        ({"steps": [step("measurements", checks=CHECKED["checks"] * 2)]},
         ["steps[0].checks[1].name: check 'good' on 'measurements' is declared twice."]),
        ({"steps": [step("m", checks=[{"name": "good", "asset": "m", "blocking": "{{ x }}"}])]},
         ["steps[0].checks[0].blocking: found '{{ x }}'. Expected true or false."]),
        ({"steps": [step("a"), {**step("b"), "name": "a"}]},
         ["steps[1].name: step 'a' is declared twice. Step names are unique."]),
        ({"steps": [step("a"), {**step("a"), "name": "b"}]},
         ["steps[1].assets[0].key: asset 'a' is already made by step 'a'."]),
        ({"steps": [{**step("a"), "assets": [{"key": "{{ env.KEY }}"}]}]},
         ["steps[0].assets[0].key: found '{{ env.KEY }}'. Expected a literal asset key."]),
        ({"steps": [{**step("a"), "assets": [{"key": "a", "deps": "{{ x }}"}]}]},
         ["steps[0].assets[0].deps: expected a list of asset keys."]),
        ({"publishes": ["mldata"]},
         ["publishes[0]: no asset of this team is called 'mldata'. A dataset carries its asset's key. "
          "Did you mean 'ml_data'?"]),
        ({"steps": [{**step("a/b"), "name": "ab"}], "publishes": ["a/b"]},
         ["publishes[0]: found 'a/b'. Expected letters, digits and underscores."]),
        ({"secrets": ["ML_TOKEN"], "secret_variables": ["ML_TOKN"]},
         ["secret_variables[0]: 'ML_TOKN' is not among the secrets of this contract: ML_TOKEN. "
          "Did you mean 'ML_TOKEN'?"]),
        ({"secret_variables": ["ML_TOKEN"]},
         ["secret_variables[0]: 'ML_TOKEN' is not among the secrets of this contract: none."]),
        ({"secrets": ["ML_TOKEN", "ML_KEY"], "env": ["ML_ROWS", "ML_KEY"]},
         ["env[1]: 'ML_KEY' is a secret. Name it under `secret_variables` instead."]),
        ({"secrets": ["ML_TOKEN"], "secret_variables": ["ML_TOKEN"], "env": ["ML_TOKEN"]},
         ["env[0]: 'ML_TOKEN' is a secret. Name it under `secret_variables` instead."]),
        ({"owners": ["team:ml", "ml@example.org", "somebody"]},
         ["owners[2]: found 'somebody'. Expected an e-mail address or 'team:<name>'."]),
        ({"jobs": {"j": {"selection": "key:((("}}},
         ["jobs.j.selection: 'key:(((' is no asset selection: Invalid selection string: key:((("]),
        ({"jobs": {"train": {}}, "schedules": {"nightly": {"job": "trian", "cron": "0 2 * * *"}}},
         ["schedules.nightly.job: no job 'trian' in this contract. Jobs: train. Did you mean 'train'?"]),
        ({"schedules": {"nightly": {"job": "train", "cron": "0 2 * * *"}}},
         ["schedules.nightly.job: no job 'train' in this contract. Jobs: none."]),
        ({"jobs": {"train": {}}, "schedules": {"train": {"job": "train", "cron": "0 2 * * *"}}},
         ["schedules.train: a job is called 'train' too. Take another name."]),
        ({"jobs": {"train": {}}, "schedules": {"nightly": {"job": "train", "cron": "61 * * * *"}}},
         ["schedules.nightly.cron: '61 * * * *' is not a cron schedule. Expected five fields such as '0 2 * * *'."]),
        ({"jobs": {"train": {}},
          "schedules": {"nightly": {"job": "train", "cron": "0 2 * * *", "timezone": "Europe/Berln"}}},
         ["schedules.nightly.timezone: 'Europe/Berln' is not a time zone. Did you mean 'Europe/Berlin'?"]),
    ],
)  # fmt: skip
def test_a_contract_that_contradicts_itself_is_told_what_was_expected(
    tmp_path: Path, attributes: dict[str, Any], texts: list[str]
) -> None:
    assert own(tmp_path, **attributes) == texts


LIMITS = {"cpu": 1.5, "memory": "1Gi", "cpu_time": "90s", "pids": 40, "open_files": 64, "output": "16Mi"}


def test_a_contract_may_limit_whatever_a_step_uses(tmp_path: Path) -> None:
    limited = {**step("train", start_timeout="5s", results="file"), "resources": {"cpu_time": "1m"}}
    ml = document("ml", secrets=["A", "B"], secret_variables=["B"], resources=LIMITS, steps=[step("load"), limited])
    catalog = load(tmp_path, ml=ml)
    assert said(catalog) == {}
    contract = catalog.sound["ml"]
    assert (contract.secrets, contract.secret_variables) == (["A", "B"], ["B"])
    load_step, train = contract.steps
    assert (load_step.start_timeout, load_step.results, train.start_timeout, train.results) == (
        None,
        "pipes",
        5.0,
        "file",
    )
    team = {"cpu": 1.5, "memory": 1 << 30, "cpu_time": 90.0, "pids": 40, "open_files": 64, "output": 16 << 20}
    assert contract.resources_of(load_step).model_dump() == team
    assert contract.resources_of(train).model_dump() == {**team, "cpu_time": 60.0}


@pytest.mark.parametrize(
    ("attributes", "texts"),
    [
        ({"resources": {"cpu_time": 90}},
         ["resources.cpu_time: a duration needs a unit: write '90s', '90m' or '90h'."]),
        ({"resources": {"open_files": 15}},
         ["resources.open_files: found 15. Expected greater than or equal to 16."]),
        ({"resources": {"output": "16"}},
         ["resources.output: '16' is 16 bytes, less than any process needs. Expected 256Mi, 1Gi or the like."]),
        ({"resources": {"cputime": "90s"}},
         ["resources.cputime: unknown key 'cputime'. Expected one of: cpu, cpu_time, memory, open_files, output, pids. "
          "Did you mean 'cpu_time'?"]),
        ({"steps": [step("a", start_timeout="0s")]},
         ["steps[0].start_timeout: '0s' is not above zero. Expected a duration such as 30s or 5m."]),
        ({"steps": [step("a", results="json")]},
         ["steps[0].results: found 'json'. Expected 'pipes' or 'file'."]),
        ({"secrets": ["LD_PRELOAD"]},
         ["secrets[0]: 'LD_PRELOAD' is set by the platform and cannot be passed on. Take another name."]),
        ({"secret_variables": ["a b"]},
         ["secret_variables[0]: 'a b' is not the name of an environment variable. Expected a name such as ETL_ROWS."]),
    ],
)  # fmt: skip
def test_a_limit_a_result_or_a_secret_that_cannot_be_meant_is_told_what_was_expected(
    tmp_path: Path, attributes: dict[str, Any], texts: list[str]
) -> None:
    assert own(tmp_path, **attributes) == texts
