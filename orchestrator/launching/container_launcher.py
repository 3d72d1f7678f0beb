"""Starts each run in a container of its own, from the image that the platform itself runs in."""

import os
from collections.abc import Mapping
from typing import Any

from dagster import Field, StringSource
from dagster_docker import DockerRunLauncher
from docker.types import LogConfig

from orchestrator.contract.units import parse_memory
from orchestrator.execution.dagster_internals import ConfigurableClassData, LaunchRunContext
from orchestrator.launching.coordinator import put_back
from orchestrator.settings import read_settings

CREDENTIALS, SECRETS = "/run/credentials", "/run/workload-secrets"
# What a run worker is told of the platform's environment, beside the platform's own variables.
PASSED_ON = ("DAGSTER_HOME", "DOCKER_HOST")
# Longer than a step has between INT and KILL.
STOP_SECONDS = 20
PIDS = 4096


class ContainerRunLauncher(DockerRunLauncher):
    """Dagster's launcher for containers, with the volumes, limits and fences that run workers of the platform have.

    Configured with names, which may come from the environment: the image, the networks of the database and of the
    engine, the volumes with the state, the credentials of the database and the secrets of the workloads, and limits.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None, **config: Any) -> None:
        super().__init__(
            inst_data=inst_data,
            image=config["image"],
            networks=config["networks"],
            env_vars=environment(os.environ),
            container_kwargs=worker_container(config),
        )

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        names = ("image", "home", "credentials", "secrets", "memory", "cpus")
        return {**{name: Field(StringSource) for name in names}, "networks": Field([StringSource])}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "ContainerRunLauncher":
        return cls(inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        if not put_back(self._instance, context.dagster_run):
            super().launch_run(context)


def environment(variables: Mapping[str, str]) -> list[str]:
    """Return the variables that a run worker is given."""
    return sorted(name for name in variables if name.startswith("BULKHEAD_") or name in PASSED_ON)


def worker_container(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the Docker SDK is told of a run worker's container, beside image, command and networks."""
    return {
        "auto_remove": True,
        "init": True,
        "read_only": True,
        "tmpfs": {"/tmp": "rw,nosuid,nodev,mode=1777,size=256m"},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": parse_memory(config["memory"]),
        "nano_cpus": int(float(config["cpus"]) * 1e9),
        "pids_limit": PIDS,
        "log_config": LogConfig(type="json-file", config={"max-size": "10m", "max-file": "2"}),
        "volumes": {
            config["home"]: {"bind": str(read_settings().home), "mode": "rw"},
            config["credentials"]: {"bind": CREDENTIALS, "mode": "ro"},
            config["secrets"]: {"bind": SECRETS, "mode": "ro"},
        },
        "stop_timeout": STOP_SECONDS,
    }
