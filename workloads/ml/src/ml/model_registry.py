"""Step: load the candidate back, and register it as an immutable version."""

from bulkhead_sdk import MissingInput, open_step

from ml import registry
from ml.artifact import CANDIDATE, load, predicts_as_trained


def main() -> None:
    with open_step("model_registry") as step:
        store = step.store("ml")
        path = store / CANDIDATE
        if not path.is_file():
            raise MissingInput(
                f"no {CANDIDATE} in store 'ml': make it with `python -m ml.model`, "
                "in Dagster with ml_pipeline_job"
            )
        candidate = load(path)
        same = predicts_as_trained(candidate)
        step.check(
            "artifact_predicts_as_trained",
            passed=same,
            asset="model_registry",
            metadata={"sample_rows": len(candidate.sample)},
        )
        if not same or not step.asked_for("model_registry"):
            return
        entry = registry.register(store, path.read_bytes())
        known = registry.entries(store)
        step.log(
            f"registered model {entry['version']}, trained on dataset version {entry['dataset_version']}"
        )
        step.report_table(
            "model_registry",
            rows=len(known),
            columns=registry.COLUMNS,
            preview=[{**row, "features": ", ".join(row["features"])} for row in known[:10]],
            metadata={
                "version": entry["version"],
                "path": {"raw_value": entry["path"], "type": "path"},
                "sha256": entry["sha256"],
                "rmse": entry["rmse"],
                "features": ", ".join(entry["features"]),
                "dataset_version": entry["dataset_version"],
                "created_at": f"{entry['created_at']:%Y-%m-%dT%H:%M:%SZ}",
            },
            data_version=entry["version"],
        )


if __name__ == "__main__":
    main()
