"""From published measurements to a registered linear model."""
