"""Plot predictions against what was measured."""

import numpy as np

POINTS = 500


def predicted_against_actual(actual: np.ndarray, predicted: np.ndarray) -> bytes:
    """PNG of at most `POINTS` evenly chosen rows of two 1-d arrays, with the line of perfect predictions."""
    from io import BytesIO

    from matplotlib.figure import Figure

    chosen = np.linspace(0, len(actual) - 1, min(POINTS, len(actual))).astype(int)
    figure = Figure(figsize=(5, 4.5), dpi=80, layout="constrained")
    axes = figure.subplots()
    axes.axline((float(actual[0]), float(actual[0])), slope=1, color="0.6", linewidth=1, zorder=0)
    axes.scatter(actual[chosen], predicted[chosen], s=8, alpha=0.5, linewidths=0)
    axes.set(xlabel="actual y", ylabel="predicted y", title=f"{len(chosen)} of {len(actual)} held-out rows")
    png = BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()
