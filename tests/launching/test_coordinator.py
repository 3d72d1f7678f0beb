"""A run that is one too many, whoever decided to launch it, goes back into the queue before it is launched."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster import reconstructable
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from orchestrator.execution.dagster_internals import DagsterEvent
from orchestrator.launching.coordinator import put_back

QUEUE = {"module": "orchestrator.launching.coordinator", "class": "PromptRunCoordinator"}
STOCK_QUEUE = {"module": "dagster.core.run_coordinator", "class": "QueuedRunCoordinator"}
LAUNCHERS = {
    "process": {"module": "orchestrator.launching.launcher", "class": "PrewarmedRunLauncher"},
    "container": {
        "module": "orchestrator.launching.container_launcher",
        "class": "ContainerRunLauncher",
        "config": {
            **dict.fromkeys(("image", "home", "credentials", "secrets"), "any"),
            "memory": "1Gi",
            "cpus": "1",
            "networks": ["any"],
        },
    },
}
STARTING, STARTED, QUEUED = "PIPELINE_STARTING", "PIPELINE_START", "PIPELINE_ENQUEUED"


ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("team"), "repository"), "job")


@dg.job
def job() -> None: ...


def instance_with(most: int, launcher: str = "process", queue: Any = QUEUE) -> Any:
    run_coordinator = {**queue, "config": {"max_concurrent_runs": most}}
    return dg.instance_for_test(overrides={"run_coordinator": run_coordinator, "run_launcher": LAUNCHERS[launcher]})


def make(instance: dg.DagsterInstance, *events: str) -> dg.DagsterRun:
    """Make a run to which this has happened."""
    run = instance.create_run_for_job(
        job, remote_job_origin=ORIGIN, job_code_origin=reconstructable(job).get_python_origin()
    )
    for event in events:
        instance.report_dagster_event(DagsterEvent(event, job.name), run.run_id)
    return found(instance, run)


def found(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
    again = instance.get_run_by_id(run.run_id)
    assert again is not None
    return again


@pytest.fixture(params=LAUNCHERS)
def instance(request: pytest.FixtureRequest) -> Iterator[dg.DagsterInstance]:
    with instance_with(2, request.param) as made:
        yield made


def test_a_run_that_is_one_too_many_is_queued_again_and_not_launched(instance: dg.DagsterInstance) -> None:
    for events in ((STARTING, STARTED), (STARTING,)):
        make(instance, *events)
    run = make(instance, QUEUED)
    # No launcher could do anything without a workspace.
    nothing: Any = None
    instance.launch_run(run.run_id, nothing)
    assert found(instance, run).status is dg.DagsterRunStatus.QUEUED
    said = [entry.message for entry in instance.all_logs(run.run_id)]
    assert "Back into the queue: 2 runs may be in progress, and as many are." in said


def test_a_run_is_launched_as_long_as_no_more_are_in_progress_than_may(instance: dg.DagsterInstance) -> None:
    make(instance, STARTING, STARTED)
    make(instance, QUEUED)
    make(instance, STARTING, STARTED, "PIPELINE_SUCCESS")
    run = make(instance, STARTING)
    assert put_back(instance, run) is False
    assert found(instance, run).status is dg.DagsterRunStatus.STARTING


@pytest.mark.parametrize("queue, most", [(QUEUE, -1), (STOCK_QUEUE, 0)])
def test_without_a_limit_of_ours_no_run_is_put_back(queue: Any, most: int) -> None:
    with instance_with(most, queue=queue) as instance:
        runs = [make(instance, STARTING) for _ in range(3)]
        assert [put_back(instance, run) for run in runs] == [False] * 3
