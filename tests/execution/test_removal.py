"""Folders that a workload could write to are removed, whatever it made of them."""

import os
from pathlib import Path

from orchestrator.execution.removal import remove_tree


def test_a_folder_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "gone" / "deeper").mkdir(parents=True)
    (tmp_path / "gone" / "deeper" / "file").touch()
    remove_tree(tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []


def test_folders_too_deep_for_python_go(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        os.mkdir("gone", dir_fd=here)
        below = os.open("gone", os.O_RDONLY, dir_fd=here)
        for _ in range(3000):
            os.mkdir("d", dir_fd=below)
            deeper = os.open("d", os.O_RDONLY, dir_fd=below)
            os.close(below)
            below = deeper
        os.close(below)
    finally:
        os.close(here)
    remove_tree(tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []


def test_folders_that_nobody_may_enter_go(tmp_path: Path) -> None:
    closed = tmp_path / "gone" / "closed"
    closed.mkdir(parents=True)
    (closed / "file").touch()
    closed.chmod(0)
    (tmp_path / "gone").chmod(0o500)
    remove_tree(tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_its_place_goes_and_what_it_points_to_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o750)
    (kept / "file").touch()
    (tmp_path / "gone").symlink_to(kept)
    remove_tree(tmp_path / "gone")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert ([path.name for path in kept.iterdir()], kept.stat().st_mode & 0o777) == (["file"], 0o750)


def test_what_is_not_there_needs_no_removal(tmp_path: Path) -> None:
    remove_tree(tmp_path / "gone")
