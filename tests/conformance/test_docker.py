"""What holds in containers alone: what a workload can reach from inside, what is on the engine, and what is left there."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.suite import DOCKER, nothing_is_left, settings_of
from tests.conftest import BULKHEAD, REPORT, Project, one_step, wait_for, workload
from tests.containers import containers_of, docker

pytestmark = pytest.mark.engine
HANGS = "print('here', flush=True)\ntime.sleep(600)"
TELLS = "Path(os.environ['BULKHEAD_STORE_OWN'], 'found').write_text(json.dumps(found))\n" + REPORT


@pytest.fixture
def contained(project: Project) -> Iterator[Project]:
    project.environment |= settings_of(DOCKER)
    yield project
    project.close()


def found(project: Project, team: str = "team") -> dict[str, Any]:
    """Return what a workload wrote down."""
    written: dict[str, Any] = json.loads((project.home / "stores" / team / "own" / "found").read_text())
    return written


def alone(project: Project, body: str, **contract: Any) -> None:
    project.team("team", [one_step("it", workload(body), timeout="3m")], **{"stores": {"own": "rw"}, **contract})


def running_container(project: Project) -> str:
    """Wait until a workload's container runs, and return its id."""
    (container,) = wait_for(lambda: containers_of(project.home, "--filter", "status=running"), "a container runs")
    return str(container)


PROBE = """
import socket
def tried(act):
    try:
        return str(act())
    except OSError as error:
        return error.strerror
def write(path):
    return lambda: Path(path).write_text('x')
status = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())
found = {
    'user': os.getuid(), 'groups': os.getgroups(),
    'capabilities': [int(status[name], 16) for name in ('CapEff', 'CapPrm', 'CapBnd', 'CapAmb')],
    'new privileges': status['NoNewPrivs'].strip(),
    'networks': [name for _, name in socket.if_nameindex()],
    'route': tried(lambda: socket.create_connection(('192.0.2.1', 80), 2)),
    'sockets': [path for path in ('/var/run/docker.sock', '/run/docker.sock', '/run/containerd') if os.path.exists(path)],
    'root': tried(write('/x')), 'etc': tried(write('/etc/x')), 'app': tried(write('/app/x')), 'tmp': tried(write('/tmp/x')),
    'proc': tried(write('/proc/sys/kernel/hostname')), 'cgroup': tried(write('/sys/fs/cgroup/x')),
    'init': [tried(lambda name=name: os.listdir(f'/proc/1/{name}')) for name in ('fd',)] + [tried(lambda: open('/proc/1/environ').read())],
    'own process': os.getppid(),
    'devices': sorted(set(os.listdir('/dev')) & {'kmsg', 'mem', 'sda', 'vda', 'fuse', 'kvm'}),
    'environment': sorted(os.environ),
    'home': {name: sorted(os.listdir(HOME / name)) for name in sorted(os.listdir(HOME))},
    'memory': os.environ.get('HOME'),
}
"""


def test_from_inside_a_container_nothing_can_be_reached_that_the_contract_does_not_name(contained: Project) -> None:
    alone(contained, f"HOME = Path({str(contained.home)!r})\n{PROBE}\n{TELLS}")
    contained.team("other", [one_step("that", workload())], stores={"secret": "rw"})
    ran = contained.run("other_job", "team_job", PLATFORM_PASSWORD="hunter2")
    assert ran.code == 0, ran.events
    seen = found(contained)
    assert seen["user"] != 0 and 0 not in seen["groups"]
    assert (seen["capabilities"], seen["new privileges"]) == ([0, 0, 0, 0], "1")
    assert (seen["networks"], seen["route"], seen["sockets"]) == (["lo"], "Network is unreachable", [])
    refused = "Read-only file system"
    assert (seen["root"], seen["etc"], seen["app"], seen["tmp"]) == (refused, refused, refused, "1")
    assert seen["proc"] == refused and seen["cgroup"] in (refused, "Permission denied")
    assert seen["init"] == ["Permission denied", "Permission denied"]
    assert (seen["own process"], seen["devices"]) == (1, [])
    assert not [
        name for name in seen["environment"] if "PASSWORD" in name or "DAGSTER_HOME" in name or "DOCKER" in name
    ]
    steps = seen["home"].pop("steps")
    assert (seen["home"], len(steps)) == ({"stores": ["team"]}, 1)


