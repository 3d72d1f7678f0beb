"""A linear model as a JSON file: readable, exact, and nothing in it can run."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from ml.atomic import replacing

FORMAT_VERSION = 1
CANDIDATE = "candidate.json"


@dataclass(frozen=True)
class Artifact:
    """A fitted model; `sample_predictions` are what the library that fitted it predicts for `sample`."""

    target: str
    features: tuple[str, ...]
    coefficients: tuple[float, ...]
    intercept: float
    rmse: float
    dataset_version: str
    libraries: dict[str, str]
    sample: tuple[tuple[float, ...], ...]
    sample_predictions: tuple[float, ...]


def dumps(artifact: Artifact) -> bytes:
    """JSON of the artifact, the same bytes for the same model; raises ValueError for NaN or infinity."""
    fields = {"format_version": FORMAT_VERSION, **asdict(artifact)}
    return (json.dumps(fields, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def loads(content: bytes) -> Artifact:
    """Artifact from `dumps`; raises ValueError that says what is wrong with the content."""
    try:
        fields = json.loads(content)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise ValueError("a model artifact is a JSON object; this is not")
    version = fields.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise ValueError(f"format_version: expected {FORMAT_VERSION}, got {version}")
    expected, given = set(Artifact.__dataclass_fields__), set(fields)
    if expected != given:
        raise ValueError(
            f"missing fields {sorted(expected - given)}, unknown fields {sorted(given - expected)}"
        )
    for name in ("features", "coefficients", "sample_predictions"):
        fields[name] = tuple(fields[name])
    fields["sample"] = tuple(tuple(row) for row in fields["sample"])
    if len(fields["coefficients"]) != len(fields["features"]):
        raise ValueError(f"{len(fields['coefficients'])} coefficients for {len(fields['features'])} features")
    return Artifact(**fields)


def save(artifact: Artifact, path: Path) -> bytes:
    """Write the artifact to `path` as a whole or not at all; return the bytes written."""
    content = dumps(artifact)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return content


def load(path: Path) -> Artifact:
    """Read an artifact; raises ValueError as `loads` does, with the name of the file."""
    try:
        return loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def predict(artifact: Artifact, rows: Sequence[Sequence[float]]) -> list[float]:
    """Predict the target of each row, whose values stand in the order of `artifact.features`."""
    return [
        math.fsum(coefficient * x for coefficient, x in zip(artifact.coefficients, row, strict=True))
        + artifact.intercept
        for row in rows
    ]


def predicts_as_trained(artifact: Artifact) -> bool:
    """Tell whether the artifact gives `sample_predictions` for `sample`, to a relative 1e-9."""
    return all(
        math.isclose(again, trained, rel_tol=1e-9, abs_tol=1e-9)
        for again, trained in zip(
            predict(artifact, artifact.sample), artifact.sample_predictions, strict=True
        )
    )


def version_of(content: bytes) -> str:
    """Version of an artifact: the first 12 hex digits of the sha256 of its bytes."""
    return sha256(content).hexdigest()[:12]
