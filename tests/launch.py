"""Launch a part of a job in this process, as the UI does, and print its events: `python launch.py SPEC --json`."""

import json
import sys
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import create_execution_plan
from dagster._core.snap import snapshot_from_execution_plan

from orchestrator.cli.home import open_instance
from orchestrator.cli.progress import JsonProgress
from orchestrator.cli.run import QUIET
from orchestrator.definitions import team_definitions
from orchestrator.execution.dagster_internals import execute_run_iterator
from orchestrator.execution.platform import load_platform


def launch(team: str, job: str, assets: Any = None, checks: Any = None, tags: Any = None) -> bool:
    """Run the selected assets (keys) and checks ([asset, name]) of a job; return whether the run succeeded."""
    chosen = None if assets is None else frozenset(dg.AssetKey.from_user_string(key) for key in assets)
    judged = None
    if checks is not None:
        judged = frozenset(dg.AssetCheckKey(dg.AssetKey.from_user_string(asset), name) for asset, name in checks)
    with open_instance(load_platform().settings) as instance:
        part = team_definitions(team).resolve_job_def(job)
        if chosen is not None or judged is not None:
            part = part.get_subset(asset_selection=chosen, asset_check_selection=judged)
        plan = create_execution_plan(part, run_config=QUIET, tags=tags or {})
        run = instance.create_run(
            job_name=job,
            run_id=None,
            run_config=QUIET,
            status=None,
            tags=tags,
            root_run_id=None,
            parent_run_id=None,
            step_keys_to_execute=plan.step_keys_to_execute,
            execution_plan_snapshot=snapshot_from_execution_plan(plan, part.get_job_snapshot_id()),
            job_snapshot=part.get_job_snapshot(),
            parent_job_snapshot=part.get_parent_job_snapshot(),
            asset_selection=chosen,
            asset_check_selection=judged,
            resolved_op_selection=None,
            op_selection=None,
            remote_job_origin=None,
            job_code_origin=None,
            asset_graph=part.asset_layer.asset_graph,
        )
        progress = JsonProgress()
        progress.started(run, team, [])
        for event in execute_run_iterator(InMemoryJob(part), run, instance):
            progress.event(event)
        ended = instance.get_run_by_id(run.run_id)
        assert ended is not None
        progress.ended(ended)
        return ended.is_success


if __name__ == "__main__":
    sys.exit(0 if launch(**json.loads(sys.argv[1])) else 1)
