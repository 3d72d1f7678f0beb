"""Datasets: immutable versions, and a pointer that moves at once or not at all."""

import os
from pathlib import Path

import pytest

from orchestrator.execution.datasets import Dataset, PublishError, discard, version_of


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path / "datasets", "measurements")


def staged(dataset: Dataset, **files: str) -> Path:
    folder = dataset.stage("123")
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def publish(dataset: Dataset, **files: str) -> str:
    folder = staged(dataset, **files)
    version = version_of(folder)
    assert dataset.publish(folder, version) == dataset.path(version)
    return version


def test_a_dataset_that_was_never_published_has_no_current_version(dataset: Dataset) -> None:
    assert dataset.current() is None


def test_publishing_makes_the_staged_files_the_current_version(dataset: Dataset) -> None:
    version = publish(dataset, data="1", more__data="2")
    assert dataset.current() == version
    assert (dataset.path(version) / "data").read_text() == "1"
    assert (dataset.path(version) / "more" / "data").read_text() == "2"


def test_a_published_file_is_read_only(dataset: Dataset) -> None:
    version = publish(dataset, data="1", more__data="2")
    assert [(dataset.path(version) / name).stat().st_mode & 0o777 for name in ("data", "more/data")] == [0o444] * 2


def test_an_earlier_version_stays_and_can_be_published_again(dataset: Dataset) -> None:
    first = publish(dataset, data="1")
    second = publish(dataset, data="2")
    assert first != second
    assert dataset.current() == second
    assert (dataset.path(first) / "data").read_text() == "1"
    assert publish(dataset, data="1") == first
    assert dataset.current() == first


def test_files_that_changed_after_the_report_are_not_published(dataset: Dataset) -> None:
    first = publish(dataset, data="1")
    folder = staged(dataset, data="2")
    version = version_of(folder)
    (folder / "data").write_text("3")
    with pytest.raises(PublishError) as refused:
        dataset.publish(folder, version)
    assert str(refused.value) == "the files of dataset 'measurements' were changed after it was reported"
    assert dataset.current() == first
    assert not dataset.path(version).exists()


def test_files_that_are_gone_are_a_publish_error(dataset: Dataset) -> None:
    folder = staged(dataset, data="1")
    version = version_of(folder)
    discard(folder)
    assert not folder.exists()
    with pytest.raises(PublishError) as refused:
        dataset.publish(folder, version)
    assert str(refused.value) == "the folder for the new version was taken away or replaced"


def test_a_pointer_that_cannot_be_moved_is_a_publish_error_with_the_reason(dataset: Dataset) -> None:
    pointer = dataset.folder / "current"
    pointer.mkdir(parents=True)
    folder = staged(dataset, data="1")
    with pytest.raises(PublishError) as refused:
        dataset.publish(folder, version_of(folder))
    assert str(refused.value).startswith("dataset 'measurements' cannot be published: [Errno 21] Is a directory: ")


def test_a_version_is_the_same_for_the_same_names_and_contents(dataset: Dataset) -> None:
    same = [version_of(staged(dataset, b="2", a="1")), version_of(staged(dataset, a="1", b="2"))]
    assert same == ["011fe5147a0b8e0f"] * 2


def test_a_version_changes_with_a_name_a_content_and_a_place(dataset: Dataset) -> None:
    folders = [{"a": "1"}, {"b": "1"}, {"a": "2"}, {"a": "1", "b": ""}, {"d__a": "1"}, {"a": "", "b": "1"}]
    assert len({version_of(staged(dataset, **files)) for files in folders}) == len(folders)


def test_a_name_that_is_no_unicode_is_a_name_all_the_same(dataset: Dataset) -> None:
    folder = staged(dataset, data="1")
    plain = version_of(folder)
    with open(os.fsencode(folder) + b"/\xff", "wb"):  # noqa: PTH123
        pass
    assert version_of(folder) != plain
    assert dataset.publish(folder, version_of(folder)).is_dir()


def test_a_folder_without_files_is_no_version(dataset: Dataset) -> None:
    folder = dataset.stage("123")
    (folder / "empty").mkdir()
    with pytest.raises(PublishError) as refused:
        version_of(folder)
    assert str(refused.value) == "no files were written for the new version"


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "dangling link", "pipe"])
def test_what_is_no_plain_file_is_no_part_of_a_version(dataset: Dataset, tmp_path: Path, kind: str) -> None:
    folder = staged(dataset, data="1")
    odd = folder / "odd"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to({"link to a file": "/etc/passwd", "link to a folder": "/etc"}.get(kind, "/no/such"))
    with pytest.raises(PublishError) as refused:
        version_of(folder)
    assert str(refused.value) == "'odd' is no plain file; a version holds files only"


def test_every_staging_folder_is_its_own_and_carries_its_owner(dataset: Dataset) -> None:
    first, second = dataset.stage("123"), dataset.stage("123")
    assert first != second
    assert [folder.name.startswith("123-") for folder in (first, second)] == [True, True]


def test_a_file_with_another_name_outside_the_version_is_refused(tmp_path):
    staged = tmp_path / "staged"
    staged.mkdir()
    (tmp_path / "kept").write_text("rows")
    (staged / "rows.parquet").hardlink_to(tmp_path / "kept")
    with pytest.raises(PublishError) as refused:
        version_of(staged)
    assert str(refused.value) == (
        "'rows.parquet' has another name outside the version (a hard link); write a file of its own"
    )


def test_a_version_torn_by_a_crash_is_replaced_when_it_is_published_again(tmp_path):
    dataset = Dataset(tmp_path, "things")
    staged = dataset.stage("1@1")
    (staged / "rows.parquet").write_text("all of it")
    version = version_of(staged)
    torn = dataset.path(version)
    torn.mkdir()
    (torn / "rows.parquet").write_text("half")
    assert (dataset.publish(staged, version) / "rows.parquet").read_text() == "all of it"
    assert dataset.current() == version


def test_a_link_in_the_place_of_the_folder_is_not_published(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "rows").write_text("private")
    (tmp_path / "staged").symlink_to(elsewhere)
    with pytest.raises(PublishError, match=r"^the folder for the new version was taken away or replaced$"):
        version_of(tmp_path / "staged")


def test_folders_nested_too_deep_for_a_reader_are_a_publish_error(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 60)).mkdir(parents=True)
    with pytest.raises(PublishError, match=r"^its folders are nested more than 50 deep$"):
        version_of(tmp_path)
