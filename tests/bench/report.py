"""Everything that is measured, side by side in one run: `python -m tests.bench.report FILE [REPEATS]` writes the page."""

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil

from orchestrator.backends.sandbox import find_compiled_starter, find_sandbox
from tests.bench import chains, clicks, floods, loading, memory

REPEATS = 5
RUNNING = (1, 10, 50)
MIB = 1 << 20
# Launch to end of the seed jobs in the project that this one starts from, where `import dagster` took 0.9 s.
BEFORE, BEFORE_IMPORT = {"etl_job": 15.4, "ml_pipeline_job": 24.8}, 0.9
HEAD = """# Performance

Written by `make bench`: everything below was measured in one run on one machine, and contenders took turns. A number is
the median of {repeats} (memory: one measurement); the range is in brackets. **Ratios carry over to another machine,
seconds do not.** {machine}

*Plain* is `BULKHEAD_SANDBOX=off`; *sandboxed* is the default where bubblewrap is installed. *Stock* is Dagster's own
`PipesSubprocessClient`. All run the same programs (`tests/bench/programs`) in the same environment.
"""


class Page:
    """The page, and the aims with what came of them."""

    def __init__(self, head: str) -> None:
        self.lines = [head]
        self.aims: list[str] = []

    def aim(self, what: str, aim: str, found: float, met: bool, unit: str = "") -> None:
        """Note an aim, and whether it was met."""
        self.aims.append(f"| {what} | {aim} | {found:.2f}{unit} | {'yes' if met else '**no**'} |")

    def table(self, title: str, rows: Mapping[str, Sequence[float]], base: str, unit: str = "s") -> None:
        """Write a table of contenders: ratio to `base` first."""
        self.lines += [f"### {title}\n", f"| | ratio to {base} | median | range |", "|---|---|---|---|"]
        for name, values in rows.items():
            ratio = median(values) / median(rows[base])
            span = f"{min(values):.2f} to {max(values):.2f}"
            self.lines.append(f"| {name} | {ratio:.2f} | {median(values):.3f} {unit} | {span} |")
        self.lines.append("")

    def text(self) -> str:
        """Return the page, the aims right below its head."""
        aims = ["## Aims\n", "| what | aim | here | met |", "|---|---|---|---|", *self.aims, ""] if self.aims else []
        return "\n".join([self.lines[0], *aims, *self.lines[1:]]).rstrip() + "\n"


def machine() -> str:
    """Return the machine and the versions in a sentence."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    said = "no bwrap"
    if (bwrap := find_sandbox().bwrap) is not None:
        said = subprocess.run([bwrap, "--version"], capture_output=True, text=True).stdout.strip()
        said += f" with the {'compiled' if find_compiled_starter() else 'Python'} starter"
    return (
        f"Machine: {os.cpu_count()} processors ({models[0] if models else platform.machine()}), "
        f"{psutil.virtual_memory().total / (1 << 30):.0f} GiB, {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}, Dagster {version('dagster')}, {said}."
    )


def steps(page: Page, folder: Path, repeats: int) -> None:
    """Measure steps one after another and side by side."""
    page.lines.append("## Steps\n\nFrom the start of the first step to the end of the last one.\n")
    python = median(chains.bare_python(4 * repeats))
    for name in chains.SCENARIOS:
        rows = chains.run(folder, name, repeats)
        page.table(name, rows, chains.BARE)
        middle = {contender: median(values) for contender, values in rows.items()}
        for contender in (chains.PLAIN, chains.SANDBOXED):
            if name == "chain of 10 x fibo(10)":
                ratio = middle[contender] / middle[chains.BARE]
                page.aim(f"{name}: {contender} / bare processes", "at most 1.2", ratio, ratio <= 1.2)
                ratio = middle[chains.STOCK] / middle[contender]
                page.aim(f"{name}: stock default / {contender}", "at least 20", ratio, ratio >= 20)
            if chains.SCENARIOS[name] is chains.SDK:
                ratio = middle[contender] / chains.SDK.count / python
                page.aim(f"{name}, a step: {contender} / `python -c pass`", "at most 5", ratio, ratio <= 5)
        _progress(name)


def clicked(page: Page, folder: Path, repeats: int) -> None:
    """Measure from the click to the workload's first line."""
    rows = clicks.clicks(folder, repeats)
    page.lines.append('## Click to first line\n\nFrom the click on "Materialize" to the first line of the workload.\n')
    page.table("one step", rows, "Bulkhead")
    found = median(rows["Bulkhead"])
    page.aim("click to first line", "under 0.5 s", found, found < 0.5, " s")
    _progress("clicks")


