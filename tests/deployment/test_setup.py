"""What is made before the platform in containers starts for the first time, and what is left alone after that."""

import runpy
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture
def setup() -> Any:
    return runpy.run_path(str(REPOSITORY / "deployment" / "docker" / "setup.py"))


def test_the_password_is_made_once_and_stands_in_the_file_by_which_it_is_found(setup: Any, tmp_path: Path) -> None:
    setup["credentials"](tmp_path)
    password = (tmp_path / "password").read_text()
    assert len(password) >= 32
    assert (tmp_path / "pgpass").read_text() == f"*:*:*:bulkhead:{password}\n"
    setup["credentials"](tmp_path)
    assert (tmp_path / "password").read_text() == password
    assert sorted(path.name for path in tmp_path.iterdir()) == ["password", "pgpass"]


def test_two_platforms_have_two_passwords(setup: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        setup["credentials"](tmp_path / name)
    assert (tmp_path / "one" / "password").read_text() != (tmp_path / "two" / "password").read_text()


def test_the_file_by_which_it_is_found_is_its_users_alone_as_libpq_demands(setup: Any, tmp_path: Path) -> None:
    setup["credentials"](tmp_path)
    assert stat.S_IMODE((tmp_path / "pgpass").stat().st_mode) == 0o400


def test_the_folders_of_the_state_are_made_and_what_is_in_them_stays(setup: Any, tmp_path: Path) -> None:
    instance = tmp_path / "new.yaml"
    instance.write_text("first")
    home = tmp_path / "home"
    home.mkdir()
    setup["home"](home, instance)
    (home / "stores" / "kept").touch()
    instance.write_text("second")
    setup["home"](home, instance)
    assert (home / "dagster" / "dagster.yaml").read_text() == "second"
    assert sorted(str(path.relative_to(home)) for path in home.rglob("*")) == [
        "dagster", "dagster/dagster.yaml", "datasets", "steps", "stores", "stores/kept",
    ]  # fmt: skip
