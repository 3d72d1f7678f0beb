"""What is declared: every image once, and labels that change only with what an image is made from. No engine."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from orchestrator.contract.catalog import load_catalog
from orchestrator.execution.fingerprints import contract_hash
from tests.images.tree import BAKE, REPOSITORY, Tree, copied

TARGETS = dict(
    re.findall(r'^target "([^"]+)" \{\n(.*?)^\}', BAKE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
)
GROUPS = dict(
    re.findall(r'^group "([^"]+)" \{\n\s*targets = \[(.*?)\]', BAKE.read_text(encoding="utf-8"), re.MULTILINE)
)
REVISION = "org.opencontainers.image.revision"
CONTRACTS = sorted(REPOSITORY.glob("workloads/*/defs.yaml"))
every_contract = pytest.mark.parametrize("contract", CONTRACTS, ids=lambda path: path.parent.name)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with copied(tmp_path / "a repository", "labels") as made:
        yield made


def members(group: str) -> set[str]:
    return set(re.findall(r'"([^"]+)"', GROUPS[group]))


@every_contract
def test_the_image_of_every_contract_is_declared_for_its_team(contract: Path) -> None:
    image = yaml.safe_load(contract.read_text(encoding="utf-8"))["attributes"]["image"]
    if "/" in image or ":" in image:
        pytest.skip(f"{image} is made elsewhere")
    assert f'TEAM = "{contract.parent.name}"' in TARGETS[image]
    assert f'tags     = [name("{image}")]' in TARGETS[image]
    assert image in members("workloads")


def test_a_build_of_all_makes_the_workloads_and_the_platform() -> None:
    assert members("default") == {"workloads", "platform"}
    assert members("platform") == {"orchestrator", "init", "engine-proxy"}
    assert members("workloads") | members("platform") < set(TARGETS)


def test_a_release_is_for_both_platforms() -> None:
    assert 'platforms = RELEASE == "" ? [] : ["linux/amd64", "linux/arm64"]' in TARGETS["_image"]
    for name, body in TARGETS.items():
        assert "platforms" not in body or name == "_image"
        assert "inherits" in body or name == "_image"


def test_images_are_installed_by_the_same_uv_as_environments() -> None:
    setup = (REPOSITORY / "deployment" / "setup.sh").read_text(encoding="utf-8")
    version = re.findall(r"^UV_VERSION=(\S+)", setup, re.MULTILINE)
    for recipe in ("python.Dockerfile", "wheels.Dockerfile"):
        text = (REPOSITORY / "workload_images" / recipe).read_text(encoding="utf-8")
        assert re.findall(r"^ARG UV_VERSION=(\S+)", text, re.MULTILINE) == version


@every_contract
def test_an_image_carries_team_version_and_the_hash_of_the_contract(contract: Path, tree: Tree) -> None:
    team = contract.parent.name
    project = tomllib.loads((contract.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = load_catalog(REPOSITORY / "workloads").contract(team)
    assert tree.labels()[own.image] == {
        "labels": {
            "org.opencontainers.image.title": f"bulkhead-{own.image}",
            "org.opencontainers.image.version": project["version"],
            REVISION: tree.git("rev-parse", "HEAD"),
            "bulkhead.team": team,
            "bulkhead.contract": contract_hash(own),
        }
    }


def revisions(tree: Tree) -> dict[str, str]:
    labels = tree.labels()
    return {name: labels[name]["labels"][REVISION] for name in ("etl", "ml", "showcase", "showcase-shell")}


def test_the_revision_of_an_image_is_the_last_commit_that_touched_what_it_is_made_from(tree: Tree) -> None:
    first = tree.git("rev-parse", "HEAD")
    (tree.root / "workloads/ml/src/ml/more.py").write_text("MORE = 1\n", encoding="utf-8")
    of_ml = tree.commit("Change ml")
    assert revisions(tree) == {"etl": first, "ml": of_ml, "showcase": first, "showcase-shell": first}
    (tree.root / "workloads/sdk/src/bulkhead_sdk/more.py").write_text("MORE = 1\n", encoding="utf-8")
    of_sdk = tree.commit("Change the helper, which the showcase does not use")
    assert revisions(tree) == {"etl": of_sdk, "ml": of_sdk, "showcase": first, "showcase-shell": first}
    (tree.root / "workloads/etl/tests/test_more.py").write_text("MORE = 1\n", encoding="utf-8")
    tree.commit("Change a test")
    assert revisions(tree)["etl"] == of_sdk


def test_a_revision_says_that_files_were_changed_since(tree: Tree) -> None:
    first = tree.git("rev-parse", "HEAD")
    (tree.root / "workloads/ml/src/ml/more.py").write_text("MORE = 1\n", encoding="utf-8")
    assert revisions(tree) == {"etl": first, "ml": f"{first}-dirty", "showcase": first, "showcase-shell": first}


def test_a_contract_that_does_not_hold_costs_its_own_image_the_hash_and_is_said(tree: Tree) -> None:
    before = tree.labels()
    tree.replace("workloads/ml/defs.yaml", "  team: ml\n", "  team: other\n")
    tree.commit("Break a contract")
    after = tree.labels()
    assert "bulkhead.contract" not in after["ml"]["labels"]
    assert after["etl"] == before["etl"]
    assert tree.script("workload_images/labels.sh").stderr == (
        "bulkhead labels: the contract of ml does not hold, so its image carries no hash of it: bulkhead check ml says why\n"
    )


def test_in_a_release_a_workload_is_tagged_with_its_version_too(tree: Tree) -> None:
    labels = tree.labels(RELEASE="1", REGISTRY="registry.example:5000")
    assert labels["ml"]["tags"] == [
        f"registry.example:5000/bulkhead-ml:{tree.tag}",
        "registry.example:5000/bulkhead-ml:0.1.0",
    ]
    assert "tags" not in labels["orchestrator"]


def test_without_a_repository_there_is_no_revision(tree: Tree) -> None:
    (tree.root / ".git").rename(tree.root / "no.git")
    assert REVISION not in tree.labels(GIT_CEILING_DIRECTORIES=str(tree.root.parent))["etl"]["labels"]


def test_without_the_orchestrator_labels_say_where_to_get_it(tree: Tree) -> None:
    (tree.root / ".venv" / "bin" / "python").unlink()
    done = tree.script("workload_images/labels.sh", check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "bulkhead labels: the hash of a contract is computed by the orchestrator, and neither its environment (.venv) "
        f"nor its image (bulkhead-orchestrator:{tree.tag}) is there. Run make setup, or "
        "make -f Makefile_dev.txt build IMAGE=orchestrator\n"
    )
