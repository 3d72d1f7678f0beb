"""The `bulkhead` command: check, run, doctor, collect, ui."""

import sys
from typing import Any

import click

from orchestrator.errors import BulkheadError

EX_USAGE, EX_INTERRUPTED = 64, 130


class _Group(click.Group):
    """Prints the platform's own errors as they are, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BulkheadError as error:
            click.echo(f"bulkhead: {error}", err=True)
            sys.exit(EX_USAGE)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Bulkhead: run and check workloads that never enter the orchestrator."""


@main.command()
@click.argument("team", required=False)
def check(team: str | None) -> None:
    """Check contracts, environments and the boundary; exit 1 if anything is wrong."""
    from orchestrator.cli.check import check_platform

    sys.exit(0 if check_platform(team) else 1)


@main.command()
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@click.option("--config", metavar="FILE|YAML", help="Run configuration: a YAML file, or YAML (or JSON) itself.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON event a line.")
@click.option("--partition", metavar="KEY", help="The partition to run.")
def run(jobs: tuple[str, ...], config: str | None, as_json: bool, partition: str | None) -> None:
    """Run jobs one after another, with live progress; exit 0 only if every run succeeded."""
    from orchestrator.cli.run import run_jobs

    sys.exit(run_jobs(jobs, config, as_json, partition))


@main.command()
def doctor() -> None:
    """Say what this machine can do."""
    from orchestrator.cli.doctor import examine

    examine()


@main.command()
@click.option("--every", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Go on until stopped.")
def collect(every: float | None) -> None:
    """Remove what killed run workers left: step folders, processes, containers."""
    from orchestrator.cli.collect import collect_leftovers

    collect_leftovers(every)


@main.command()
@click.option("--port", default=3000, show_default=True, help="Port on 127.0.0.1.")
def ui(port: int) -> None:
    """Start webserver and daemon on 127.0.0.1."""
    from orchestrator.cli.ui import serve

    serve(port)
