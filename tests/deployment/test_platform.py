"""What `make` says where the platform in containers cannot be brought up, and what it declares."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY

COMPOSE: Any = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
ENVIRONMENTS = sorted((REPOSITORY / "deployment" / "env").glob("*.env"))
TEAMS = sorted(path.parent.name for path in (REPOSITORY / "workloads").glob("*/defs.yaml"))


def make(path: str, *words: str) -> "subprocess.CompletedProcess[str]":
    env = {"PATH": path, "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(["make", *words], cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Return a folder with the commands that `make` needs, and no docker."""
    for name in ("sh", "make", "ls", "cut", "sed", "paste", "tail", "dirname", "env"):
        found = subprocess.run(["sh", "-c", f"command -v {name}"], capture_output=True, text=True).stdout.strip()
        (tmp_path / name).symlink_to(found)
    return tmp_path


def test_without_docker_make_says_what_is_missing_and_what_runs_without_it(tools: Path) -> None:
    done = make(str(tools))
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        "bulkhead: the platform in containers needs Docker, and there is no docker command. Install Docker Engine and its "
        "compose plugin, or run without: make demo"
    )


def test_without_an_engine_make_says_why_none_answers(tools: Path) -> None:
    docker = tools / "docker"
    docker.write_text("#!/bin/sh\necho 'the daemon is asleep' >&2\nexit 1\n")
    docker.chmod(0o755)
    done = make(str(tools))
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        "bulkhead: no Docker engine answers: the daemon is asleep. Start it, or run without: make demo"
    )


def test_an_environment_that_is_not_known_is_refused_with_those_that_are(tools: Path) -> None:
    done = make(str(tools), "ENV=test")
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == "bulkhead: there is no deployment/env/test.env. Known: dev prod uat"


def test_every_team_has_a_code_server_that_the_workspace_names() -> None:
    workspace = yaml.safe_load((REPOSITORY / "deployment" / "docker" / "workspace.yaml").read_text())
    servers = {one["grpc_server"]["location_name"]: one["grpc_server"] for one in workspace["load_from"]}
    assert sorted(servers) == TEAMS
    assert {team: server["host"] for team, server in servers.items()} == {team: f"code-{team}" for team in TEAMS}
    for team in TEAMS:
        assert COMPOSE["services"][f"code-{team}"]["command"][-2:] == ["-a", team]


def test_services_of_the_platform_are_on_no_network_of_workloads() -> None:
    on_data = [name for name, service in COMPOSE["services"].items() if "data" in (service.get("networks") or [])]
    assert on_data == ["data-network"]
    assert COMPOSE["services"]["data-network"]["command"] == ["true"]
    assert COMPOSE["networks"]["database"]["internal"] is COMPOSE["networks"]["engine"]["internal"] is True


def test_only_the_proxy_is_given_the_socket() -> None:
    holding = [name for name, service in COMPOSE["services"].items() if ".sock" in str(service.get("volumes"))]
    assert holding == ["engine-proxy"]


@pytest.mark.parametrize("file", ENVIRONMENTS, ids=lambda path: path.stem)
def test_an_environment_sets_what_compose_reads_and_no_secret(file: Path) -> None:
    settings = dict(line.split("=", 1) for line in file.read_text().splitlines() if line and not line.startswith("#"))
    read = set(re.findall(r"\$\{([A-Z_]+)", (REPOSITORY / "docker-compose.yml").read_text()))
    assert set(settings) <= read
    assert settings["PROJECT"] == f"bulkhead-{file.stem}"
    assert settings["BIND"] == "127.0.0.1"
    assert not any(word in name for name in settings for word in ("PASSWORD", "SECRET", "TOKEN"))


def test_each_environment_is_a_platform_of_its_own() -> None:
    texts = [file.read_text() for file in ENVIRONMENTS]
    assert [file.stem for file in ENVIRONMENTS] == ["dev", "prod", "uat"]
    assert len({re.findall(r"^PROJECT=(.*)$", text, re.M)[0] for text in texts}) == len(texts)