def test_stores_and_datasets_are_mounted_with_the_mode_they_were_declared_with(contained: Project) -> None:
    publish = f"Path(os.environ['BULKHEAD_PUBLISH_NUMBERS'], 'n').write_text('1')\n{REPORT}"
    contained.team("makers", [one_step("numbers", workload(publish))], publishes=["numbers"])
    body = f"""
        def tried(path):
            try:
                return str((path / 'x').write_text('x'))
            except OSError as error:
                return error.strerror
        names = ('STORE_OWN', 'STORE_SEEN', 'DATASET_NUMBERS')
        found = {{name: tried(Path(os.environ[f'BULKHEAD_{{name}}'])) for name in names}}
        found['read'] = Path(os.environ['BULKHEAD_DATASET_NUMBERS'], 'n').read_text()
        Path(os.environ['BULKHEAD_STORE_OWN'], 'found').write_text(json.dumps(found))
        {REPORT}
    """
    step = one_step("reader", workload(body), deps=["numbers"])
    contained.team("readers", [step], reads=["numbers"], stores={"own": "rw", "seen": "ro"})
    assert contained.run("makers_job", "readers_job").code == 0
    refused = "Read-only file system"
    assert found(contained, "readers") == {
        "STORE_OWN": "1", "STORE_SEEN": refused, "DATASET_NUMBERS": refused, "read": "1",
    }  # fmt: skip


def test_the_engine_shows_no_secret_no_command_and_no_variable_of_a_step(contained: Project) -> None:
    contract = {"secrets": ["TOKEN", "KEY"], "secret_variables": ["KEY"], "env": ["ROWS"]}
    alone(
        contained, f"assert os.environ['KEY'] and os.environ['TOKEN_FILE'] and os.environ['ROWS']\n{HANGS}", **contract
    )
    running = contained.start("team_job", TOKEN="hunter2222", KEY="hunter3333", ROWS="rows-4444")
    running.until("STEP_START")
    container = running_container(contained)
    told = subprocess.run(["docker", "inspect", container], stdout=subprocess.PIPE, text=True, check=True).stdout
    running.process.send_signal(signal.SIGINT)
    running.end()
    assert not [word for word in ("hunter2222", "hunter3333", "rows-4444", "it.py") if word in told]
    labels = json.loads(told)[0]["Config"]["Labels"]
    assert {name: labels[f"bulkhead.{name}"] for name in ("team", "step", "attempt")} == {
        "team": "team", "step": "it", "attempt": "1",
    }  # fmt: skip
    assert len(labels["bulkhead.contract"]) == 16 and len(labels["bulkhead.run"]) == 36
    assert json.loads(told)[0]["Name"].startswith(f"/bulkhead-team-it-{labels['bulkhead.run'][:8]}-")
    assert nothing_is_left(contained)


def test_the_image_that_ran_is_on_record_by_its_id(contained: Project) -> None:
    alone(contained, REPORT)
    (made,) = contained.run("team_job").named("ASSET_MATERIALIZATION")
    (image,) = docker("image", "inspect", "--format", "{{.Id}}", f"bulkhead-team:{contained.tag}")
    assert made["metadata"]["bulkhead/environment"] == image


def test_a_failure_names_the_image_and_a_command_that_runs_it_by_hand(contained: Project) -> None:
    alone(contained, "raise SystemExit(3)")
    text = contained.run("team_job").error("it")
    (image,) = docker("image", "inspect", "--format", "{{.Id}}", f"bulkhead-team:{contained.tag}")
    assert f"image      team ({image})" in text
    command = text.rpartition("reproduce it by hand:\n  ")[2].strip()
    assert command.startswith("docker run --rm --user ") and command.endswith(
        f"bulkhead-team:{contained.tag} python it.py"
    )


def test_an_image_that_is_missing_is_the_infrastructures_fault_and_tried_again(contained: Project) -> None:
    alone(contained, REPORT, image="never-built")
    ran = contained.run("team_job")
    assert len(ran.named("STEP_RESTARTED", step="it")) == 2
    assert ran.error("it").splitlines()[0] == (
        f"infrastructure: the image bulkhead-never-built:{contained.tag} of team team is not on the engine, and "
        "BULKHEAD_PULL=never forbids to pull it. Build it: make -f Makefile_dev.txt build IMAGE=never-built. Or set "
        "BULKHEAD_REGISTRY and BULKHEAD_TAG."
    )


def test_a_command_that_the_image_does_not_have_is_the_contracts_fault(contained: Project) -> None:
    contained.team("team", [{**one_step("it", workload()), "run": ["no-such-program"]}])
    ran = contained.run("team_job")
    assert ran.error("it").splitlines()[0] == (
        f"contract violated: the command could not be executed in the image bulkhead-team:{contained.tag}: "
        "no-such-program: No such file or directory"
    )
    assert ran.named("STEP_RESTARTED") == []


