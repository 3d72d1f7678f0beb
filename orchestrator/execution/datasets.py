"""Datasets: immutable versions under `datasets/<name>/<version>/`, and the pointer that says which one is current.

A workload writes into a staging folder that only its own step is given. The platform computes the version from the
files, and moves the pointer after a green verdict. The pointer is a text file, `datasets/<name>/current`, that holds
the version; it is replaced atomically, so a reader sees the old version or the new one.
"""

import hashlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import BulkheadError
from orchestrator.execution.removal import remove_tree

POINTER = "current"
STAGING = ".staging"
VERSION_LENGTH = 16
MAX_DEPTH = 50


class PublishError(BulkheadError):
    """A new version cannot be published; says why. The pointer was not moved."""


@dataclass(frozen=True)
class Dataset:
    """One dataset by name, in the platform's folder of datasets."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.root / self.name

    def current(self) -> str | None:
        """Return the current version, or None if nothing was ever published."""
        try:
            return (self.folder / POINTER).read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None

    def path(self, version: str) -> Path:
        return self.folder / version

    def stage(self, owner: str) -> Path:
        """Make and return an empty folder for a new version; `owner` is the process it lives and dies with."""
        folder = self.folder / STAGING / f"{owner}-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        return folder

    def publish(self, staged: Path, version: str) -> Path:
        """Make a staged folder the current version and return where it is.

        A version that is already there with the same content is kept; one torn by a crash is replaced.

        Raises:
            PublishError: the files are not the ones the version was computed from, or cannot be moved.
        """
        target = self.path(version)
        try:
            if version_of(staged) != version:
                raise PublishError(f"the files of dataset {self.name!r} were changed after it was reported")
            _seal(staged)
            if target.exists() and not _holds(target, version):
                target.rename(self.folder / STAGING / f"torn-{uuid.uuid4().hex}")
            if not target.exists():
                _rename_into(staged, target)
            self._point_to(version)
        except OSError as error:
            raise PublishError(f"dataset {self.name!r} cannot be published: {error}") from error
        return target

    def _point_to(self, version: str) -> None:
        pointer = self.folder / f".{POINTER}.{uuid.uuid4().hex}"
        with pointer.open("w", encoding="utf-8") as file:
            file.write(version + "\n")
            file.flush()
            os.fsync(file.fileno())
        pointer.replace(self.folder / POINTER)


def version_of(folder: Path) -> str:
    """Return the version of a folder: the first 16 hex digits of a SHA-256 over names and contents.

    Raises:
        PublishError: there are no files, or something in it is neither a file nor a folder.
    """
    digest = hashlib.sha256()
    count = 0
    for path in sorted(_files(folder), key=lambda path: path.relative_to(folder).as_posix()):
        name = os.fsencode(path.relative_to(folder).as_posix())
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256")
        digest.update(len(name).to_bytes(8, "big") + name + content.digest())
        count += 1
    if not count:
        raise PublishError("no files were written for the new version")
    return digest.hexdigest()[:VERSION_LENGTH]


def discard(staged: Path) -> None:
    """Remove a staged folder that was not published."""
    remove_tree(staged)


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_symlink() or not folder.is_dir():
        raise PublishError("the folder for the new version was taken away or replaced")
    for path in _below(folder):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise PublishError(f"{path.relative_to(folder).as_posix()!r} is no plain file; a version holds files only")
        if path.is_file():
            if path.stat().st_nlink > 1:
                name = path.relative_to(folder).as_posix()
                raise PublishError(
                    f"{name!r} has another name outside the version (a hard link); write a file of its own"
                )
            yield path


def _below(folder: Path) -> Iterator[Path]:
    """Yield everything below a folder, down to a depth that any reader can follow."""
    unseen = [(folder, 0)]
    while unseen:
        parent, depth = unseen.pop()
        if depth > MAX_DEPTH:
            raise PublishError(f"its folders are nested more than {MAX_DEPTH} deep")
        for path in parent.iterdir():
            yield path
            if path.is_dir() and not path.is_symlink():
                unseen.append((path, depth + 1))


def _rename_into(staged: Path, target: Path) -> None:
    try:
        staged.rename(target)
    except OSError:
        # Another run published the very same content a moment earlier.
        if not target.is_dir():
            raise


def _holds(folder: Path, version: str) -> bool:
    try:
        return version_of(folder) == version
    except (PublishError, OSError):
        return False


def _seal(folder: Path) -> None:
    """Make files read-only, and make sure that they are on the disk before anything points to them."""
    for path in list(_below(folder)):
        path.chmod(0o444 if path.is_file() else 0o755)
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
