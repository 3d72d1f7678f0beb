"""What a result was made from, in 16 digits."""

from pathlib import Path

import pytest

from orchestrator.contract.catalog import load_catalog
from orchestrator.execution.fingerprints import code_version, contract_hash, environment_hash
from orchestrator.settings import read_settings
from tests.contract.contracts import write

CONTRACT = """
type: orchestrator.Workload
attributes:
  team: etl
  image: etl
  stores: {etl: rw, cache: ro}
  jobs:
    etl_job: {}
    small_job: {selection: "key:load", tags: {a: "1", b: "2"}}
  steps:
    - name: load
      run: [python, -m, load]
      timeout: 90s
      assets: [{key: load, tags: {x: "1", y: "2"}}]
"""


def hashed(folder: Path, text: str) -> str:
    folder.mkdir()
    (folder / "workspace.yaml").write_text("load_from: []")
    catalog = load_catalog(write(folder, etl=text), folder / "workspace.yaml")
    return contract_hash(catalog.sound["etl"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  team: etl\n", "  # who\n  team: 'etl'\n\n"),
        ("  team: etl\n  image: etl\n", "  image: etl\n  team: etl\n"),
        ("{etl: rw, cache: ro}", "{cache: ro, etl: rw}"),
        ('{a: "1", b: "2"}', '{b: "2", a: "1"}'),
        ('{x: "1", y: "2"}', '{y: "2", x: "1"}'),
        ("90s", "1m30s"),
    ],
    ids=["comment", "keys", "stores", "tags of a job", "tags of an asset", "unit"],
)
def test_the_same_contract_written_in_another_way_has_the_same_hash(tmp_path: Path, old: str, new: str) -> None:
    assert CONTRACT.count(old) == 1
    assert hashed(tmp_path / "one", CONTRACT) == hashed(tmp_path / "two", CONTRACT.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("90s", "91s"),
        ("image: etl", "image: etl2"),
        ("etl: rw", "etl: ro"),
        ("[python, -m, load]", "[python, load, -m]"),
        ('y: "2"', 'y: "3"'),
        ("      timeout", "      results: file\n      timeout"),
    ],
)
def test_a_contract_with_another_value_has_another_hash(tmp_path: Path, old: str, new: str) -> None:
    assert CONTRACT.count(old) == 1
    assert hashed(tmp_path / "one", CONTRACT) != hashed(tmp_path / "two", CONTRACT.replace(old, new))


def test_a_hash_has_16_hex_digits(tmp_path: Path) -> None:
    found = hashed(tmp_path / "one", CONTRACT)
    assert len(found) == 16
    assert set(found) <= set("0123456789abcdef")


def test_an_environment_is_told_by_its_lock_file(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text("version = 1\n")
    # sha256sum of that line.
    assert environment_hash(tmp_path) == "dbab12665d98aef0"
    (tmp_path / "uv.lock").write_text("version = 2\n")
    assert environment_hash(tmp_path) != "dbab12665d98aef0"


def test_an_environment_without_a_lock_file_has_no_hash(tmp_path: Path) -> None:
    assert environment_hash(tmp_path) is None
    assert environment_hash(tmp_path / "gone") is None
    (tmp_path / "uv.lock").mkdir()
    assert environment_hash(tmp_path) is None


def test_the_code_version_is_the_images_id_where_it_is_known_else_the_hash_of_the_lock_file(tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").write_text("load_from: []")
    folder = write(tmp_path, etl=CONTRACT)
    catalog = load_catalog(folder, tmp_path / "workspace.yaml")
    (folder / "etl" / "uv.lock").write_text("locked")
    plain = {"BULKHEAD_PROJECT": str(tmp_path)}
    told = {**plain, "BULKHEAD_IMAGES": "ml=sha256:2 etl=sha256:1"}
    other = {**plain, "BULKHEAD_IMAGES": "ml=sha256:2"}
    contract = catalog.sound["etl"]
    assert code_version(read_settings(told), contract) == "sha256:1"
    for settings in (read_settings(plain), read_settings(other)):
        assert code_version(settings, contract) == environment_hash(folder / "etl") is not None
