"""What a run worker's container is created with."""

from typing import Any

import dagster as dg
import pytest
import yaml
from dagster_docker import DockerRunLauncher

from orchestrator.launching.container_launcher import ContainerRunLauncher, environment, worker_container
from tests.conftest import REPOSITORY

CONFIG = {
    "image": "bulkhead-orchestrator:1",
    "networks": ["here_database", "here_engine"],
    "home": "here_home",
    "credentials": "here_credentials",
    "secrets": "here_secrets",
    "memory": "1Gi",
    "cpus": "1.5",
}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_HOME", "/var/lib/bulkhead")


def test_a_run_worker_writes_to_the_state_and_reads_credentials_and_secrets() -> None:
    assert worker_container(CONFIG)["volumes"] == {
        "here_home": {"bind": "/var/lib/bulkhead", "mode": "rw"},
        "here_credentials": {"bind": "/run/credentials", "mode": "ro"},
        "here_secrets": {"bind": "/run/workload-secrets", "mode": "ro"},
    }


def test_a_run_worker_is_fenced_and_goes_when_it_ends() -> None:
    made = worker_container(CONFIG)
    assert (made["auto_remove"], made["init"], made["read_only"]) == (True, True, True)
    assert (made["cap_drop"], made["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert (made["mem_limit"], made["nano_cpus"], made["pids_limit"]) == (1 << 30, 1_500_000_000, 4096)


def test_of_the_environment_it_is_given_the_platforms_own_and_where_the_engine_is() -> None:
    variables = {
        "BULKHEAD_HOME": "",
        "BULKHEAD_TAG": "",
        "DAGSTER_HOME": "",
        "DOCKER_HOST": "",
        "PGPASSWORD": "",
        "A": "",
    }
    assert environment(variables) == ["BULKHEAD_HOME", "BULKHEAD_TAG", "DAGSTER_HOME", "DOCKER_HOST"]


def test_the_instance_of_the_platform_in_containers_starts_runs_this_way(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = yaml.safe_load((REPOSITORY / "deployment" / "docker" / "dagster.yaml").read_text())["run_launcher"]
    assert (instance["module"], instance["class"]) == (ContainerRunLauncher.__module__, ContainerRunLauncher.__name__)
    for name, value in (("IMAGE", "i:1"), ("DATABASE", "d"), ("ENGINE", "e"), ("MEMORY", "1Gi"), ("CPUS", "1")):
        monkeypatch.setenv(f"BULKHEAD_WORKER_{name}", value)
    for name in ("HOME", "CREDENTIALS", "SECRETS"):
        monkeypatch.setenv(f"BULKHEAD_WORKER_{name}", name.lower())
    with dg.instance_for_test(overrides={"run_launcher": instance}) as made:
        launcher: Any = made.run_launcher
        assert isinstance(launcher, DockerRunLauncher)
        assert (launcher.image, launcher.networks) == ("i:1", ["d", "e"])
        assert set(launcher.container_kwargs["volumes"]) == {"home", "credentials", "secrets"}
