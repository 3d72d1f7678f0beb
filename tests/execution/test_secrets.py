"""Secrets: where they are found, and who can read them."""

import os
from pathlib import Path

import pytest

from orchestrator.backends.launch import LaunchError
from orchestrator.execution.secrets import find_secrets, write_secrets
from orchestrator.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of secrets."""
    made = tmp_path / "secrets"
    made.mkdir()
    return made


def settings(folder: Path | None, **environment: str) -> Settings:
    return Settings(home=Path("/home"), project=Path("/project"), secrets=folder, environment=environment)


def test_a_secret_is_found_in_the_platforms_environment(folder: Path) -> None:
    assert find_secrets(settings(folder, TOKEN=" hunter2\n"), ["TOKEN"]) == {"TOKEN": " hunter2\n"}


def test_a_secret_is_found_in_the_file_that_its_variable_names(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a token").write_text("hunter2\n")
    assert find_secrets(settings(folder, TOKEN_FILE=str(tmp_path / "a token")), ["TOKEN"]) == {"TOKEN": "hunter2"}


def test_a_secret_is_found_in_the_folder_of_secrets_behind_links_too(folder: Path, tmp_path: Path) -> None:
    (folder / "TOKEN").write_text("hunter2")
    (tmp_path / "data").write_text("hunter3")
    (folder / "OTHER").symlink_to(tmp_path / "data")
    assert find_secrets(settings(folder), ["TOKEN", "OTHER"]) == {"TOKEN": "hunter2", "OTHER": "hunter3"}


def test_the_environment_comes_first_then_the_named_file_then_the_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "TOKEN").write_text("from the folder")
    (tmp_path / "named").write_text("from the named file")
    named = str(tmp_path / "named")
    assert find_secrets(settings(folder, TOKEN="given", TOKEN_FILE=named), ["TOKEN"]) == {"TOKEN": "given"}
    assert find_secrets(settings(folder, TOKEN="", TOKEN_FILE=named), ["TOKEN"]) == {"TOKEN": "from the named file"}
    assert find_secrets(settings(folder, TOKEN="", TOKEN_FILE=""), ["TOKEN"]) == {"TOKEN": "from the folder"}


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"hunter2\n\n", "hunter2\n"),
        (b" hunter2 ", " hunter2 "),
        (b"one\r\ntwo\rthree\n", "one\r\ntwo\rthree"),
        ("söhne".encode(), "söhne"),
        (b"hunter\xff2", "hunter\udcff2"),
    ],
)
def test_a_value_read_from_a_file_loses_one_newline_at_its_end_and_nothing_else(
    folder: Path, content: bytes, value: str
) -> None:
    (folder / "TOKEN").write_bytes(content)
    assert find_secrets(settings(folder), ["TOKEN"]) == {"TOKEN": value}


def test_no_secrets_asked_for_are_none(folder: Path) -> None:
    assert find_secrets(settings(folder, TOKEN="hunter2"), []) == {}


def test_a_secret_that_is_nowhere_is_told_with_every_place_it_was_sought(folder: Path) -> None:
    with pytest.raises(LaunchError) as refused:
        find_secrets(settings(folder, OTHER="hunter2"), ["TOKEN"])
    assert str(refused.value) == (
        "secret TOKEN is not set (looked in the platform's environment, in the file that TOKEN_FILE names, "
        f"in {folder})."
    )
    assert refused.value.infrastructure is False


def test_every_missing_secret_is_named_and_no_value_of_another(folder: Path) -> None:
    with pytest.raises(LaunchError) as refused:
        find_secrets(settings(None, TOKEN="hunter2"), ["A", "TOKEN", "B"])
    assert str(refused.value) == (
        "secret A, B is not set (looked in the platform's environment, in the file that A_FILE names, "
        "in the folder BULKHEAD_SECRETS (not set))."
    )


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_secret_is_not_set(folder: Path, content: str) -> None:
    (folder / "TOKEN").write_text(content)
    with pytest.raises(LaunchError) as refused:
        find_secrets(settings(folder), ["TOKEN"])
    assert str(refused.value).startswith("secret TOKEN is not set (looked in ")


def test_a_secret_that_cannot_be_read_is_told_with_the_systems_reason(folder: Path) -> None:
    (folder / "TOKEN").mkdir()
    with pytest.raises(LaunchError) as refused:
        find_secrets(settings(folder), ["TOKEN"])
    assert str(refused.value) == f"secret TOKEN cannot be read: [Errno 21] Is a directory: '{folder / 'TOKEN'}'"


def test_secrets_are_written_to_a_file_each_that_its_owner_alone_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    before = os.umask(0)
    try:
        variables = write_secrets({"TOKEN": "hunter2", "KEY": "one\r\ntwo\n"}, folder)
    finally:
        os.umask(before)
    assert variables == {"TOKEN_FILE": str(folder / "TOKEN"), "KEY_FILE": str(folder / "KEY")}
    assert [(folder / name).read_bytes() for name in ("TOKEN", "KEY")] == [b"hunter2", b"one\r\ntwo\n"]
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "TOKEN", folder / "KEY")] == [0o700, 0o400, 0o400]


def test_bytes_that_are_no_unicode_come_out_as_they_went_in(folder: Path, tmp_path: Path) -> None:
    (folder / "KEY").write_bytes(b"hunter\xff2")
    write_secrets(find_secrets(settings(folder), ["KEY"]), tmp_path / "own")
    assert (tmp_path / "own" / "KEY").read_bytes() == b"hunter\xff2"


def test_secrets_are_never_written_where_something_is_already(tmp_path: Path) -> None:
    (tmp_path / "own").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_secrets({"TOKEN": "hunter2"}, tmp_path / "own")
    assert not (tmp_path / "elsewhere").exists()
