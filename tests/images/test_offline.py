"""A site without a network: what is saved is what is loaded, and images are built there. By the README's commands."""

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import needs_engine
from tests.images.package_index import served
from tests.images.tree import Tree, copied, docker, run

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    needs_engine()
    with copied(tmp_path_factory.mktemp("offline") / "a repository", "test-offline") as made:
        yield made


@pytest.fixture(scope="module")
def archive(tree: Tree) -> Path:
    """Save a small set of images."""
    path = tree.root.parent / "a bundle.tar"
    done = make(tree, "bundle", f"FILE={path}", "IMAGE=showcase-shell", "OTHER_IMAGES=")
    assert f"bulkhead bundle: 3 images in {path}" in done.stdout
    return path


@pytest.fixture
def site(tree: Tree, archive: Path, tmp_path: Path) -> Tree:
    """The repository as it was carried, at a site that has loaded the images."""
    tree.git("bundle", "create", str(tmp_path / "bulkhead.git"), "HEAD")
    run(["git", "clone", "--quiet", "bulkhead.git", "bulkhead"], tmp_path)
    carried = replace(tree, root=tmp_path / "bulkhead")
    shutil.copytree(tree.root / ".venv", carried.root / ".venv")
    make(carried, "load", f"FILE={archive}")
    return carried


def make(tree: Tree, *arguments: str, check: bool = True, **env: str) -> "subprocess.CompletedProcess[str]":
    return run(["make", "-f", "Makefile_dev.txt", *arguments], tree.root, check=check, TAG=tree.tag, **env)


def test_images_are_loaded_as_they_were_saved(tree: Tree, archive: Path) -> None:
    before = {image: tree.identity(image) for image in ("showcase-shell", "wheels")}
    tree.remove_images()
    assert docker("image", "inspect", tree.name("wheels"), check=False).returncode != 0
    done = make(tree, "load", f"FILE={archive}")
    base = tree.script("workload_images/build.sh", "base").stdout.strip()
    loaded = (tree.name("showcase-shell"), tree.name("wheels"), base)
    assert done.stdout.splitlines() == [f"bulkhead load: {name}" for name in loaded]
    assert {image: tree.identity(image) for image in before} == before


def test_a_workload_is_built_from_the_wheels_and_no_index_is_asked(site: Tree) -> None:
    wheels = site.name("wheels")
    own = [f"WHEELS={wheels}", f"BASE_IMAGE={site.new_base()}", "PACKAGE_INDEX=https://index.invalid/simple"]
    done = make(site, "build", "IMAGE=showcase", *own)
    assert f", index none, wheels of {wheels}\n" in done.stdout
    assert '"closed"' in site.run("showcase", "python", "-m", "showcase.succeeds")
    assert site.run("showcase", "sh", "-c", "ls -d /wheels 2>/dev/null; cat /etc/base-of-a-test") == f"{site.root}\n"


def test_the_wheels_are_all_that_a_build_needs(site: Tree) -> None:
    """A build that has no network at all, of the workload with the most packages."""
    build(site, "ml", "--network", "none", "--build-arg", f"WHEELS={site.name('wheels')}")
    assert site.run("ml", "python", "-c", "import ml.model, sklearn; print(sklearn.__version__)") == "1.8.0\n"


def test_a_workload_is_built_from_the_index_of_the_site_under_its_own_ca(site: Tree, tmp_path: Path) -> None:
    container = docker("create", site.name("wheels")).stdout.strip()
    docker("cp", f"{container}:/", str(tmp_path / "wheels"))
    docker("rm", container)
    (tmp_path / "index").mkdir()
    with served(tmp_path / "wheels", tmp_path / "index") as index:
        secrets = ["--secret", f"id=ca,src={index.certificate}", "--secret", "id=index,env=PACKAGE_INDEX"]
        build(site, "showcase", "--network", "host", *secrets, PACKAGE_INDEX=index.address)
    assert any(path.startswith("/simple/dagster-pipes/dagster_pipes-1.13.27") for path in index.asked), index.asked
    assert '"closed"' in site.run("showcase", "python", "-m", "showcase.succeeds")


def test_an_image_that_is_not_as_it_was_saved_is_refused(tree: Tree, archive: Path, tmp_path: Path) -> None:
    changed = tmp_path / "bulkhead.tar"
    image = tree.name("showcase-shell")
    docker("save", "--output", str(changed), image)
    (tmp_path / "bulkhead-images.txt").write_text(f"{image} sha256:0\n", encoding="utf-8")
    with tarfile.open(changed, "a") as file:
        file.add(tmp_path / "bulkhead-images.txt", "bulkhead-images.txt")
    assert refused(tree, changed) == (
        f"bulkhead load: {image} is not here as it was saved. Load {changed} again; if that does not help, save and carry "
        "it again"
    )


def test_a_file_that_is_no_bundle_is_refused(tree: Tree, tmp_path: Path) -> None:
    path = tmp_path / "a file"
    assert refused(tree, path) == (
        f"bulkhead load: {path} cannot be read. Name the archive that bundle wrote: "
        "make -f Makefile_dev.txt load FILE=bulkhead.tar"
    )
    path.write_text("nothing", encoding="utf-8")
    assert refused(tree, path) == (
        f"bulkhead load: {path} holds no bulkhead-images.txt: bundle did not write it, or not to its end. "
        "Save and carry it again"
    )


def build(tree: Tree, image: str, *options: str, **env: str) -> None:
    """Build an image from the recipe with options that bake does not know, on a base for which nothing is cached."""
    command = ["docker", "buildx", "build", "--load", "--file", "workload_images/python.Dockerfile", *options]
    command += [
        "--build-arg",
        f"BASE_IMAGE={tree.new_base()}",
        "--build-arg",
        f"TEAM={image}",
        "--tag",
        tree.name(image),
    ]
    run([*command, "."], tree.root, **env)


def refused(tree: Tree, file: Path) -> str:
    """Load a file, and return the one line that says why not."""
    done = tree.script("deployment/offline/offline.sh", "load", str(file), check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line
