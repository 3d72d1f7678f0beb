"""A contract's assets, checks, jobs and schedules as Dagster definitions."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster.components.resolved.core_models import resolve_backfill_policy

from orchestrator.contract.model import Contract, Step
from orchestrator.execution.fingerprints import code_version
from orchestrator.execution.platform import Platform
from orchestrator.execution.run_state import THIN
from orchestrator.execution.step import run_step
from orchestrator.execution.threads import thread_executor
from orchestrator.graph.specs import asset_spec, check_spec
from orchestrator.graph.thin import thin_definition


def build_definitions(platform: Platform, contract: Contract, resolution: dg.ResolutionContext) -> dg.Definitions:
    """Return the definitions of one team; jobs run on the thread executor."""
    own = dg.AssetSelection.assets(*[dg.AssetKey.from_user_string(key) for key in contract.asset_keys()])
    jobs = {name: _job(contract, name, own) for name in contract.jobs}
    version = code_version(platform.settings, contract)
    return dg.Definitions(
        assets=[thin_asset(platform, contract, step, resolution, version) for step in contract.steps],
        jobs=list(jobs.values()),
        schedules=list(_schedules(contract, jobs)),
        executor=thread_executor,
    )


def thin_asset(
    platform: Platform, contract: Contract, step: Step, resolution: dg.ResolutionContext, version: str | None
) -> dg.AssetsDefinition:
    """Return a step as an asset whose body is one expression: run the workload, yield what it reports.

    `version` is the code version of assets that the contract gives none.
    """

    def asset(context: dg.AssetExecutionContext) -> Iterator[Any]:
        yield from run_step(context, platform, contract, step)

    return thin_definition(
        asset,
        name=step.name,
        specs=[asset_spec(contract, step, asset, resolution, version) for asset in step.assets],
        check_specs=[check_spec(check, resolution) for check in step.checks],
        description=step.description,
        config_schema={name: _variable_field(name) for name in contract.env},
        retry_policy=_retry_policy(step),
        pool=step.pool,
        backfill_policy=resolve_backfill_policy(resolution, step.backfill_policy),
        op_tags={THIN: contract.team},
    )


def _variable_field(name: str) -> dg.Field:
    return dg.Field(dg.Any, is_required=False, description=f"Overrides the environment variable {name} of this step.")


def _retry_policy(step: Step) -> dg.RetryPolicy | None:
    if step.retries is None or step.retries.max == 0:
        return None
    backoff: Mapping[str | None, dg.Backoff | None] = {
        None: None,
        "linear": dg.Backoff.LINEAR,
        "exponential": dg.Backoff.EXPONENTIAL,
    }
    return dg.RetryPolicy(max_retries=step.retries.max, delay=step.retries.delay, backoff=backoff[step.retries.backoff])


def _job(contract: Contract, name: str, own: dg.AssetSelection) -> Any:
    job = contract.jobs[name]
    chosen = own if job.selection == "*" else dg.AssetSelection.from_string(job.selection) & own
    return dg.define_asset_job(
        name, selection=chosen, description=job.description, tags=job.tags, executor_def=thread_executor
    )


def _schedules(contract: Contract, jobs: Mapping[str, Any]) -> Iterator[dg.ScheduleDefinition]:
    for name, schedule in contract.schedules.items():
        yield dg.ScheduleDefinition(
            name=name,
            job=jobs[schedule.job],
            cron_schedule=schedule.cron,
            execution_timezone=schedule.timezone,
            description=schedule.description,
        )
