"""One step through real workloads: what is kept, retried, stopped and said when something goes wrong."""

import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPORT, Project, one_step, script, workload

STORE = {"stores": {"own": "rw"}}
TOUCHES = "Path(os.environ['BULKHEAD_STORE_OWN'], 'was_started').touch()\n"
CHECKED = f"{REPORT}\npipes.report_asset_check(check_name='good', passed=True)"


def alone(project: Project, source: str, contract: dict[str, object] | None = None, **step: object) -> None:
    """Make a team of one step, `it`."""
    project.team("team", [one_step("it", source, **step)], **(contract or {}))


def test_what_was_reported_before_a_failure_is_kept(project: Project) -> None:
    alone(project, workload(CHECKED + "\nsys.exit(3)"), blocking=["good"])
    ran = project.run("team_job")
    assert ran.error("it").splitlines()[0] == "workload exited: code 3"
    import dagster as dg

    with project.instance() as instance:
        assert instance.get_latest_materialization_event(dg.AssetKey("it")) is not None
        check = dg.AssetCheckKey(dg.AssetKey("it"), "good")
        (record,) = instance.event_log_storage.get_asset_check_execution_history(check, limit=10)
    assert record.status.value == "SUCCEEDED"


def test_results_arrive_while_the_process_still_runs(project: Project) -> None:
    """The workload ends only after the test has seen its result and says so with a file."""
    waits = "while not Path('go_on').exists(): time.sleep(0.05)"
    alone(project, workload(f"{REPORT}\n{waits}"))
    running = project.start("team_job")
    running.until("ASSET_MATERIALIZATION", asset="it")
    (project.root / "workloads" / "team" / "go_on").touch()
    running.until("STEP_SUCCESS", step="it")
    assert running.end().code == 0


@pytest.mark.parametrize(
    ("ends", "attempts"),
    [
        ("sys.exit(75)", 2),
        ("sys.exit(3)", 1),
        ("raise ValueError('no')", 2),
        ("pass", 1),
        ("os.kill(os.getpid(), 9)", 2),
    ],
)
def test_another_try_is_given_only_to_what_another_try_can_mend(project: Project, ends: str, attempts: int) -> None:
    alone(project, workload(ends), retries={"max": 1})
    ran = project.run("team_job")
    assert (ran.code, 1 + len(ran.named("STEP_RESTARTED"))) == (1, attempts)


def test_a_second_try_that_succeeds_makes_the_step_green(project: Project) -> None:
    source = f"if pipes.get_extra('attempt') == 1: sys.exit(75)\n{REPORT}"
    alone(project, workload(source), retries={"max": 2})
    ran = project.run("team_job")
    assert (ran.code, len(ran.named("STEP_RESTARTED"))) == (0, 1)


def test_a_step_that_runs_longer_than_its_timeout_is_stopped(project: Project) -> None:
    alone(project, workload("time.sleep(600)"), timeout="1s")
    ran = project.run("team_job")
    headline = "timed out: ran longer than its timeout of 1s and was stopped; peak memory "
    assert ran.error("it").splitlines()[0].startswith(headline)
    assert project.processes() == []


