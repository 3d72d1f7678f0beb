import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.artifact import Artifact, dumps, load, loads, predict, predicts_as_trained, save, version_of

FINITE = st.floats(allow_nan=False, allow_infinity=False)
MODEL = Artifact(
    target="y",
    features=("a", "b"),
    coefficients=(2.0, 0.5),
    intercept=1.0,
    rmse=0.1,
    dataset_version="v1",
    libraries={"scikit-learn": "1.8.0"},
    sample=((1.0, 2.0), (0.0, 4.0)),
    sample_predictions=(4.0, 3.0),
)


@given(
    coefficients=st.tuples(FINITE, FINITE), intercept=FINITE, rmse=FINITE, sample=st.tuples(FINITE, FINITE)
)
def test_an_artifact_comes_back_with_the_same_floats(
    coefficients: tuple[float, ...], intercept: float, rmse: float, sample: tuple[float, ...]
) -> None:
    model = replace(MODEL, coefficients=coefficients, intercept=intercept, rmse=rmse, sample=(sample, sample))
    again = loads(dumps(model))
    assert again == model
    assert version_of(dumps(again)) == version_of(dumps(model))


def test_a_saved_artifact_predicts_what_it_predicted(tmp_path: Path) -> None:
    content = save(MODEL, tmp_path / "model.json")
    assert (tmp_path / "model.json").read_bytes() == content
    again = load(tmp_path / "model.json")
    assert predict(again, [(1.0, 2.0), (0.0, 4.0)]) == predict(MODEL, [(1.0, 2.0), (0.0, 4.0)]) == [4.0, 3.0]
    assert predicts_as_trained(again)


def test_a_changed_coefficient_no_longer_predicts_as_trained() -> None:
    assert not predicts_as_trained(replace(MODEL, coefficients=(2.0, 0.5001)))


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        predict(MODEL, [(1.0, 2.0, 3.0)])


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_know_is_never_written(number: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(replace(MODEL, intercept=number), tmp_path / "model.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\x80\x04pickle", "model.json: a model artifact is a JSON object; this is not"),
        (b"[]", "model.json: a model artifact is a JSON object; this is not"),
        (b'{"format_version": 2}', "model.json: format_version: expected 1, got 2"),
        (b"{}", "model.json: format_version: expected 1, got None"),
        (
            dumps(MODEL).replace(b'"rmse"', b'"error"'),
            "model.json: missing fields ['rmse'], unknown fields ['error']",
        ),
        (dumps(replace(MODEL, coefficients=(1.0,))), "model.json: 1 coefficients for 2 features"),
    ],
)
def test_a_file_that_is_no_artifact_says_why(content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(ValueError) as caught:
        load(tmp_path / "model.json")
    assert str(caught.value) == text


def test_the_file_names_its_format() -> None:
    assert json.loads(dumps(MODEL))["format_version"] == 1
