"""How fast a step's output and messages come through: a workload that says much, and what its step takes."""

from pathlib import Path

from tests.bench.jobs import Steps, run_bare, run_bulkhead, run_stock, write_project

FLOODS = {
    "1 GB on stdout": ("stdout", "1000000000"),
    "2,000 Pipes messages": ("messages", "2000"),
    "100,000 Pipes messages": ("messages", "100000"),
}
# Minutes on stock Dagster.
NOT_ON_STOCK = {"100,000 Pipes messages"}


def floods(folder: Path, repeats: int) -> dict[str, dict[str, list[float]]]:
    """Return, for each flood and contender, the seconds that the step takes."""
    found: dict[str, dict[str, list[float]]] = {}
    for number, (name, arguments) in enumerate(FLOODS.items()):
        steps = Steps(1, "floods.py", arguments)
        root, bare = folder / f"flood {number}", folder / f"bare {number}"
        write_project(root, steps)
        bare.mkdir()
        rows = found.setdefault(name, {})
        for _ in range(repeats):
            rows.setdefault("bare process", []).append(run_bare(steps, bare))
            rows.setdefault("Bulkhead, sandboxed", []).append(run_bulkhead(root, BULKHEAD_SANDBOX="required"))
            rows.setdefault("Bulkhead, plain", []).append(run_bulkhead(root, BULKHEAD_SANDBOX="off"))
            if name not in NOT_ON_STOCK:
                rows.setdefault("stock in-process", []).append(run_stock(steps, "in_process", 1))
            for file in [*bare.glob("*.jsonl"), *bare.glob("out")]:
                file.unlink()
    return found
