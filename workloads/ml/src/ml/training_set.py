"""Step: check the published measurements, split them, keep them as the training set."""

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from bulkhead_sdk import MissingInput, Step, open_step

from ml import measurements
from ml.atomic import replacing

FILE = "training_set.parquet"


@dataclass(frozen=True)
class Split:
    held_out_fraction: float = field(default=0.2, metadata={"help": "part of the rows kept for evaluation"})
    seed: int = field(default=7, metadata={"help": "seed of the split"})

    def __post_init__(self) -> None:
        if not 0 < self.held_out_fraction < 1:
            raise ValueError(
                f"held_out_fraction: expected a number between 0 and 1, got {self.held_out_fraction}"
            )
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")


@dataclass(frozen=True)
class TrainingSet:
    """Rows with the columns of `measurements.COLUMNS`, and the version of the dataset they came from."""

    train: pl.DataFrame
    held_out: pl.DataFrame
    dataset_version: str


def write(store: Path, rows: pl.DataFrame, dataset_version: str) -> None:
    """Replace the training set; the dataset version travels in the Parquet file's own metadata."""
    with replacing(store / FILE) as path:
        rows.write_parquet(path, metadata={"dataset_version": dataset_version})


def read(store: Path) -> TrainingSet:
    """Read the training set; raises MissingInput if there is none."""
    path = store / FILE
    if not path.is_file():
        raise MissingInput(
            f"no {FILE} in store 'ml': make it with `python -m ml.training_set`, "
            "in Dagster with ml_pipeline_job"
        )
    rows = pl.read_parquet(path)
    return TrainingSet(
        train=rows.filter(~pl.col("held_out")).drop("held_out"),
        held_out=rows.filter("held_out").drop("held_out"),
        dataset_version=pl.read_parquet_metadata(path)["dataset_version"],
    )


def main() -> None:
    with open_step("training_set", parameters=Split, env_prefix="ML") as step:
        dataset = step.dataset("measurements")
        if not dataset.files:
            raise MissingInput(
                f"dataset 'measurements' version {dataset.version} has no *.parquet: run etl_job"
            )
        rows = checked_rows(step, dataset.files)
        if rows is None or not step.asked_for("training_set"):
            return
        rows = measurements.split(rows, step.parameters.held_out_fraction, step.parameters.seed)
        write(step.store("ml"), rows, dataset.version)
        held_out = rows["held_out"].sum()
        step.report_table(
            "training_set",
            rows=rows.height,
            columns={name: str(kind) for name, kind in rows.schema.items()},
            preview=rows.head(5).to_dicts(),
            metadata={
                "dataset_version": dataset.version,
                "rows_train": rows.height - held_out,
                "rows_held_out": held_out,
            },
        )


def checked_rows(step: Step, files: list[Path]) -> pl.DataFrame | None:
    """Report both input checks; return the rows, or None if one failed."""
    faults = measurements.schema_faults(measurements.schema_of(files))
    step.check("input_schema", passed=not faults, asset="training_set", metadata=faults)
    if faults:
        step.check(
            "required_columns_have_no_nulls",
            passed=False,
            asset="training_set",
            metadata={"reason": "not looked at: the schema is wrong"},
        )
        return None
    rows = measurements.read(files)
    step.log(f"read {rows.height:,} rows of dataset measurements")
    lacking = measurements.rows_without_value(rows)
    step.check("required_columns_have_no_nulls", passed=not lacking, asset="training_set", metadata=lacking)
    return None if lacking else rows


if __name__ == "__main__":
    main()
