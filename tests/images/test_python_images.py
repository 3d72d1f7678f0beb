"""The images as an engine runs them: what is in them, what is not, and that each is rebuilt alone."""

import json
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import needs_engine
from tests.images.tree import Tree, copied, docker

pytestmark = pytest.mark.engine

PYTHON = ("etl", "ml", "showcase")
every_python_image = pytest.mark.parametrize("image", PYTHON)
HARDENED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none", "--user", "10001"]
HARDENED += ["--security-opt", "no-new-privileges"]
MARK = "of-this-site"

# Prints every module of the image that would be compiled when it is imported.
UNCOMPILED = """
import importlib.util, pathlib
for folder in ("/app/.venv/lib", "/app/src"):
    for path in pathlib.Path(folder).rglob("*.py"):
        if not pathlib.Path(importlib.util.cache_from_source(path)).exists():
            print(path)
"""
# Prints the flags of the bytecode of this module: 1 is "not held against its source".
FLAGS = "import importlib.util, {0}; print(open(importlib.util.cache_from_source({0}.__file__), 'rb').read(8)[4])"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    needs_engine()
    with copied(tmp_path_factory.mktemp("images") / "a repository", "test-images") as made:
        made.build(*PYTHON, "showcase-shell")
        yield made


@every_python_image
def test_an_image_runs_as_nobody_in_particular_from_its_own_environment(tree: Tree, image: str) -> None:
    config = tree.inspect(image)["Config"]
    assert (config["User"], config["WorkingDir"], config["Entrypoint"]) == ("10001:10001", "/app", None)
    environment = dict(variable.split("=", 1) for variable in config["Env"])
    assert environment["PATH"].startswith("/app/.venv/bin:")
    assert environment["PYTHONUNBUFFERED"] == environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert tree.run(image, "sh", "-c", "id -u; id -g; id -un") == "10001\n10001\nbulkhead\n"


@every_python_image
def test_nothing_of_the_image_is_writable_by_its_user(tree: Tree, image: str) -> None:
    search = "find /app /usr /etc -writable ! -type l 2>/dev/null; true"
    assert tree.run(image, "sh", "-c", search) == ""


@every_python_image
def test_an_image_has_no_installer_no_build_tools_and_no_dagster(tree: Tree, image: str) -> None:
    tools = "for tool in uv uvx pip pip3 gcc cc make git curl; do command -v $tool; done; true"
    assert tree.run(image, "sh", "-c", tools) == ""
    modules = "import importlib.util as u; print([m for m in ('uv', 'pip', 'pytest', 'dagster') if u.find_spec(m)])"
    assert tree.run(image, "python", "-c", modules) == "[]\n"
    caches = ("find", "/root", "/tmp", "/var/cache", "/app", "-iname", "*cache*", "!", "-name", "__pycache__")
    found = tree.run(
        image,
        *caches,
        "(",
        "-name",
        "uv*",
        "-o",
        "-name",
        "pip*",
        "-o",
        "-path",
        "/root/*",
        ")",
        options=["--user", "0"],
    )
    assert found == ""
    assert tree.run(image, "sh", "-c", "ls -d /src /own /wheels /index.sh /run/secrets 2>/dev/null; true") == ""


@every_python_image
def test_an_image_holds_its_own_team_and_no_tests(tree: Tree, image: str) -> None:
    listed = tree.run(image, "sh", "-c", "ls /app /app/src /app/.venv/lib/python*/site-packages").split()
    assert [team for team in PYTHON if team in listed] == [image]
    assert "word_counts.sh" in listed or image != "showcase"
    assert "tests" not in listed


@every_python_image
def test_everything_is_compiled_and_no_source_is_looked_at_again(tree: Tree, image: str) -> None:
    assert tree.run(image, "python", "-c", UNCOMPILED) == ""
    assert tree.run(image, "python", "-c", FLAGS.format(image)) == "1\n"
    assert tree.run(image, "python", "-c", FLAGS.format("dagster_pipes")) == "1\n"
    assert (
        tree.run(image, "python", "-c", "import json.decoder as d, os; print(os.path.exists(d.__cached__))") == "True\n"
    )


@every_python_image
def test_an_image_has_the_labels_that_were_computed(tree: Tree, image: str) -> None:
    labels = tree.labels()[image]["labels"]
    assert labels["org.opencontainers.image.revision"] == tree.git("rev-parse", "HEAD")
    assert tree.inspect(image)["Config"]["Labels"] == labels


def test_a_step_runs_by_hand_and_prints_what_it_would_report(tree: Tree) -> None:
    out = tree.run("etl", "python", "-m", "etl.measurements")
    assert "asset measurements\n  rows: 100000\n" in out
    assert out.endswith("result: ok\n")


def test_hardened_containers_of_two_teams_publish_and_train(tree: Tree) -> None:
    volume = f"bulkhead-{tree.tag}"
    docker("volume", "create", volume)
    try:
        # In place of the tmpfs, so that one container reads what another published.
        shared = [option for option in HARDENED if option not in ("--tmpfs", "/tmp")] + ["--volume", f"{volume}:/tmp"]
        assert tree.run("etl", "python", "-m", "etl.measurements", options=shared).endswith("result: ok\n")
        for module in ("training_set", "model", "model_registry"):
            assert tree.run("ml", "python", "-m", f"ml.{module}", options=shared).endswith("result: ok\n")
    finally:
        docker("volume", "rm", volume)


