"""What `bulkhead run` prints: one line an event, a summary at the end."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagster import DagsterEvent, DagsterEventType, DagsterRun
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestrator.contract.units import format_duration
from orchestrator.settings import Settings

ROWS_KEY = "dagster/row_count"
MAX_FACTS = 9


@dataclass
class StepRecord:
    """What is known of one step of one job."""

    job: str
    state: str = "waiting"
    started: float = 0.0
    seconds: float = 0.0
    attempts: int = 0


@dataclass
class AssetRecord:
    """What a step reported of one asset: rows, version, and the metadata worth a line."""

    key: str
    rows: str = ""
    version: str = ""
    facts: list[str] = field(default_factory=list)


class TextProgress:
    """Prints progress for a person."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.console = Console(highlight=False, soft_wrap=True)
        self.steps: dict[tuple[str, str], StepRecord] = {}
        self.assets: list[AssetRecord] = []
        self.checks: list[tuple[str, str, str]] = []
        self.runs: list[DagsterRun] = []

    def started(self, run: DagsterRun, team: str, steps: Sequence[str]) -> None:
        self.runs.append(run)
        for step in steps:
            self._step(step)
        self.console.print(f"\n[bold]{run.job_name}[/bold]  team {team}  run {run.run_id[:8]}")

    def event(self, event: DagsterEvent) -> None:
        line = self._line(event)
        if line:
            self.console.print(line)

    def ended(self, run: DagsterRun) -> None:
        for (run_id, key), record in self.steps.items():
            if run_id == run.run_id and not record.attempts:
                record.state = "[dim]never ran[/dim]"
                self.console.print(f"  [dim]never ran[/dim] {key}")
        colour = "green" if run.is_success else "red"
        self.console.print(f"[bold {colour}]{run.job_name} {run.status.value.lower()}[/bold {colour}]")

    def summary(self, code: int) -> None:
        steps = Table("job", "step", "state", "time", box=None, title="Steps", title_justify="left", pad_edge=False)
        for (_, name), record in self.steps.items():
            shown = format_duration(round(record.seconds, 1)) if record.seconds else ""
            steps.add_row(record.job, name, record.state, shown)
        assets = Table("asset", "rows", "version", "metadata", box=None, title="Assets", title_justify="left")
        for asset in self.assets:
            assets.add_row(asset.key, asset.rows, asset.version, escape("\n".join(asset.facts)))
        checks = Table("asset", "check", "result", box=None, title="Checks", title_justify="left", pad_edge=False)
        for row in self.checks:
            checks.add_row(*row)
        for table, rows in ((steps, self.steps), (assets, self.assets), (checks, self.checks)):
            if rows:
                self.console.print()
                self.console.print(table)
        self._where_next(code)

    def _where_next(self, code: int) -> None:
        datasets = sorted(self.settings.datasets.glob("*/current"))
        self.console.print("\n[bold]Where to look next[/bold]")
        self.console.print("  the UI             make ui   (http://127.0.0.1:3000)")
        for run in self.runs:
            self.console.print(f"  {run.job_name:<18} http://127.0.0.1:3000/runs/{run.run_id}")
        for pointer in datasets:
            version = pointer.read_text(encoding="utf-8").strip()
            self.console.print(f"  dataset            {escape(str(pointer.parent / version))}")
        if code == 0:
            self.console.print("  see failures       .venv/bin/bulkhead run failing_job")

    def _line(self, event: DagsterEvent) -> str | None:
        kind, key = event.event_type, event.step_key
        if key is not None and kind in _STEP_LINES:
            return _STEP_LINES[kind](self._step(key), event)
        if kind is DagsterEventType.ASSET_MATERIALIZATION:
            return self._asset(event)
        if kind is DagsterEventType.ASSET_CHECK_EVALUATION:
            return self._check(event)
        if kind in (DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED) and event.message:
            return f"  {escape(event.message.splitlines()[0])}"
        return None

    def _step(self, key: str) -> StepRecord:
        run = self.runs[-1]
        return self.steps.setdefault((run.run_id, key), StepRecord(run.job_name))

    def _asset(self, event: DagsterEvent) -> str:
        materialization = event.step_materialization_data.materialization
        metadata = materialization.metadata
        asset = AssetRecord(materialization.asset_key.to_user_string())
        if ROWS_KEY in metadata:
            asset.rows = f"{metadata[ROWS_KEY].value:,}"
        asset.version = str((materialization.tags or {}).get("dagster/data_version", ""))[:16]
        asset.facts = list(_facts(metadata))[:MAX_FACTS]
        self.assets.append(asset)
        rows = f"  {asset.rows} rows" if asset.rows else ""
        return f"    asset  {asset.key}{rows}"

    def _check(self, event: DagsterEvent) -> str:
        evaluation = event.asset_check_evaluation_data
        severity = "[red]failed[/red]" if evaluation.severity.value == "ERROR" else "[yellow]warning[/yellow]"
        result = "[green]passed[/green]" if evaluation.passed else severity
        self.checks.append((evaluation.asset_key.to_user_string(), evaluation.check_name, result))
        return f"    check  {evaluation.check_name}  {result}"


