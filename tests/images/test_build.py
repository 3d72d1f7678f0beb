"""`make -f Makefile_dev.txt build` and `push`: what they say, and what they refuse."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import needs_engine
from tests.images.tree import Tree, copied, run

pytestmark = pytest.mark.engine

BUILD = "workload_images/build.sh"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    needs_engine()
    with copied(tmp_path_factory.mktemp("build") / "a repository", "test-build") as made:
        yield made


def test_one_image_is_built_and_said(tree: Tree) -> None:
    make = [
        "make",
        "-f",
        "Makefile_dev.txt",
        "build",
        "IMAGE=showcase-shell",
        f"TAG={tree.tag}",
        "REGISTRY=localhost:1",
    ]
    done = run(make, tree.root)
    assert done.stdout.splitlines()[0] == f"bulkhead build: localhost:1/bulkhead-showcase-shell:{tree.tag}"
    assert done.stdout.splitlines()[1].startswith("bulkhead build: base image as declared, CA certificates ")
    run(["docker", "rmi", f"localhost:1/bulkhead-showcase-shell:{tree.tag}"])


def test_an_image_that_is_not_declared_is_refused(tree: Tree) -> None:
    done = tree.script(BUILD, "build", "prices", check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "bulkhead build: prices is not declared in workload_images/docker-bake.hcl: "
        "ERROR: failed to find target prices\n",
    )


def test_a_push_needs_a_registry(tree: Tree) -> None:
    done = tree.script(BUILD, "push", "showcase-shell", check=False, REGISTRY="")
    assert (done.returncode, done.stderr) == (
        1,
        "bulkhead push: REGISTRY says where to push, and is empty: "
        "make -f Makefile_dev.txt push REGISTRY=registry.example:5000\n",
    )


def test_certificates_that_cannot_be_read_are_refused(tree: Tree, tmp_path: Path) -> None:
    missing = tmp_path / "missing.crt"
    done = tree.script(BUILD, "build", "showcase-shell", check=False, CA_CERTIFICATES=str(missing))
    assert (done.returncode, done.stderr) == (
        1,
        f"bulkhead build: CA_CERTIFICATES (or SSL_CERT_FILE, PIP_CERT, pip's global.cert) names {missing}, which cannot "
        "be read. Name a file of certificates in PEM form, or unset it\n",
    )


def test_a_push_that_fails_says_how_to_log_in(tree: Tree) -> None:
    done = tree.script(BUILD, "push", "showcase-shell", check=False, REGISTRY="localhost:1")
    name = f"localhost:1/bulkhead-showcase-shell:{tree.tag}"
    run(["docker", "rmi", name])
    assert done.returncode == 1
    assert done.stderr.endswith(
        f"bulkhead push: {name} could not be pushed (see above). To log in: docker login localhost:1\n"
    )
