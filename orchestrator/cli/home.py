"""The platform's state on this machine: made on first use, by one process at a time."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from orchestrator.contract.units import format_memory
from orchestrator.errors import HomeError
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance


def prepare_home(settings: Settings) -> None:
    """Make the folders of the platform's state and point Dagster at its own.

    Raises:
        HomeError: the state cannot be written where `BULKHEAD_HOME` says.
    """
    try:
        settings.dagster_home.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(settings.project / "deployment" / "dagster.yaml", settings.dagster_home / "dagster.yaml")
    except OSError as error:
        raise HomeError(f"the state under {settings.home} cannot be written: {error}. Set BULKHEAD_HOME.") from error
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
    os.environ["BULKHEAD_HOME"] = str(settings.home)


@contextmanager
def open_instance(settings: Settings) -> Iterator["DagsterInstance"]:
    """Open the Dagster instance of this home, after sweeping up behind dead run workers."""
    prepare_home(settings)
    from dagster import DagsterInstance
    from sqlalchemy.exc import OperationalError

    from orchestrator.execution.workers import sweep

    # SQLite schemas are made on first use; two processes doing that at once disturb each other.
    with (settings.home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        instance = DagsterInstance.get()
        instance.get_runs_count()
        instance.event_log_storage.get_maximum_record_id()
        instance.schedule_storage.all_instigator_state() if instance.schedule_storage else None
        sweep(instance, settings)
    with instance:
        try:
            yield instance
        except OperationalError as error:
            free = format_memory(psutil.disk_usage(str(settings.home)).free)
            raise HomeError(
                f"the records under {settings.home} cannot be used: {error.orig} ({free} free there)."
            ) from error
