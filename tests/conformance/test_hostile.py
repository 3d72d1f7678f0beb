"""Workloads that turn against what holds them."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.suite import PLAIN, SANDBOXED, nothing_is_left, settings_of
from tests.conftest import REPORT, Project, one_step, workload

ENDS = {"timeout": "3s"}


@pytest.fixture
def sandboxed(project: Project) -> Project:
    project.environment |= settings_of(SANDBOXED)
    return project


@pytest.fixture
def plain(project: Project) -> Project:
    project.environment |= settings_of(PLAIN)
    return project


def alone(project: Project, body: str, **contract: object) -> None:
    project.team("team", [one_step("it", workload(body), **ENDS)], **contract)


@pytest.mark.parametrize("number", ["SIGKILL", "SIGSTOP"])
def test_a_workload_that_kills_or_stops_its_parent_in_a_sandbox_does_not_end_green(
    sandboxed: Project, number: str
) -> None:
    alone(sandboxed, f"{REPORT}\nos.kill(os.getppid(), signal.{number})\ntime.sleep(30)")
    ran = sandboxed.run("team_job")
    assert (ran.code, ran.steps("STEP_SUCCESS")) == (1, [])
    assert nothing_is_left(sandboxed)


def test_a_workload_that_kills_its_supervisor_is_a_lost_process_and_gone(plain: Project) -> None:
    alone(plain, f"{REPORT}\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(30)")
    ran = plain.run("team_job")
    assert ran.error("it").splitlines()[0] == (
        "infrastructure: the process was lost: its supervisor was killed from outside; what it had started was looked "
        "for and killed"
    )
    assert nothing_is_left(plain)


def test_a_workload_that_stops_its_supervisor_still_ends_with_its_timeout(plain: Project) -> None:
    alone(plain, f"{REPORT}\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(60)")
    ran = plain.run("team_job")
    assert ran.error("it").splitlines()[0].startswith("timed out: ")
    assert nothing_is_left(plain)


def test_a_workload_in_a_sandbox_sees_no_other_process_and_cannot_signal_one(sandboxed: Project) -> None:
    body = """
        seen = [int(name) for name in os.listdir('/proc') if name.isdigit()]
        commands = [Path(f'/proc/{pid}/cmdline').read_bytes().decode() for pid in seen]
        pipes.log.info(f"{len(seen)} processes")
        assert not any('bulkhead' in Path(word).name for command in commands for word in command.split(chr(0))[:1]), commands
        assert len(seen) < 6, seen
        pipes.report_asset_materialization()
    """
    alone(sandboxed, body)
    assert sandboxed.run("team_job").code == 0


def test_a_workload_in_a_sandbox_sees_its_own_stores_and_datasets_with_the_mode_it_declared(sandboxed: Project) -> None:
    publish = f"Path(os.environ['BULKHEAD_PUBLISH_NUMBERS'], 'n').write_text('1')\n{REPORT}"
    sandboxed.team("makers", [one_step("numbers", workload(publish))], publishes=["numbers"], stores={"kept": "rw"})
    body = f"""
        def refused(act):
            try:
                act()
            except OSError as error:
                return error.strerror
            return 'allowed'
        own, seen = Path(os.environ['BULKHEAD_STORE_OWN']), Path(os.environ['BULKHEAD_STORE_SEEN'])
        data, home = Path(os.environ['BULKHEAD_DATASET_NUMBERS']), Path({str(sandboxed.home)!r})
        assert (data / 'n').read_text() == '1'
        (own / 'x').write_text('mine')
        found = {{
            'read-only store': refused(lambda: (seen / 'x').write_text('x')),
            'dataset': refused(lambda: (data / 'x').write_text('x')),
            'other store': refused(lambda: os.listdir(home / 'stores' / 'makers')),
            'dagster': refused(lambda: os.listdir(home / 'dagster')),
            'pointer': os.path.exists(data.parent / 'current'),
            'own project': refused(lambda: Path('defs.yaml').write_text('x')),
            'other project': refused(lambda: os.listdir('../makers')),
            'home': sorted(os.listdir(home)),
            'steps': len(os.listdir(home / 'steps')),
        }}
        (own / 'found').write_text(json.dumps(found))
        pipes.report_asset_materialization()
    """
    step = one_step("reader", workload(body), deps=["numbers"])
    sandboxed.team("readers", [step], reads=["numbers"], stores={"own": "rw", "seen": "ro"})
    ran = sandboxed.run("makers_job", "readers_job")
    assert ran.code == 0, ran.events
    store = sandboxed.home / "stores" / "readers" / "own"
    assert (store / "x").read_text() == "mine"
    assert json.loads((store / "found").read_text()) == {
        "read-only store": "Read-only file system",
        "dataset": "Read-only file system",
        "other store": "No such file or directory",
        "dagster": "No such file or directory",
        "pointer": False,
        "own project": "Read-only file system",
        "other project": "No such file or directory",
        "home": ["datasets", "steps", "stores"],
        "steps": 1,
    }


NETWORK = """
import socket
names = sorted(name for _, name in socket.if_nameindex())
(Path(os.environ['BULKHEAD_STORE_OWN']) / 'names').write_text(','.join(names))
"""


@pytest.mark.parametrize(("network", "only_loopback"), [("none", True), ("data", False)])
def test_a_workload_in_a_sandbox_has_the_network_that_it_declared(
    sandboxed: Project, network: str, only_loopback: bool
) -> None:
    alone(sandboxed, NETWORK + REPORT, network=network, stores={"own": "rw"})
    assert sandboxed.run("team_job").code == 0
    names = (sandboxed.home / "stores" / "team" / "own" / "names").read_text().split(",")
    here = sorted(name for _, name in socket.if_nameindex())
    assert names == (["lo"] if only_loopback else here)


def test_where_a_sandbox_is_required_and_missing_the_step_is_refused(project: Project, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    alone(project, REPORT)
    ran = project.run("team_job", BULKHEAD_SANDBOX="required", PATH=str(tools))
    assert ran.error("it").splitlines()[0] == (
        "infrastructure: BULKHEAD_SANDBOX='required', and there is none: bwrap is not installed. Install bubblewrap, or "
        "set it to 'auto'."
    )


def test_where_a_sandbox_is_missing_the_step_runs_and_its_metadata_says_so(project: Project, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    alone(project, REPORT)
    ran = project.run("team_job", PATH=str(tools))
    (made,) = ran.named("ASSET_MATERIALIZATION")
    assert made["metadata"]["bulkhead/sandbox"] == "none (bwrap is not installed)"


DEEP = """
for _ in range(1500):
    os.mkdir('d')
    os.chdir('d')