def test_the_workload_sees_its_own_variables_and_nothing_else_of_the_platforms(project: Project) -> None:
    opened = "import os\nopened = [n for n in range(3, 64) if os.path.exists(f'/proc/self/fd/{n}')]\n"
    body = """
        folder = Path(os.environ['BULKHEAD_STORE_OWN'])
        (folder / 'environ').write_bytes(Path('/proc/self/environ').read_bytes())
        (folder / 'stdin').write_text(os.readlink('/proc/self/fd/0'))
        (folder / 'opened').write_text(repr(opened))
        (folder / 'secret').write_text(Path(os.environ['TOKEN_FILE']).read_text())
        pipes.report_asset_materialization()
    """
    contract = {"stores": {"own": "rw"}, "env": ["COLOUR", "SIZE"], "secrets": ["TOKEN"]}
    alone(project, opened + workload(body), contract)
    config = {"ops": {"it": {"config": {"SIZE": 7}}}}
    ran = project.run("team_job", config=config, PASSWORD="hunter2", COLOUR="red", SIZE="1", TOKEN="s3cret")
    assert ran.code == 0, ran.events
    store = project.home / "stores" / "team" / "own"
    pairs = [entry.decode().partition("=") for entry in (store / "environ").read_bytes().split(b"\0") if entry]
    seen = {name: value for name, _, value in pairs}
    assert set(seen) == {
        "PATH", "LANG", "PYTHONUNBUFFERED", "HOME", "TMPDIR", "COLOUR", "SIZE", "TOKEN_FILE", "BULKHEAD_STORE_OWN",
        "BULKHEAD_LAUNCH", "DAGSTER_PIPES_CONTEXT", "DAGSTER_PIPES_MESSAGES",
    }  # fmt: skip
    assert (seen["COLOUR"], seen["SIZE"], (store / "secret").read_text()) == ("red", "7", "s3cret")
    assert not any("hunter2" in value or "s3cret" in value for value in seen.values())
    assert ((store / "stdin").read_text(), (store / "opened").read_text()) == ("/dev/null", "[]")


def test_a_secret_that_is_not_set_stops_the_step_before_it_starts(project: Project) -> None:
    alone(project, workload(TOUCHES + REPORT), {"secrets": ["TOKEN"], **STORE})
    ran = project.run("team_job")
    assert ran.error("it") == (
        "contract violated: secret TOKEN is not set (looked in the platform's environment, in the file that TOKEN_FILE "
        "names, in the folder BULKHEAD_SECRETS (not set))."
        "\n\nstep       it of team team (owned by team:team)"
    )
    assert not (project.home / "stores" / "team" / "own" / "was_started").exists()


PARTITIONS = {"partitions_def": {"type": "static", "partition_keys": ["a", "b", "c"]}}
KEYS = """
    Path(os.environ['BULKHEAD_STORE_OWN'], 'keys').write_text(json.dumps(pipes.get_extra('partition')['keys']))
    pipes.report_asset_materialization()
"""


def test_a_partition_key_reaches_the_workload(project: Project) -> None:
    alone(project, workload(KEYS), STORE, asset=PARTITIONS)
    assert project.run("team_job", "--partition", "b").code == 0
    assert (project.home / "stores" / "team" / "own" / "keys").read_text() == '["b"]'


def test_every_key_of_a_range_reaches_a_workload_that_takes_a_range_in_one_run(project: Project) -> None:
    alone(project, workload(KEYS), STORE, asset=PARTITIONS, backfill_policy={"type": "single_run"})
    tags = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "c"}
    ran = project.launch("team", "team_job", tags=tags)
    assert ran.code == 0, (ran.events, ran.stderr)
    assert (project.home / "stores" / "team" / "own" / "keys").read_text() == '["a", "b", "c"]'


def test_a_partitioned_step_without_a_partition_is_refused(project: Project) -> None:
    alone(project, workload(TOUCHES + REPORT), STORE, asset=PARTITIONS)
    ran = project.run("team_job")
    assert ran.error("it") == (
        "gate closed: its assets are partitioned, and the run names no partition; nothing was launched\n"
        "  choose a partition when you launch it\n\nstep       it of team team (owned by team:team)"
    )
    assert not (project.home / "stores" / "team" / "own" / "was_started").exists()


@pytest.mark.parametrize(
    ("body", "first_lines"),
    [
        ("", ["contract violated: dataset 'it': no files were written for the new version"]),
        ("Path(new, 'link').symlink_to('/etc/passwd')",
         ["contract violated: dataset 'it': 'link' is no plain file; a version holds files only"]),
        ("BAD", ["check failed: blocking check 'good' on 'it' did not pass"]),
    ],
    ids=["no files", "a symlink", "a blocking check that failed"],
)  # fmt: skip
def test_a_version_that_is_not_sound_leaves_the_pointer_where_it_was(
    project: Project, body: str, first_lines: list[str]
) -> None:
    head = "new = os.environ['BULKHEAD_PUBLISH_IT']\n"
    contract = {"publishes": ["it"]}
    alone(project, workload(f"{head}Path(new, 'n').write_text('good')\n{CHECKED}"), contract, blocking=["good"])
    assert project.run("team_job").code == 0
    dataset = project.home / "datasets" / "it"
    before = (dataset / "current").read_text()
    if body == "BAD":
        body = f"Path(new, 'n').write_text('bad')\n{CHECKED.replace('True', 'False')}"
    else:
        body = f"{body}\n{CHECKED}"
    alone(project, workload(f"{head}{body}"), contract, blocking=["good"])
    assert project.run("team_job").error("it").splitlines()[:1] == first_lines
    assert (dataset / "current").read_text() == before
    assert (dataset / before.strip() / "n").read_text() == "good"
    assert sorted(p.name for p in dataset.iterdir()) == sorted([".staging", before.strip(), "current"])


