"""Fit a linear regression and evaluate it on rows it has not seen."""

from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from sklearn.linear_model import LinearRegression

from ml.artifact import Artifact
from ml.measurements import FEATURES, TARGET
from ml.training_set import TrainingSet

SAMPLE_ROWS = 20


@dataclass(frozen=True)
class Evaluation:
    """A fitted model, with predicted and actual targets of the held-out rows (1-d, same length)."""

    artifact: Artifact
    r2: float
    actual: np.ndarray
    predicted: np.ndarray

    @property
    def is_finite(self) -> bool:
        """Tell whether every number of the model is finite."""
        model = self.artifact
        return bool(np.isfinite([*model.coefficients, model.intercept, model.rmse]).all())


def fit(training: TrainingSet) -> Evaluation:
    """Fit `TARGET` on `FEATURES`; RMSE (in units of the target) and R2 come from the held-out rows."""
    regression = LinearRegression().fit(
        training.train.select(FEATURES).to_numpy(), training.train[TARGET].to_numpy()
    )
    inputs, actual = training.held_out.select(FEATURES).to_numpy(), training.held_out[TARGET].to_numpy()
    predicted = regression.predict(inputs)
    artifact = Artifact(
        target=TARGET,
        features=FEATURES,
        coefficients=tuple(regression.coef_.tolist()),
        intercept=float(regression.intercept_),
        rmse=float(np.sqrt(np.mean((predicted - actual) ** 2))),
        dataset_version=training.dataset_version,
        libraries={name: version(name) for name in ("numpy", "polars", "scikit-learn")},
        sample=tuple(tuple(row) for row in inputs[:SAMPLE_ROWS].tolist()),
        sample_predictions=tuple(predicted[:SAMPLE_ROWS].tolist()),
    )
    return Evaluation(artifact, _r2(actual, predicted), actual, predicted)


def _r2(actual: np.ndarray, predicted: np.ndarray) -> float:
    """Coefficient of determination; NaN where the actual values do not vary."""
    variation = float(np.sum((actual - actual.mean()) ** 2))
    return 1 - float(np.sum((actual - predicted) ** 2)) / variation if variation else float("nan")
