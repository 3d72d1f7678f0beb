"""Steps on stock Dagster: `python -m tests.bench.stock SPEC FILE` writes when its steps started and ended, in JSON.

SPEC is JSON: `steps` (name, command, dependencies), `executor` (in_process or multiprocess) and `slots`; with `image`, steps
run in containers of it, with Dagster's own client for Docker.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import dagster as dg

from tests.bench.jobs import ENVIRONMENT, PROGRAMS

SPEC = "BENCH_SPEC"


def asset(name: str, command: list[str], deps: list[str]) -> dg.AssetsDefinition:
    """Return an asset that runs a command with Dagster's own client."""

    @dg.asset(name=name, deps=deps)
    def made(context: dg.AssetExecutionContext, client: dg.PipesSubprocessClient) -> Any:
        program = [str(ENVIRONMENT / "bin" / "python"), *command[1:]]
        return client.run(command=program, context=context, cwd=str(PROGRAMS)).get_results()

    return made


def containerized(name: str, command: list[str], deps: list[str], image: str) -> dg.AssetsDefinition:
    """Return an asset that runs a command in a container with Dagster's own client."""
    from dagster_docker import PipesDockerClient

    @dg.asset(name=name, deps=deps)
    def made(context: dg.AssetExecutionContext) -> Any:
        return PipesDockerClient().run(context=context, image=image, command=command).get_results()

    return made


def definitions() -> dg.Definitions:
    """Return the definitions of the specification in the environment, where subprocesses find it."""
    spec = json.loads(os.environ[SPEC])
    executor = (
        dg.in_process_executor
        if spec["executor"] == "in_process"
        else dg.multiprocess_executor.configured({"max_concurrent": spec["slots"]})
    )
    return dg.Definitions(
        assets=[containerized(*step, spec["image"]) if spec.get("image") else asset(*step) for step in spec["steps"]],
        jobs=[dg.define_asset_job("job", executor_def=executor)],
        resources={"client": dg.PipesSubprocessClient()},
    )


def job() -> dg.JobDefinition:
    return definitions().resolve_job_def("job")


if SPEC in os.environ:
    # What `dagster dev -m tests.bench.stock` loads.
    defs = definitions()


def main() -> None:
    os.environ[SPEC] = sys.argv[1]
    from tests.bench.stock import job as importable

    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
        with dg.DagsterInstance.from_config(home) as instance:
            done = dg.execute_job(dg.reconstructable(importable), instance=instance)
            if not done.success:
                sys.exit(1)
            records = instance.all_logs(done.run_id)
    kinds = {kind: [r.timestamp for r in records if r.dagster_event and r.dagster_event.event_type_value == kind]
             for kind in ("STEP_START", "STEP_SUCCESS")}  # fmt: skip
    Path(sys.argv[2]).write_text(json.dumps([kinds["STEP_START"], kinds["STEP_SUCCESS"]]), encoding="utf-8")


if __name__ == "__main__":
    main()
