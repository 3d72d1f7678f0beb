"""What a step says while it runs: output in its own compute log at once, Pipes messages in order."""

from tests.conftest import REPORT, Project, one_step, wait_for, workload

SPEAKS = """
    print("{name} says", flush=True)
    print("{name} warns", file=sys.stderr, flush=True)
    while not Path("go_on").exists(): time.sleep(0.05)
    pipes.report_asset_materialization()
"""
LEVELS = ("debug", "info", "warning", "error", "critical")
LOGS = "\n".join(f"for n in range(20): pipes.log.{level}(f'{{name}} {level} {{{{n}}}}')" for level in LEVELS)


def logs_of(project: Project, run_id: str, step: str) -> tuple[str, str]:
    """Return what is in the two compute logs of a step now."""
    with project.instance() as instance:
        manager = instance.compute_log_manager
        data = manager.get_log_data(manager.build_log_key_for_run(run_id, step))
    return (data.stdout or b"").decode(), (data.stderr or b"").decode()


def test_the_output_of_ten_steps_is_in_their_own_logs_before_any_of_them_has_ended(project: Project) -> None:
    names = [f"step_{number}" for number in range(10)]
    project.team("team", [one_step(name, workload(SPEAKS.format(name=name))) for name in names])
    running = project.start("team_job", BULKHEAD_MAX_CONCURRENT="10")
    for _ in names:
        run_id = running.until("STEP_START")["run_id"]
    expected = {name: (f"{name} says\n", f"{name} warns\n") for name in names}
    wait_for(lambda: {name: logs_of(project, run_id, name) for name in names} == expected, "all have spoken")
    with project.instance() as instance:
        ended = [
            entry for entry in instance.all_logs(run_id) if entry.dagster_event and entry.dagster_event.is_step_success
        ]
    (project.root / "workloads" / "team" / "go_on").touch()
    ran = running.end()
    assert (ended, ran.code, ran.steps("STEP_SUCCESS")) == ([], 0, names)
    assert {name: logs_of(project, run_id, name) for name in names} == expected


def test_each_attempt_has_a_log_of_its_own(project: Project) -> None:
    body = f"print('attempt', pipes.retry_number, flush=True)\nif pipes.retry_number == 0: raise ValueError\n{REPORT}"
    project.team("team", [one_step("it", workload(body), retries={"max": 1})])
    ran = project.run("team_job")
    assert ran.code == 0
    assert [logs_of(project, ran.run_id, key)[0] for key in ("it", "it.2")] == ["attempt 0\n", "attempt 1\n"]


def test_messages_of_steps_at_once_keep_their_level_and_their_order(project: Project) -> None:
    names = [f"step_{number}" for number in range(4)]
    project.team("team", [one_step(name, workload(f"{LOGS.format(name=name)}\n{REPORT}")) for name in names])
    ran = project.run("team_job", BULKHEAD_MAX_CONCURRENT="4")
    with project.instance() as instance:
        records = [entry for entry in instance.all_logs(ran.run_id) if entry.dagster_event is None]
    for name in names:
        said = [(entry.level, entry.user_message) for entry in records if entry.user_message.startswith(f"{name} ")]
        expected = [(10 * (LEVELS.index(level) + 1), f"{name} {level} {n}") for level in LEVELS for n in range(20)]
        assert said == expected
    assert ran.code == 0
