"""The platform's environment, read once."""

import os
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from orchestrator.errors import SettingsError
from orchestrator.settings import read_settings

REPOSITORY = Path(__file__).resolve().parent.parent


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = read_settings({})
    assert (settings.project, settings.home) == (REPOSITORY, REPOSITORY / ".bulkhead")
    assert (settings.backend, settings.stop_grace) == ("subprocess", 3.0)
    assert (settings.sandbox, settings.secrets) == ("auto", None)
    assert settings.max_concurrent == max(4, os.cpu_count() or 1)
    assert (settings.workloads, settings.workspace) == (
        REPOSITORY / "workloads",
        REPOSITORY / "deployment" / "workspace.yaml",
    )


def test_every_setting_is_taken_from_its_variable(tmp_path: Path) -> None:
    home = tmp_path / "a home"
    variables = {
        "BULKHEAD_HOME": str(home),
        "BULKHEAD_PROJECT": str(tmp_path),
        "BULKHEAD_BACKEND": "subprocess",
        "BULKHEAD_SANDBOX": "required",
        "BULKHEAD_SECRETS": str(tmp_path / "secrets"),
        "BULKHEAD_MAX_CONCURRENT": "7",
        "BULKHEAD_STOP_GRACE": "0.5",
    }
    settings = read_settings(variables)
    assert (settings.home, settings.project) == (home, tmp_path)
    assert (settings.backend, settings.sandbox, settings.secrets) == ("subprocess", "required", tmp_path / "secrets")
    assert (settings.max_concurrent, settings.stop_grace) == (7, 0.5)
    assert [settings.dagster_home, settings.datasets, settings.stores, settings.steps] == [
        home / name for name in ("dagster", "datasets", "stores", "steps")
    ]
    assert settings.environment == variables


def test_the_home_of_another_project_is_inside_it(tmp_path: Path) -> None:
    assert read_settings({"BULKHEAD_PROJECT": str(tmp_path)}).home == tmp_path / ".bulkhead"


def test_a_relative_home_and_a_tilde_become_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert read_settings({"BULKHEAD_HOME": "state"}).home == tmp_path / "state"
    assert read_settings({"BULKHEAD_HOME": "~/state"}).home == tmp_path / "me" / "state"
    assert read_settings({"BULKHEAD_SECRETS": "secrets"}).secrets == tmp_path / "secrets"
    assert read_settings({"BULKHEAD_SECRETS": "~/secrets"}).secrets == tmp_path / "me" / "secrets"


@pytest.mark.parametrize("mode", ["auto", "required", "off"])
def test_a_sandbox_is_used_where_it_works_or_always_or_never(mode: str) -> None:
    assert read_settings({"BULKHEAD_SANDBOX": mode}).sandbox == mode


@pytest.mark.parametrize("name", ["BULKHEAD_SANDBOX", "BULKHEAD_SECRETS", "BULKHEAD_BACKEND", "BULKHEAD_HOME"])
def test_a_variable_that_is_empty_is_as_good_as_not_set(name: str) -> None:
    assert replace(read_settings({name: ""}), environment={}) == replace(read_settings({}), environment={})


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("BULKHEAD_BACKEND", "subproces", "expected one of docker, subprocess. Did you mean 'subprocess'?"),
        ("BULKHEAD_BACKEND", "podman", "expected one of docker, subprocess."),
        ("BULKHEAD_SANDBOX", "require", "expected one of auto, off, required. Did you mean 'required'?"),
        ("BULKHEAD_SANDBOX", "1", "expected one of auto, off, required."),
        ("BULKHEAD_MAX_CONCURRENT", "0", "expected a whole number, 1 or more."),
        ("BULKHEAD_MAX_CONCURRENT", "-1", "expected a whole number, 1 or more."),
        ("BULKHEAD_MAX_CONCURRENT", "many", "expected a whole number, 1 or more."),
        ("BULKHEAD_STOP_GRACE", "3s", "expected seconds, from 0 to 3600."),
        ("BULKHEAD_STOP_GRACE", "-1", "expected seconds, from 0 to 3600."),
        ("BULKHEAD_STOP_GRACE", "nan", "expected seconds, from 0 to 3600."),
        ("BULKHEAD_STOP_GRACE", "inf", "expected seconds, from 0 to 3600."),
    ],
)
def test_a_value_that_cannot_be_used_names_the_variable_and_what_was_expected(name: str, value: str, text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings({name: value})
    assert str(refused.value) == f"{name}={value!r}: {text}"


def test_the_environment_is_in_no_repr_and_nothing_can_be_changed() -> None:
    settings = read_settings({"DATABASE_PASSWORD": "hunter2"})
    assert settings.environment["DATABASE_PASSWORD"] == "hunter2"
    assert "hunter2" not in repr(settings)
    with pytest.raises(FrozenInstanceError):
        settings.backend = "other"  # type: ignore[misc]


def test_the_environment_is_a_copy_that_later_changes_do_not_reach() -> None:
    variables = {"ETL_ROWS": "1"}
    settings = read_settings(variables)
    variables["ETL_ROWS"] = "2"
    assert settings.environment["ETL_ROWS"] == "1"
