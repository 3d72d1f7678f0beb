"""The platform in containers, from nothing to nothing: it runs both teams' jobs, keeps its walls, and comes back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs_engine, wait_for
from tests.end_to_end.browser import needs_chromium
from tests.end_to_end.platform import ENDED, PATIENCE, TERMINATE, Deployed, deployed, docker, inspected, left_of
from tests.end_to_end.screenshots import take_in_containers

pytestmark = [pytest.mark.engine, pytest.mark.postgres, pytest.mark.timeout(900)]
TEAMS = ("etl", "ml", "showcase")
SERVICES = ("postgres", "engine-proxy", *(f"code-{team}" for team in TEAMS), "webserver", "daemon")
VOLUMES = ("credentials", "home", "postgres", "secrets")
# Rows that take etl_job some seconds, and some minutes.
SECONDS, MINUTES = {"ETL_ROWS": 5_000_000}, {"ETL_ROWS": 100_000_000}


@pytest.fixture(scope="module")
def platform() -> Iterator[Deployed]:
    needs_engine()
    with deployed() as made:
        yield made


def test_every_service_is_healthy_and_every_team_has_loaded(platform: Deployed) -> None:
    assert {service: platform.is_well(service) for service in SERVICES} == dict.fromkeys(SERVICES, True)
    wait_for(lambda: platform.locations() == dict.fromkeys(TEAMS, "RepositoryLocation"), "all locations", PATIENCE)


def test_the_ui_listens_on_this_machine_only_and_nothing_else_listens(platform: Deployed) -> None:
    published = {
        one["Config"]["Labels"]["com.docker.compose.service"]: one["NetworkSettings"]["Ports"]
        for one in platform.containers()
        if any((one["NetworkSettings"]["Ports"] or {}).values())
    }
    assert published == {"webserver": {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(platform.port)}]}}


def test_a_job_whose_data_is_missing_fails_at_the_gate_and_starts_no_container(platform: Deployed) -> None:
    status, events = platform.runs("ml", "ml_pipeline_job")
    assert status == "FAILURE"
    assert {one["stepKey"] for one in events if one["__typename"] == "ExecutionStepFailureEvent"} == {"training_set"}
    assert "create bulkhead-ml-" not in platform.compose("logs", "engine-proxy")


def test_both_teams_jobs_run_each_step_in_a_container_of_its_own_and_none_is_left(platform: Deployed) -> None:
    for team, job in (("etl", "etl_job"), ("ml", "ml_pipeline_job")):
        status, events = platform.runs(team, job)
        assert status == "SUCCESS", events
        started = {one["stepKey"] for one in events if one["__typename"] == "ExecutionStepStartEvent"}
        said = platform.compose("logs", "engine-proxy")
        assert len(started) >= 3
        assert all(f"create bulkhead-{team}-{step}-" in said for step in started)
    wait_for(lambda: own(platform) == [], "all containers of runs are gone", PATIENCE)


def own(platform: Deployed, step: str = "") -> list[str]:
    """Return the containers of run workers and steps; of one step, if it is named."""
    filters = [f"label=bulkhead.platform={platform.project}", *([f"label=bulkhead.step={step}"] if step else [])]
    return docker("ps", "-aq", *(word for one in filters for word in ("--filter", one))).split()


@pytest.mark.browser
def test_in_the_ui_a_click_runs_the_jobs_and_live_logs_lineage_checks_and_plot_are_seen(
    platform: Deployed, tmp_path: Path
) -> None:
    needs_chromium()
    take_in_containers(platform, tmp_path)
    names = {"live", "asset", "checks", "failing", "lineage", "log", "model", "plot", "stdout"}
    assert {path.stem for path in tmp_path.glob("*.png")} == names


def test_every_container_is_fenced(platform: Deployed) -> None:
    run = platform.launch("etl", "etl_job")
    found = [*platform.containers(), *wait_for(lambda: platform.workers(run), "the run's worker", PATIENCE)]
    platform.until(run, *ENDED)
    assert len(found) > len(SERVICES)
    for one in found:
        host, name = one["HostConfig"], one["Name"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["Privileged"], name
        assert any(word.startswith("no-new-privileges") for word in host["SecurityOpt"]), name
        assert one["Config"]["User"] not in ("", "0", "root"), name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert host["NanoCpus"] > 0, name
        if host["LogConfig"]["Type"] != "none":
            assert host["LogConfig"]["Config"]["max-size"] == "10m", name


def test_only_the_proxy_holds_the_engines_socket(platform: Deployed) -> None:
    run = platform.launch("etl", "etl_job")
    found = [*platform.containers(), *wait_for(lambda: platform.workers(run), "the run's worker", PATIENCE)]
    platform.until(run, *ENDED)
    holding = {one["Name"] for one in found for mount in one["Mounts"] if mount["Source"].endswith(".sock")}
    assert holding == {platform.service("engine-proxy")["Name"]}


def test_the_databases_password_is_in_no_container_configuration_and_log(platform: Deployed) -> None:
    password = platform.inside("webserver", "print(open('/run/credentials/password').read())").strip()
    run = platform.launch("etl", "etl_job")
    wait_for(lambda: platform.workers(run), "the run's worker", PATIENCE)
    told = [docker("inspect", one["Id"]) for one in platform.containers() if inspected(one["Id"])]
    platform.until(run, *ENDED)
    assert len(password) >= 32
    assert len(told) > len(SERVICES)
    assert [text for text in (*told, platform.compose("config"), platform.compose("logs")) if password in text] == []
    assert password not in platform.inside("webserver", "import os; print(dict(os.environ))")
    assert password not in str(platform.events(run))


REFUSED = """
import docker, sys
from docker.errors import APIError
client, image, said = docker.from_env(), sys.argv[1] if sys.argv[1:] else "{image}", []
def refused(act):
    try:
        act()
    except APIError as error:
        return error.status_code
    return "done"
