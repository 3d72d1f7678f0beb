"""The team etl: raw measurements in a private DuckDB file, clean ones as a published dataset."""
