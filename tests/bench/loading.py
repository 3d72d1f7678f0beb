"""What loading costs: a team's contract, beside as many stock assets and beside `import dagster` alone.

`python -m tests.bench.loading` prints a table. Each measurement is a fresh process.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import yaml

TEAM, JOB = "big", "big_job"
REPOSITORY = Path(__file__).resolve().parents[2]
# What getrusage says on Linux is at least the peak of the process that started this one; VmHWM is this one's own.
PROGRAM = """
import json, resource, sys, time
start = time.perf_counter()
{body}
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
if sys.platform == "linux":
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
print(json.dumps([seconds, peak]))
"""
IMPORT = "import dagster"
OURS = f"""
import orchestrator.definitions
job = orchestrator.definitions.{TEAM}.resolve_job_def({JOB!r})
assert len(job.nodes) == int(sys.argv[1])
"""
STOCK = f"""
import dagster as dg
def asset(key, deps):
    check = dg.AssetCheckSpec("not_empty", asset=key, blocking=True)
    @dg.asset(name=key, deps=deps, check_specs=[check])
    def made(context): ...
    return made
assets = [asset(key, deps) for key, deps in json.load(open(sys.argv[1]))]
job = dg.Definitions(assets, jobs=[dg.define_asset_job({JOB!r}, dg.AssetSelection.all())]).resolve_job_def({JOB!r})
assert len(job.nodes) == len(assets)
"""


def keys_and_deps(steps: int, team: str = TEAM) -> Iterator[tuple[str, list[str]]]:
    """Yield asset keys and what each depends on: chains of ten, which fan out from two earlier steps."""
    names = [f"{team}_{number:05d}" for number in range(steps)]
    for number, name in enumerate(names):
        before = {number - 1 if number % 10 else number // 5, number // 2, number // 3}
        yield name, [names[dep] for dep in sorted(before) if dep < number]


def contract(steps: int, team: str = TEAM) -> dict[str, Any]:
    """Return a contract file of so many steps; each makes one asset, with a blocking check on it."""
    declared = [
        {
            "name": key,
            "run": ["python", "-m", key],
            "timeout": "5m",
            "assets": [{"key": key, **({"deps": deps} if deps else {})}],
            "checks": [{"name": "not_empty", "asset": key, "blocking": True}],
        }
        for key, deps in keys_and_deps(steps, team)
    ]
    attributes = {"team": team, "image": team, "steps": declared, "jobs": {f"{team}_job": {"selection": "*"}}}
    return {"type": "orchestrator.Workload", "attributes": attributes}


def write_project(root: Path, **steps: int) -> Path:
    """Write a project with a contract of so many steps for each team named; return its folder."""
    for team, number in steps.items():
        folder = root / "workloads" / team
        folder.mkdir(parents=True)
        text = yaml.safe_dump(contract(number, team), sort_keys=False)
        (folder / "defs.yaml").write_text(text, encoding="utf-8")
    return root


def measure(sizes: Sequence[int] = (10, 100, 1000, 5000), repeats: int = 5) -> list[dict[str, Any]]:
    """Return one row a size: `steps`, and medians of seconds and of peak resident memory in bytes.

    The keys are `ours_seconds`, `stock_seconds`, `import_seconds`, `ours_bytes` and `stock_bytes`. Seconds are from the
    start of the program to the resolved job of all assets; `import dagster` is part of both.
    """
    imported = _medians(IMPORT, "", {}, repeats)
    rows = []
    for steps in sizes:
        with tempfile.TemporaryDirectory() as folder:
            project = write_project(Path(folder), **{TEAM: steps})
            ours = _medians(OURS, str(steps), {"BULKHEAD_PROJECT": str(project)}, repeats)
            listed = Path(folder, "assets.json")
            listed.write_text(json.dumps(list(keys_and_deps(steps))), encoding="utf-8")
            stock = _medians(STOCK, str(listed), {}, repeats)
        rows.append(
            {
                "steps": steps,
                "ours_seconds": ours[0],
                "stock_seconds": stock[0],
                "import_seconds": imported[0],
                "ours_bytes": round(ours[1]),
                "stock_bytes": round(stock[1]),
            }
        )
    return rows


def _medians(body: str, argument: str, env: Mapping[str, str], repeats: int) -> tuple[float, float]:
    command = [sys.executable, "-W", "ignore", "-", argument]
    found = []
    for _ in range(repeats):
        done = subprocess.run(
            command,
            input=PROGRAM.format(body=body),
            cwd=REPOSITORY,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return median(seconds for seconds, _ in found), median(peak for _, peak in found)


def main() -> None:
    """Print the table."""
    print(f"{'steps':>6} {'ours':>9} {'stock':>9} {'import':>9} {'ours':>9} {'stock':>9}")
    for row in measure():
        seconds = "".join(f" {row[name]:>7.2f} s" for name in ("ours_seconds", "stock_seconds", "import_seconds"))
        sizes = "".join(f" {row[name] / 2**20:>5.0f} MiB" for name in ("ours_bytes", "stock_bytes"))
        print(f"{row['steps']:>6}{seconds}{sizes}")


if __name__ == "__main__":
    main()