def test_hardened_containers_run_with_nothing_but_a_tmpfs(tree: Tree) -> None:
    assert tree.run("etl", "python", "-m", "etl.measurements", options=HARDENED).endswith("result: ok\n")
    assert '"report_asset_materialization"' in tree.run(
        "showcase", "python", "-m", "showcase.succeeds", options=HARDENED
    )
    assert json.loads(tree.run("showcase", "sh", "word_counts.sh", options=HARDENED))["checks"][0]["passed"] is True


def test_a_program_without_python_reads_variables_and_leaves_its_result(tree: Tree, tmp_path: Path) -> None:
    step = tmp_path / "step"
    step.mkdir()
    step.chmod(0o777)
    (step / "context.json").write_text("{}", encoding="utf-8")
    options = [*HARDENED, "--volume", f"{step}:{step}"]
    options += ["--env", f"BULKHEAD_CONTEXT={step}/context.json", "--env", f"BULKHEAD_RESULT={step}/result.json"]
    assert tree.run("showcase-shell", "sh", "word_counts.sh", options=options) == ""
    result = json.loads((step / "result.json").read_text(encoding="utf-8"))
    programs = (tree.root / "workloads" / "showcase" / "src" / "showcase").glob("*.py")
    words = sum(len(path.read_text(encoding="utf-8").split()) for path in programs)
    assert result["assets"]["word_counts"]["metadata"]["words"] == words
    assert result["checks"] == [{"asset": "word_counts", "name": "some_words", "passed": True}]
    assert tree.inspect("showcase-shell")["Config"]["User"] == "10001:10001"
    assert tree.inspect("showcase-shell")["Config"]["Labels"]["bulkhead.team"] == "showcase"


def test_what_a_site_brings_to_the_build_is_not_in_the_image(tree: Tree, tmp_path: Path) -> None:
    system = (
        os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    )
    certificates = tmp_path / f"{MARK}.crt"
    certificates.write_text(f"# {MARK}-certificates\n{Path(system).read_text(encoding='utf-8')}", encoding="utf-8")
    index = os.environ.get("UV_DEFAULT_INDEX") or "https://pypi.org/simple"
    done = tree.bake(
        "--set",
        f"showcase.tags={tree.name('marked')}",
        "showcase",
        BASE_IMAGE=tree.new_base(),
        CA_CERTIFICATES=str(certificates),
        PACKAGE_INDEX=index.replace("://", f"://{MARK}-login:x@"),
        HTTP_PROXY=f"http://{MARK}-proxy.invalid:3128",
    )
    assert MARK not in done.stdout
    assert MARK not in docker("history", "--no-trunc", tree.name("marked")).stdout
    assert MARK not in json.dumps(tree.inspect("marked"))
    archive = tmp_path / "image.tar"
    docker("save", "--output", str(archive), tree.name("marked"))
    held = archive.read_bytes()
    assert b"showcase/succeeds.py" in held
    assert MARK.encode() not in held
    assert index.encode() + b"\n" not in held


def test_a_changed_line_of_one_team_rebuilds_its_image_alone(tree: Tree) -> None:
    tree.build(*PYTHON)
    before = {image: tree.inspect(image) for image in PYTHON}
    tree.replace("workloads/ml/src/ml/model.py", "def main() -> None:\n", "def main() -> None:\n    print('changed')\n")
    tree.commit("Change a line of ml")
    tree.build(*PYTHON)
    after = {image: tree.inspect(image) for image in PYTHON}
    assert after["etl"]["Id"] == before["etl"]["Id"]
    assert after["showcase"]["Id"] == before["showcase"]["Id"]
    assert after["ml"]["Id"] != before["ml"]["Id"]
    # The packages stay; the layer with the team's own files is new, and so is the label.
    assert after["ml"]["RootFS"]["Layers"][:-1] == before["ml"]["RootFS"]["Layers"][:-1]
    assert after["ml"]["RootFS"]["Layers"][-1] != before["ml"]["RootFS"]["Layers"][-1]
    revision = "org.opencontainers.image.revision"
    assert after["ml"]["Config"]["Labels"][revision] == tree.git("rev-parse", "HEAD")
    assert "print('changed')" in tree.run(
        "ml", "python", "-c", "import inspect, ml.model as m; print(inspect.getsource(m))"
    )


def test_a_change_of_the_helper_rebuilds_the_images_that_use_it(tree: Tree) -> None:
    before = {image: tree.identity(image) for image in PYTHON}
    (tree.root / "workloads/sdk/src/bulkhead_sdk/more.py").write_text("MORE = 1\n", encoding="utf-8")
    tree.commit("Add to the helper")
    tree.build(*PYTHON)
    assert [image for image in PYTHON if tree.identity(image) != before[image]] == ["etl", "ml"]
    assert tree.run("etl", "python", "-c", "from bulkhead_sdk.more import MORE; print(MORE)") == "1\n"


def test_a_changed_contract_changes_the_label_and_no_layer_of_packages(tree: Tree) -> None:
    before = tree.inspect("etl")
    tree.replace("workloads/etl/defs.yaml", "memory: 1Gi", "memory: 2Gi")
    tree.commit("Allow more memory")
    tree.build("etl")
    after = tree.inspect("etl")
    label = "bulkhead.contract"
    assert (
        after["Config"]["Labels"][label] == tree.labels()["etl"]["labels"][label] != before["Config"]["Labels"][label]
    )
    assert after["RootFS"]["Layers"][:-1] == before["RootFS"]["Layers"][:-1]
