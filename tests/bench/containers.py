"""Steps in containers, beside bare `docker run` and stock Dagster: `python -m tests.bench.containers PAGE` writes the page."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from tests.bench.jobs import (
    BULKHEAD,
    JOB,
    TEAM,
    Steps,
    environment,
    pipes_environment,
    run_bulkhead,
    run_stock,
    write_project,
)  # fmt: skip
from tests.bench.report import Page, machine
from tests.conftest import REPOSITORY, wait_for
from tests.containers import build_image, docker, docker_settings

REPEATS, COUNT = 5, 10
SHORT, LONG = (Steps(COUNT, "fibo.py", (number,), chained=True) for number in ("10", "33"))
ALONE = Steps(1, "fibo.py", ("10",))
WAITS = Steps(1, "waits.py", ("600",))
HARDENED = (
    "--init", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none",
    "--pids-limit", "4096", "--user", "10001:10001",
)  # fmt: skip
BARE, BRIDGED = "bare `docker run`, hardened", "bare `docker run`, as it comes"
READY, NEW, STOCK = "Bulkhead, in a chain", "Bulkhead, a run of one step", "stock `PipesDockerClient`"
HEAD = """# Performance in containers

Written by `make -f Makefile_dev.txt bench-containers`: a step in a container, in one run on one machine; contenders take turns. A
number is the median of {repeats}; the range is in brackets. {machine} Docker {engine}.

*In a chain*: ten steps one after another, first start to last end, a step; the container of each but the first was started
while the step before it ran, which a step that is shorter than a start waits for. *A run of one step*: its container is created and started for it. Bare: ten commands one after
another, a command, with the same Pipes files mounted. Stock runs in one process.
"""


def bare(image: str, folder: Path, options: Sequence[str], chain: Steps = SHORT) -> float:
    """Return the seconds of a command, of ten one after another."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    commands = []
    for name, command, _ in chain.named():
        (folder / f"{name}.jsonl").touch()
        (folder / f"{name}.jsonl").chmod(0o666)
        variables = [f"--env={key}={value}" for key, value in pipes_environment(folder, name).items() if "PIPES" in key]
        commands.append(["docker", "run", "--rm", *options, *variables, f"--volume={folder}:{folder}", image, *command])
    began = perf_counter()
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (perf_counter() - began) / COUNT


def cancelled(command: Sequence[str], env: dict[str, str] | None, image: str) -> float:
    """Start a run whose one step waits, interrupt it, and return the seconds until its container does not run any more."""
    running = ["ps", "--quiet", "--filter", f"ancestor={image}"]
    process = subprocess.Popen(command, env=env, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: docker(*running), "its container runs")
    # Its interpreter has started.
    time.sleep(2)
    began = perf_counter()
    process.send_signal(signal.SIGINT)
    while docker(*running):
        time.sleep(0.01)
    took = perf_counter() - began
    process.wait()
    return took


def repeated(contenders: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Return the measurements of each, taken in turns."""
    found: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        for name, measure in contenders.items():
            found.setdefault(name, []).append(measure())
    return found


def main(target: Path) -> None:
    """Measure, and write the page."""
    settings = docker_settings()
    tag, image = settings["BULKHEAD_TAG"], f"bulkhead-{TEAM}:{settings['BULKHEAD_TAG']}"
    (engine,) = docker("version", "--format", "{{.Server.Version}}")
    page = Page(HEAD.format(repeats=REPEATS, machine=machine(), engine=engine))
    with TemporaryDirectory(prefix="bulkhead-bench-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        for name, steps in {"chain": SHORT, "long": LONG, "alone": ALONE, "waits": WAITS}.items():
            write_project(folder / name, steps)
        # One image holds all programs.
        build_image(folder / "chain" / "workloads" / TEAM, tag)
        for name in ("chain", "alone"):
            run_bulkhead(folder / name, **settings)
        steps = repeated(
            {
                BARE: lambda: bare(image, folder / "bare", HARDENED),
                BRIDGED: lambda: bare(image, folder / "bridged", ()),
                READY: lambda: run_bulkhead(folder / "chain", **settings) / COUNT,
                NEW: lambda: run_bulkhead(folder / "alone", **settings),
                STOCK: lambda: run_stock(SHORT, "in_process", 1, image) / COUNT,
            }
        )
        page.table("A step of fibo(10)", steps, BARE)
        steps = repeated(
            {
                BARE: lambda: bare(image, folder / "bare", HARDENED, LONG),
                READY: lambda: run_bulkhead(folder / "long", **settings) / COUNT,
                STOCK: lambda: run_stock(LONG, "in_process", 1, image) / COUNT,
            }
        )
        page.table("A step of fibo(33)", steps, BARE)
        less = median(steps[BARE]) - median(steps[READY])
        page.lines.append(
            f"A step takes {less * 1000:.0f} ms less than the bare command: its container is there already.\n"
        )
        spec = {"steps": WAITS.named(), "executor": "in_process", "slots": 1, "image": image}
        stock = [sys.executable, "-m", "tests.bench.stock", json.dumps(spec), str(folder / "ignored.json")]
        own = [str(BULKHEAD), "run", JOB, "--json"]
        ended = repeated(
            {
                "Bulkhead": lambda: cancelled(own, environment(folder / "waits", **settings), image),
                "stock": lambda: cancelled(stock, None, image),
            }
        )
        page.table("From the interrupt until the container is gone", ended, "Bulkhead")
        left = docker("ps", "--all", "--quiet", "--filter", f"ancestor={image}")
        page.lines.append(f"After all of this {len(left)} containers were left on the engine, all of them stock's.\n")
        assert not docker("ps", "--all", "--quiet", "--filter", f"ancestor={image}", "--filter", "label=bulkhead.home")
        docker("rm", "--force", *left)
    target.write_text(page.text(), encoding="utf-8")
    print(page.text())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