class JsonProgress:
    """Prints one JSON object an event, for programs."""

    def __init__(self) -> None:
        self.run: DagsterRun | None = None
        self.waiting: dict[str, None] = {}

    def started(self, run: DagsterRun, team: str, steps: Sequence[str]) -> None:
        self.run, self.waiting = run, dict.fromkeys(steps)
        self._print("RUN_CREATED", team=team)

    def event(self, event: DagsterEvent) -> None:
        more: dict[str, Any] = {"step": event.step_key, "message": event.message}
        if event.event_type is DagsterEventType.STEP_START:
            self.waiting.pop(event.step_key or "", None)
        if event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
            materialization = event.step_materialization_data.materialization
            more["asset"] = materialization.asset_key.to_user_string()
            more["metadata"] = {name: _plain(value) for name, value in materialization.metadata.items()}
        elif event.event_type is DagsterEventType.ASSET_OBSERVATION:
            observation = event.asset_observation_data.asset_observation
            more["asset"] = observation.asset_key.to_user_string()
            more["metadata"] = {name: _plain(value) for name, value in observation.metadata.items()}
        elif event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            more |= {"asset": evaluation.asset_key.to_user_string(), "check": evaluation.check_name}
            more |= {"passed": evaluation.passed, "severity": evaluation.severity.value}
        elif event.event_type in (DagsterEventType.STEP_FAILURE, DagsterEventType.STEP_UP_FOR_RETRY):
            more |= {"error": failure_text(event), "category": failure_category(event)}
        self._print(event.event_type_value, **more)

    def ended(self, run: DagsterRun) -> None:
        for step in self.waiting:
            self._print("STEP_NOT_RUN", step=step, message="never started: a step that it depends on did not succeed")
        self._print("RUN_ENDED", status=run.status.value)

    def summary(self, code: int) -> None:
        sys.stdout.flush()

    def _print(self, event: str, **more: Any) -> None:
        assert self.run is not None
        known = {name: value for name, value in more.items() if value is not None}
        line = {"time": time.time(), "run_id": self.run.run_id, "job": self.run.job_name, "event": event, **known}
        print(json.dumps(line, default=str), flush=True)


def failure_text(event: DagsterEvent) -> str:
    """Return what a failed step says: the platform's own text, or Dagster's."""
    data: Any = event.event_specific_data
    user = getattr(data, "user_failure_data", None)
    if user is not None and user.description:
        return str(user.description)
    error = getattr(data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    text = str(error.message).strip() if error is not None else (event.message or "")
    return text.removeprefix("dagster._core.definitions.events.Failure: ")


def failure_category(event: DagsterEvent) -> str | None:
    """Return the category of a failed step, or None where the platform did not judge it."""
    user = getattr(event.event_specific_data, "user_failure_data", None)
    category = (user.metadata or {}).get("bulkhead/category") if user is not None else None
    return str(category.value) if category is not None else None


def _started(record: StepRecord, event: DagsterEvent) -> str:
    record.state, record.attempts = "running", record.attempts + 1
    record.started = record.started or time.monotonic()
    again = f"  attempt {record.attempts}" if record.attempts > 1 else ""
    return f"  [cyan]>[/cyan] {event.step_key}{again}"


def _succeeded(record: StepRecord, event: DagsterEvent) -> str:
    record.state, record.seconds = "[green]success[/green]", time.monotonic() - record.started
    return f"  [green]ok[/green] {event.step_key}  {format_duration(round(record.seconds, 1))}"


def _failed(record: StepRecord, event: DagsterEvent) -> str:
    record.state, record.seconds = "[red]failure[/red]", time.monotonic() - record.started
    text = "\n".join(f"     {line}" if line else "" for line in failure_text(event).splitlines())
    return f"  [red]failed[/red] {event.step_key}  {format_duration(round(record.seconds, 1))}\n{escape(text)}"


def _retrying(record: StepRecord, event: DagsterEvent) -> str:
    record.state = "[yellow]retrying[/yellow]"
    return f"  [yellow]retry[/yellow] {event.step_key}  {escape(failure_text(event).splitlines()[0])}"


def _skipped(record: StepRecord, event: DagsterEvent) -> str:
    record.state = "skipped"
    return f"  [dim]skipped[/dim] {event.step_key}"


_STEP_LINES = {
    DagsterEventType.STEP_START: _started,
    DagsterEventType.STEP_RESTARTED: _started,
    DagsterEventType.STEP_SUCCESS: _succeeded,
    DagsterEventType.STEP_FAILURE: _failed,
    DagsterEventType.STEP_UP_FOR_RETRY: _retrying,
    DagsterEventType.STEP_SKIPPED: _skipped,
}


def _facts(metadata: Any) -> Iterator[str]:
    """Yield the metadata that fits a line: the workload's own numbers and short texts."""
    for name, value in metadata.items():
        plain = _plain(value)
        own = not name.startswith(("bulkhead/", "dagster/"))
        if own and isinstance(plain, bool | int | float):
            yield f"{name} = {plain:.9g}" if isinstance(plain, float) else f"{name} = {plain}"
        elif own and isinstance(plain, str) and len(plain) <= 40 and "\n" not in plain:
            yield f"{name} = {plain}"


def _plain(value: Any) -> Any:
    plain = getattr(value, "value", None)
    if isinstance(plain, str) and len(plain) > 2000:
        return f"{plain[:100]}... ({len(plain)} characters)"
    return plain if isinstance(plain, str | int | float | bool | None | list | dict) else str(plain)
