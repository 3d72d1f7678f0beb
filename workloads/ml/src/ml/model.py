"""Step: train a model, evaluate it on held-out rows, offer it as a candidate."""

from dataclasses import dataclass, field
from typing import Any

from bulkhead_sdk import Step, open_step

from ml import artifact, plot, registry, training_set
from ml.regression import Evaluation, fit


@dataclass(frozen=True)
class Limits:
    rmse_limit: float = field(default=1.0, metadata={"help": "highest held-out RMSE, in units of y"})

    def __post_init__(self) -> None:
        if self.rmse_limit <= 0:
            raise ValueError(f"rmse_limit: expected a number above 0, got {self.rmse_limit}")


def main() -> None:
    with open_step("model", parameters=Limits, env_prefix="ML") as step:
        store = step.store("ml")
        training = training_set.read(store)
        found = fit(training)
        step.log(f"fitted on {training.train.height:,} rows; held-out RMSE {found.artifact.rmse:.6g}")
        good = found.is_finite and found.artifact.rmse < step.parameters.rmse_limit
        report_checks(step, found, registry.champion(store))
        if not step.asked_for("model"):
            return
        version = (
            artifact.version_of(artifact.save(found.artifact, store / artifact.CANDIDATE)) if good else None
        )
        step.report(
            "model",
            metadata={
                **figures(found),
                "rows_train": training.train.height,
                "rows_held_out": training.held_out.height,
                "dataset_version": training.dataset_version,
                "candidate": version or "not written: a blocking check failed",
                "predicted_vs_actual": step.image(
                    "predicted_vs_actual", plot.predicted_against_actual(found.actual, found.predicted)
                ),
            },
            data_version=version,
        )


def report_checks(step: Step, found: Evaluation, best: registry.Champion | None) -> None:
    """Report the checks of `model`; the comparison with the champion is a warning."""
    rmse, limit = found.artifact.rmse, step.parameters.rmse_limit
    step.check(
        "rmse_below_limit", passed=rmse < limit, asset="model", metadata={"rmse": rmse, "limit": limit}
    )
    step.check("coefficients_finite", passed=found.is_finite, asset="model")
    comparison = {"champion": best.version, "champion_rmse": best.rmse} if best else {"champion": "none yet"}
    step.check(
        "better_than_champion",
        passed=registry.is_not_worse(rmse, best),
        asset="model",
        blocking=False,
        metadata={"rmse": rmse, **comparison},
    )


def figures(found: Evaluation) -> dict[str, Any]:
    """Numbers of the model, each coefficient under a name of its own."""
    model = found.artifact
    named = zip(model.features, model.coefficients, strict=True)
    return {
        "rmse": model.rmse,
        "r2": found.r2,
        **{f"coefficient_{feature}": coefficient for feature, coefficient in named},
        "intercept": model.intercept,
    }


if __name__ == "__main__":
    main()