print([
    refused(lambda: client.containers.create(image, privileged=True)),
    refused(lambda: client.containers.create(image, pid_mode="host")),
    refused(lambda: client.containers.create(image, network_mode="host")),
    refused(lambda: client.containers.create(image, cap_add=["ALL"])),
    refused(lambda: client.containers.create(image, volumes=["/:/host"])),
    refused(lambda: client.containers.create(image, volumes=["/var/run/docker.sock:/s"])),
    refused(lambda: client.containers.create(image, volumes=["{project}_postgres:/x:ro"])),
    refused(lambda: client.containers.create(image, volumes=["{project}_credentials:/x"])),
    refused(lambda: client.api.exec_create("{postgres}", "id")),
    refused(lambda: client.api.kill("{postgres}")),
    refused(lambda: client.api.remove_container("{postgres}", force=True)),
    refused(lambda: client.api.get_archive("{postgres}", "/run/credentials")),
    refused(lambda: client.volumes.list()),
    refused(lambda: client.images.remove(image)),
])
"""


def test_who_may_launch_runs_cannot_have_the_host_or_another_service(platform: Deployed) -> None:
    image, postgres = platform.service("daemon")["Config"]["Image"], platform.service("postgres")["Id"]
    program = REFUSED.format(image=image, project=platform.project, postgres=postgres)
    assert platform.inside("daemon", program).strip() == str([403] * 14)
    assert platform.is_well("postgres")


REACHED = """
import socket
reached = []
for address in {addresses}:
    try:
        socket.create_connection(tuple(address), timeout=2).close()
        reached.append(address)
    except OSError:
        pass