def test_a_container_that_is_removed_from_outside_is_a_lost_process_and_tried_again(contained: Project) -> None:
    again = "again = Path(os.environ['BULKHEAD_STORE_OWN'], 'again')"
    alone(contained, f"{again}\nif not again.exists():\n    again.touch()\n    time.sleep(600)\n{REPORT}")
    running = contained.start("team_job")
    running.until("STEP_START")
    container = running_container(contained)
    wait_for((contained.home / "stores" / "team" / "own" / "again").exists, "the workload runs")
    docker("rm", "--force", container)
    ran = running.end()
    assert (ran.code, len(ran.named("STEP_RESTARTED"))) == (0, 1), ran.events
    assert nothing_is_left(contained)


def test_what_a_killed_run_worker_leaves_on_the_engine_is_collected(contained: Project) -> None:
    alone(contained, HANGS)
    running = contained.start("team_job")
    running.until("STEP_START")
    container = running_container(contained)
    running.process.kill()
    running.end()
    wait_for(lambda: not containers_of(contained.home, "--filter", "status=running"), "the workload ends by itself")
    done = subprocess.run(
        [BULKHEAD, "collect"], env=contained.variables(), stdout=subprocess.PIPE, text=True, check=True
    )
    assert "had lost its run worker; removed" in done.stdout
    assert container not in containers_of(contained.home)
    assert nothing_is_left(contained)


def test_the_container_of_a_failed_step_is_kept_as_long_as_asked(contained: Project) -> None:
    steps = [one_step("fails", workload("print('hello')\nraise SystemExit(3)")), one_step("works", workload())]
    contained.team("team", steps)
    contained.run("team_job", BULKHEAD_KEEP_FAILED="600")
    (kept,) = containers_of(contained.home)
    assert docker("logs", kept) == ["hello"]
    subprocess.run([BULKHEAD, "collect"], env=contained.variables(), check=True, stdout=subprocess.DEVNULL)
    assert containers_of(contained.home) == [kept]


def test_many_runs_one_after_another_and_at_once_leave_nothing(contained: Project) -> None:
    for number in range(8):
        steps = [one_step(f"{name}{number}", workload(), deps=[f"a{number}"] if name == "b" else []) for name in "ab"]
        contained.team(f"team{number}", steps)
    contained.patience = 280
    assert contained.run(*["team0_job"] * 20).code == 0
    started = [contained.start(f"team{number}_job") for number in range(8)]
    assert [one.end().code for one in started] == [0] * 8
    assert nothing_is_left(contained)


def test_a_step_takes_the_container_that_was_made_ready_while_the_one_before_it_ran(contained: Project) -> None:
    body = f"found = {{'own': os.environ['HOSTNAME']}}\ntime.sleep(3)\n{REPORT}"
    contained.team("team", [one_step("a", workload(body)), one_step("b", workload(body), deps=["a"])])
    running = contained.start("team_job")
    running.until("STEP_START", step="a")
    one = running_container(contained)
    (ready,) = wait_for(lambda: [c for c in containers_of(contained.home) if c != one], "one is made ready")
    label = '{{index .Config.Labels "bulkhead.step"}}'
    assert docker("inspect", "--format", label, ready) == ["b"]
    running.until("STEP_START", step="b")
    wait_for(lambda: containers_of(contained.home) == [ready], "the step runs in it")
    assert running.end().code == 0
    assert nothing_is_left(contained)


def test_a_step_that_may_reach_machines_is_on_a_network_where_no_other_step_answers(contained: Project) -> None:
    body = "import socket\nfound = {'names': sorted(name for _, name in socket.if_nameindex())}\n"
    network = f"bulkhead-test-{contained.tag}"
    contained.environment["BULKHEAD_DOCKER_NETWORK"] = network
    alone(contained, body + TELLS, network="data")
    try:
        ran = contained.run("team_job")
        assert ran.code == 0, ran.events
        assert found(contained)["names"] == ["eth0", "lo"]
    finally:
        docker("network", "rm", network)


def test_the_home_may_be_read_by_the_platform_after_a_workload_of_another_user_wrote_there(contained: Project) -> None:
    alone(contained, f"Path(os.environ['BULKHEAD_STORE_OWN'], 'x').write_text('1')\n{REPORT}")
    store = contained.home / "stores" / "team" / "own"
    store.mkdir(parents=True)
    (store / "from before").touch(mode=0o600)
    assert contained.run("team_job").code == 0
    assert Path(store / "x").read_text() == "1"
    assert (store / "from before").stat().st_uid == (store / "x").stat().st_uid
