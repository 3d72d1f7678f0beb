"""A site without a network: what is saved is what is loaded, and images are built from it alone."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import needs_engine
from tests.images.tree import Tree, copied, docker

pytestmark = pytest.mark.engine

SCRIPT = "deployment/offline/offline.sh"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    needs_engine()
    with copied(tmp_path_factory.mktemp("offline") / "a repository", "test-offline") as made:
        yield made


@pytest.fixture(scope="module")
def archive(tree: Tree) -> Path:
    """Save a small set of images."""
    path = tree.root.parent / "a bundle.tar"
    done = tree.script(SCRIPT, "bundle", str(path), "showcase-shell", OTHER_IMAGES="")
    assert f"bulkhead bundle: 3 images in {path}" in done.stdout
    return path


def test_images_are_loaded_as_they_were_saved(tree: Tree, archive: Path) -> None:
    before = {image: tree.identity(image) for image in ("showcase-shell", "wheels")}
    tree.remove_images()
    assert docker("image", "inspect", tree.name("wheels"), check=False).returncode != 0
    done = tree.script(SCRIPT, "load", str(archive))
    base = tree.script("workload_images/build.sh", "base").stdout.strip()
    assert done.stdout.splitlines() == [
        f"bulkhead load: {name}" for name in (tree.name("showcase-shell"), tree.name("wheels"), base)
    ]
    assert {image: tree.identity(image) for image in before} == before


def test_a_workload_is_built_from_the_wheels_without_a_network(tree: Tree, archive: Path) -> None:
    tree.script(SCRIPT, "load", str(archive))
    done = tree.build("ml", BUILD_NETWORK="none", WHEELS=tree.name("wheels"), BASE_IMAGE=tree.new_base())
    assert f"index none, wheels of {tree.name('wheels')}\n" in done.stdout
    assert tree.run("ml", "python", "-c", "import ml.model, sklearn; print(sklearn.__version__)") == "1.8.0\n"
    assert tree.run("ml", "sh", "-c", "ls -d /wheels 2>/dev/null; cat /etc/base-of-a-test") == f"{tree.root}\n"


def test_what_was_loaded_differently_is_said(tree: Tree, archive: Path, tmp_path: Path) -> None:
    """The list in the archive names layers that the image does not have."""
    changed = tmp_path / "bulkhead.tar"
    image = tree.name("showcase-shell")
    docker("save", "--output", str(changed), image)
    (tmp_path / "bulkhead-images.txt").write_text(f"{image} sha256:0\n", encoding="utf-8")
    with tarfile.open(changed, "a") as file:
        file.add(tmp_path / "bulkhead-images.txt", "bulkhead-images.txt")
    done = tree.script(SCRIPT, "load", str(changed), check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"bulkhead load: {image} is not here as it was saved. Load {changed} again; if that does not help, save and carry "
        "it again\n"
    )


def test_a_file_that_is_no_bundle_is_refused(tree: Tree, tmp_path: Path) -> None:
    path = tmp_path / "a file"
    done = tree.script(SCRIPT, "load", str(path), check=False)
    assert (done.returncode, done.stderr) == (
        1,
        f"bulkhead load: {path} cannot be read. Name the archive that bundle wrote: "
        "make -f Makefile_dev.txt load FILE=bulkhead.tar\n",
    )
    path.write_text("nothing", encoding="utf-8")
    done = tree.script(SCRIPT, "load", str(path), check=False)
    assert (done.returncode, done.stderr) == (
        1,
        f"bulkhead load: {path} holds no bulkhead-images.txt: bundle did not write it, or not to its end. "
        "Save and carry it again\n",
    )
