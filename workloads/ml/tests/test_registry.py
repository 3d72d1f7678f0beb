from dataclasses import replace
from pathlib import Path

import pytest
from test_artifact import MODEL

from ml.artifact import dumps, version_of
from ml.registry import Champion, champion, entries, is_not_worse, register


def test_an_empty_store_has_no_champion(tmp_path: Path) -> None:
    assert entries(tmp_path) == []
    assert champion(tmp_path) is None


def test_the_same_bytes_are_registered_once(tmp_path: Path) -> None:
    first, second = register(tmp_path, dumps(MODEL)), register(tmp_path, dumps(MODEL))
    assert first == second
    assert entries(tmp_path) == [first]
    assert (tmp_path / first["path"]).read_bytes() == dumps(MODEL)


def test_the_champion_is_the_lowest_rmse_and_not_the_newest(tmp_path: Path) -> None:
    for rmse in (0.3, 0.1, 0.2):
        register(tmp_path, dumps(replace(MODEL, rmse=rmse)))
    assert champion(tmp_path) == Champion(version_of(dumps(replace(MODEL, rmse=0.1))), 0.1)
    assert [entry["rmse"] for entry in entries(tmp_path)] == [0.2, 0.1, 0.3]


@pytest.mark.parametrize(
    ("rmse", "expected"), [(0.09, True), (0.1, True), (0.1 + 5e-10, True), (0.1 + 2e-9, False), (0.2, False)]
)
def test_a_model_is_not_worse_up_to_a_difference_of_1e_9(rmse: float, expected: bool) -> None:
    assert is_not_worse(rmse, Champion("a", 0.1)) is expected


def test_nothing_is_worse_than_no_champion() -> None:
    assert is_not_worse(1e9, None)


def test_a_registered_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / register(tmp_path, dumps(MODEL))["path"]
    path.chmod(0o644)
    path.write_bytes(b"{}")
    with pytest.raises(ValueError) as caught:
        register(tmp_path, dumps(MODEL))
    version = version_of(dumps(MODEL))
    assert str(caught.value) == f"models/{version}/model.json is not what was registered: it was changed"


def test_bytes_that_are_no_artifact_are_not_registered(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^a model artifact is a JSON object; this is not$"):
        register(tmp_path, b"{")
    assert list(tmp_path.iterdir()) == []