print(reached)
"""


def test_a_workload_on_the_data_network_reaches_no_part_of_the_platform(platform: Deployed) -> None:
    addresses = [
        ["postgres", 5432],
        ["engine-proxy", 2375],
        ["webserver", 3000],
        ["host.docker.internal", platform.port],
    ]
    ports = {"postgres": 5432, "engine-proxy": 2375, "webserver": 3000, "code-etl": 4000}
    for service, port in ports.items():
        for network in platform.service(service)["NetworkSettings"]["Networks"].values():
            addresses.append([network["IPAddress"], port])
    (data,) = [one for one in left_of(platform.project)["networks"] if one.endswith("-data")]
    gateway = docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", data).strip()
    addresses.append([gateway, platform.port])
    image = platform.service("daemon")["Config"]["Image"]
    program = REACHED.format(addresses=addresses)
    assert docker("run", "--rm", "--network", data, image, "python", "-c", program).strip() == "[]"
    # From where it may be reached, it is.
    known = [["postgres", 5432], ["engine-proxy", 2375]]
    assert platform.inside("daemon", REACHED.format(addresses=known)).strip() == str(known)


@pytest.mark.parametrize("service", ["code-etl", "daemon", "webserver", "engine-proxy"])
def test_a_killed_service_comes_back_by_itself(platform: Deployed, service: str) -> None:
    before = platform.service(service)
    platform.kill(before)
    wait_for(lambda: platform.is_well(service, since=before), f"{service} is back", PATIENCE)
    wait_for(lambda: platform.locations() == dict.fromkeys(TEAMS, "RepositoryLocation"), "all locations", PATIENCE)


def test_after_all_that_a_job_runs_as_before(platform: Deployed) -> None:
    assert platform.runs("etl", "etl_job")[0] == "SUCCESS"


def test_a_run_whose_worker_is_killed_is_marked_as_failed(platform: Deployed) -> None:
    run = platform.launch("etl", "etl_job", raw_measurements=MINUTES)
    wait_for(lambda: own(platform, "raw_measurements"), "the long step runs", PATIENCE)
    (worker,) = platform.workers(run)
    docker("kill", "--signal", "KILL", worker["Id"])
    assert platform.until(run, *ENDED) == "FAILURE"
    assert any("Marking run" in one["message"] for one in platform.events(run) if one.get("message"))
    running = ["ps", "-q", "--filter", f"label=bulkhead.platform={platform.project}"]
    wait_for(lambda: docker(*running).split() == [], "nothing of the run goes on", PATIENCE)


def test_a_run_that_is_terminated_is_cancelled_and_its_worker_is_gone(platform: Deployed) -> None:
    run = platform.launch("etl", "etl_job", raw_measurements=MINUTES)
    assert platform.until(run, "STARTED", *ENDED) == "STARTED"
    assert platform.ask(TERMINATE, r=run)["terminateRun"] == {"__typename": "TerminateRunSuccess"}
    assert platform.until(run, *ENDED) == "CANCELED"
    wait_for(lambda: platform.workers(run) == [], "the run's worker is gone", PATIENCE)


def test_a_run_goes_on_when_the_database_restarts_meanwhile(platform: Deployed) -> None:
    run = platform.launch("etl", "etl_job", raw_measurements=SECONDS)
    wait_for(lambda: own(platform, "raw_measurements"), "the long step runs", PATIENCE)
    docker("restart", "--time", "10", platform.service("postgres")["Id"])
    wait_for(lambda: platform.is_well("postgres"), "the database is back", PATIENCE)
    assert ended(platform, run) == "SUCCESS"
    for service in SERVICES:
        wait_for(lambda service=service: platform.is_well(service), f"{service} is well", PATIENCE)


def ended(platform: Deployed, run: str) -> str:
    """Wait for the end of a run, while the webserver may have lost its connection to the database."""

    def status() -> Any:
        try:
            found = platform.status(run)
        except (OSError, TypeError, KeyError):
            return None
        return found if found in ENDED else None

    return str(wait_for(status, "the run has ended", PATIENCE))


def test_down_cancels_runs_and_leaves_volumes_and_up_goes_on_with_them(platform: Deployed) -> None:
    run = platform.launch("etl", "etl_job", raw_measurements=MINUTES)
    wait_for(lambda: own(platform, "raw_measurements"), "the long step runs", PATIENCE)
    done = platform.make("down")
    assert done.returncode == 0, done.stderr
    volumes = [f"{platform.project}_{name}" for name in VOLUMES]
    assert left_of(platform.project) == {"containers": [], "networks": [], "volumes": volumes}
    assert platform.make("up").returncode == 0
    assert platform.status(run) == "CANCELED"
    assert platform.runs("ml", "ml_pipeline_job")[0] == "SUCCESS"


def test_reset_asks_and_then_leaves_nothing(platform: Deployed) -> None:
    asked = platform.make("reset")
    assert asked.returncode != 0
    assert "bulkhead: nothing was removed" in asked.stderr
    assert platform.is_well("webserver")
    assert platform.make("reset", FORCE="1").returncode == 0
    assert left_of(platform.project) == {"containers": [], "networks": [], "volumes": []}