"""


def test_folders_too_deep_for_most_programs_are_removed_with_the_step(tiered: Project) -> None:
    alone(tiered, f"os.chdir(os.environ['TMPDIR'])\n{DEEP}\n{REPORT}")
    ran = tiered.run("team_job")
    assert ran.code == 0, ran.events
    assert nothing_is_left(tiered)


def test_a_link_in_the_place_of_a_new_version_is_not_published(plain: Project) -> None:
    body = f"""
        import shutil
        shutil.rmtree(os.environ['BULKHEAD_PUBLISH_IT'])
        os.symlink('/etc', os.environ['BULKHEAD_PUBLISH_IT'])
        {REPORT}
    """
    alone(plain, body, publishes=["it"])
    ran = plain.run("team_job")
    reason = "the folder for the new version was taken away or replaced"
    assert ran.error("it").splitlines()[0] == f"contract violated: dataset 'it': {reason}"
    assert [path.name for path in (plain.home / "datasets" / "it").iterdir()] == [".staging"]
    assert list((plain.home / "datasets" / "it" / ".staging").iterdir()) == []


FULL = """
try:
    with open(os.environ['BULKHEAD_STORE_OWN'] + '/big', 'wb') as file:
        while True: file.write(b'x' * 65536)
except OSError as error:
    sys.stderr.write(f'{error}\\n')
    sys.exit(74)
"""


def test_a_workload_that_fills_the_disk_fails_by_name_and_its_neighbour_does_not(sandboxed: Project) -> None:
    """The whole platform runs with its stores on a disk of 16 MiB."""
    stores = sandboxed.home / "stores"
    stores.mkdir(parents=True)
    sandboxed.team("team", [one_step("fills", workload(FULL))], stores={"own": "rw"})
    sandboxed.team("other", [one_step("writes", workload(REPORT))])
    small = ["bwrap", "--dev-bind", "/", "/", "--size", str(16 << 20), "--tmpfs", str(stores), "--cap-add", "ALL"]
    bulkhead = str(Path(sys.executable).parent / "bulkhead")
    started = sandboxed.start("team_job", command=[*small, bulkhead, "run"], BULKHEAD_SANDBOX="auto")
    ran = started.end()
    headline = "limit exceeded: filled a disk that it writes to, and was killed; its files have "
    assert ran.error("fills").splitlines()[0].startswith(headline)
    assert sandboxed.run("other_job").code == 0


def test_a_flood_of_output_onto_a_small_disk_is_stopped_while_it_can_still_be_recorded(sandboxed: Project) -> None:
    """The whole home is on a disk of 24 MiB, and the workload prints 100 MB."""
    sandboxed.home.mkdir()
    sandboxed.team("team", [one_step("it", workload(f"for _ in range(100): os.write(1, b'x' * 1000000)\n{REPORT}"))])
    small = [
        "bwrap",
        "--dev-bind",
        "/",
        "/",
        "--size",
        str(24 << 20),
        "--tmpfs",
        str(sandboxed.home),
        "--cap-add",
        "ALL",
    ]
    bulkhead = str(Path(sys.executable).parent / "bulkhead")
    ran = sandboxed.start("team_job", command=[*small, bulkhead, "run"], BULKHEAD_SANDBOX="auto").end()
    headline = "limit exceeded: filled a disk that it writes to, and was killed; its files have "
    assert ran.error("it").splitlines()[0].startswith(headline)
    assert (ran.code, ran.named("RUN_ENDED")[0]["status"], ran.stderr) == (1, "FAILURE", "")


def test_bulkhead_doctor_says_what_holds_the_limits_and_the_sandbox() -> None:
    done = subprocess.run([Path(sys.executable).parent / "bulkhead", "doctor"], capture_output=True, text=True)
    lines = {line.split("  ")[0].strip(): line for line in done.stdout.splitlines()}
    assert "sandbox" in lines and "limits" in lines
    assert "cgroup" in lines["limits"] or "watch" in lines["limits"]
