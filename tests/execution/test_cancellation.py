"""Cancelling a run that has many steps at work."""

import signal

import pytest

from tests.conftest import Project, one_step, wait_for, workload

HANGS = """
    {first}
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    print("ready", flush=True)
    time.sleep(600)
"""
DEAF = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
STUBBORN = f"{DEAF}; signal.signal(signal.SIGTERM, signal.SIG_IGN)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ten_steps_at_once_all_end_with_their_run_even_if_they_ignore_signals(project: Project, number: int) -> None:
    ways = [STUBBORN, DEAF, *["pass"] * 8]
    names = [f"step_{number}" for number in range(10)]
    steps = [one_step(name, workload(HANGS.format(first=way))) for name, way in zip(names, ways, strict=True)]
    project.team("team", [*steps, one_step("after", workload(), deps=["step_9"])])
    running = project.start("team_job", BULKHEAD_MAX_CONCURRENT="10")
    for _ in names:
        run_id = running.until("STEP_START")["run_id"]
    wait_for(lambda: all(project.stdout_of(run_id, name) == b"ready\n" for name in names), "ten workloads hang")
    running.process.send_signal(number)
    ran = running.end()
    assert (ran.code, ran.named("RUN_ENDED")[0]["status"]) == (130, "CANCELED")
    assert (ran.steps("STEP_FAILURE"), ran.steps("STEP_NOT_RUN")) == (names, ["after"])
    assert {e["category"] for e in ran.named("STEP_FAILURE")} == {"cancelled"}
    assert (project.processes(), list((project.home / "steps").iterdir())) == ([], [])
