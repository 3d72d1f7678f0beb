"""One step for each way to fail."""