def seeded(page: Page, folder: Path, repeats: int) -> None:
    """Measure the seed jobs from launch to end."""
    imported = median(chains.import_dagster(sys.executable, repeats))
    scale = imported / BEFORE_IMPORT
    page.lines.append(
        "## Seed jobs\n\nFrom the launch to the end of the run, as the UI launches it. *Before* is the project that this "
        f"one starts from (a process a step), scaled by the time of `import dagster`: {imported:.2f} s here, "
        f"{BEFORE_IMPORT} s there.\n"
    )
    for job, seconds in clicks.seeds(folder, repeats).items():
        page.table(job, {"Bulkhead": seconds, "before": [BEFORE[job] * scale]}, "Bulkhead")
        ratio = BEFORE[job] * scale / median(seconds)
        page.aim(f"{job}: before / Bulkhead", "at least 5", ratio, ratio >= 5)
    _progress("seed jobs")


def remembered(page: Page, folder: Path) -> None:
    """Measure the orchestrator's memory with steps running."""
    found = {running: memory.held(folder / str(running), running) for running in RUNNING}
    names = dict.fromkeys(name for row in found.values() for name in row)
    page.lines += [
        "## Memory\n\nWhat the orchestrator holds (PSS, MiB) while so many steps run; workloads do not count. What a "
        "sandbox itself consists of, two bwrap processes and the starter, has a row of its own.\n",
        f"| | {' | '.join(f'{running} running' for running in RUNNING)} | MiB a step |",
        f"|---|{'---|' * (len(RUNNING) + 1)}",
    ]
    first, last = RUNNING[0], RUNNING[-1]
    for name in names:
        sizes = [found[running][name] / MIB for running in RUNNING]
        each = (sizes[-1] - sizes[0]) / (last - first)
        page.lines.append(f"| {name} | {' | '.join(f'{size:.0f}' for size in sizes)} | {each:.2f} |")
        if name.startswith("Bulkhead"):
            page.aim(f"memory of a running step: {name}", "at most 2 MiB", each, each <= 2, " MiB")
    page.lines.append("")
    _progress("memory")


def loaded(page: Page, repeats: int) -> None:
    """Measure what contracts cost to load."""
    page.lines += [
        "## Loading\n\nA contract of so many steps, read, checked and turned into a job in a new process, `import dagster` "
        "included; beside it as many stock `@dg.asset` definitions.\n",
        "| steps | Bulkhead / stock | Bulkhead | stock | `import dagster` | Bulkhead, memory | stock, memory |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = loading.measure(repeats=repeats)
    for row in rows:
        page.lines.append(
            f"| {row['steps']} | {row['ours_seconds'] / row['stock_seconds']:.2f} | {row['ours_seconds']:.2f} s | "
            f"{row['stock_seconds']:.2f} s | {row['import_seconds']:.2f} s | {row['ours_bytes'] / MIB:.0f} MiB | "
            f"{row['stock_bytes'] / MIB:.0f} MiB |"
        )
    page.lines.append("")
    page.aim("loading 5,000 steps", "under 5 s", rows[-1]["ours_seconds"], rows[-1]["ours_seconds"] < 5, " s")
    own = [(row["ours_seconds"] - row["import_seconds"]) / row["steps"] for row in rows]
    page.aim("cost of a step: 5,000 / 1,000", "about 1", own[-1] / own[-2], own[-1] / own[-2] < 1.3)
    _progress("loading")


def flooded(page: Page, folder: Path, repeats: int) -> None:
    """Measure how fast output comes through."""
    page.lines.append(
        "## Output\n\nWhat a step takes that says much. Bulkhead carries each byte past the masks and limits into the "
        "step's log; stock hands the workload its own stdout. Of Pipes messages Bulkhead puts the first 5,000 into "
        "Dagster's event log, the rest into the step's stderr.\n"
    )
    for name, rows in floods.floods(folder, repeats).items():
        page.table(name, rows, "bare process")
        _progress(name)


def _progress(what: str) -> None:
    print(f"measured: {what}", file=sys.stderr, flush=True)


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []


def main(page_file: Path, repeats: int = REPEATS) -> None:
    page = Page(HEAD.format(repeats=repeats, machine=machine()))
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as name:
        folder = Path(name)
        steps(page, folder, repeats)
        clicked(page, folder, repeats)
        seeded(page, folder, repeats)
        remembered(page, folder)
        loaded(page, repeats)
        flooded(page, folder, repeats)
    page_file.write_text(page.text(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