def test_files_that_change_after_they_were_reported_are_not_published(project: Project) -> None:
    body = f"""
        path = Path(os.environ['BULKHEAD_PUBLISH_IT'], 'n')
        path.write_text('reported')
        {REPORT}
        while not Path('go_on').exists(): time.sleep(0.05)
        path.write_text('later')
    """
    alone(project, workload(body), {"publishes": ["it"]})
    running = project.start("team_job")
    running.until("ASSET_MATERIALIZATION", asset="it")
    (project.root / "workloads" / "team" / "go_on").touch()
    headline = "contract violated: the files of dataset 'it' were changed after it was reported"
    assert running.end().error("it").splitlines()[0] == headline
    assert [path.name for path in (project.home / "datasets" / "it").iterdir()] == [".staging"]


def test_a_check_that_is_reported_before_its_asset_stands_on_that_materialization(project: Project) -> None:
    import dagster as dg

    alone(project, workload("\n".join(reversed(CHECKED.splitlines()))), blocking=["good"])
    ran = project.run("team_job")
    order = [e["event"] for e in ran.events if e["event"].startswith("ASSET_")]
    assert (ran.code, order) == (0, ["ASSET_MATERIALIZATION", "ASSET_CHECK_EVALUATION"])
    with project.instance() as instance:
        (made,) = instance.fetch_materializations(dg.AssetKey("it"), limit=5).records
        check = dg.AssetCheckKey(dg.AssetKey("it"), "good")
        (record,) = instance.event_log_storage.get_asset_check_execution_history(check, limit=10)
    assert record.evaluation.target_materialization_data.storage_id == made.storage_id


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (workload("pass"),
         ["contract violated: asset 'it' was not reported", "  check 'good' on 'it' was not reported"]),
        (workload(REPORT), ["contract violated: check 'good' on 'it' was not reported"]),
        (script("print('done')"),
         ["contract violated: exited 0 without a word: Pipes was never opened, and nothing was reported"]),
    ],
    ids=["no report at all", "no check", "Pipes never opened"],
)  # fmt: skip
def test_what_was_owed_and_not_reported_is_named(project: Project, source: str, said: list[str]) -> None:
    alone(project, source, blocking=["good"])
    assert project.run("team_job").error("it").splitlines()[: len(said)] == said


def test_a_command_that_is_not_in_the_environment_is_named_with_where_it_was_looked_for(project: Project) -> None:
    alone(project, workload(), run=["no_such_command"])
    path = f"{project.root / 'workloads' / 'team' / '.venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    assert project.run("team_job").error("it") == (
        f"contract violated: the command 'no_such_command' is not in the workload's environment (PATH={path})."
        "\n\nstep       it of team team (owned by team:team)"
    )


def test_the_command_that_reproduces_a_failure_works_when_pasted_into_a_shell(project: Project) -> None:
    body = "print(os.environ['COLOUR'], Path.cwd().name)\nsys.exit(int(os.environ['CODE']))"
    alone(project, script(body), {"env": ["COLOUR", "CODE"]})
    ran = project.run("team_job", COLOUR="dark 'red'", CODE="42")
    command = ran.error("it").rpartition("reproduce it by hand:\n")[2].strip()
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=Path("/"), env={})
    assert (done.returncode, done.stdout, done.stderr) == (42, "dark 'red' team\n", "")
