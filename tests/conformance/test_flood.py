"""A gigabyte on stdout: the orchestrator's memory stays flat, and the tail is kept."""

from pathlib import Path

import psutil

from tests.conformance.cases import FLOOD
from tests.conformance.suite import DOCKER, TEAM, make_project

GIBIBYTE = 1 << 30
# What may be on top of what the run worker holds when the step starts: its own work on the step's events.
ROOM = 32 << 20


def test_a_gigabyte_on_stdout_does_not_grow_the_orchestrator_and_is_kept_to_its_end(tmp_path: Path, tier: str) -> None:
    project = make_project(tmp_path, tier, [FLOOD])
    running = project.start(f"{TEAM}_job")
    running.until("STEP_START")
    worker = psutil.Process(running.process.pid)
    held, supervisors = [worker.memory_info().rss], [0]
    while worker.status() != psutil.STATUS_ZOMBIE and worker.is_running():
        held.append(worker.memory_info().rss)
        supervisors += [memory_of(child) for child in worker.children()]
    ran = running.end()
    assert ran.code == 0, ran.events
    assert max(held) - held[0] < ROOM
    # A container has no supervisor on this side.
    assert tier == DOCKER or 0 < max(supervisors) < ROOM
    with project.instance() as instance:
        manager = instance.compute_log_manager
        path = Path(manager.get_captured_local_path(manager.build_log_key_for_run(ran.run_id, FLOOD.name), "out"))
    try:
        assert path.stat().st_size == GIBIBYTE + len(b"the end\n")
        with path.open("rb") as file:
            file.seek(-8, 2)
            assert file.read() == b"the end\n"
    finally:
        path.unlink()


def memory_of(process: psutil.Process) -> int:
    """Return what a supervisor holds; a process that is still a copy of the run worker is none yet."""
    try:
        return int(process.memory_info().rss) if "-I" in process.cmdline() else 0
    except psutil.Error:
        return 0
