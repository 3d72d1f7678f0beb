"""Control groups: against the kernel where this user may make them, and the files of version 2 in a plain folder."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from orchestrator.backends.supervision import cgroups
from orchestrator.backends.supervision.cgroups import PREFIX, Fence, _groups, make_fence, remove_fence
from orchestrator.backends.supervision.starter import ended, start
from tests.backends.test_subprocess import until

MEBIBYTE = 1 << 20


@pytest.fixture
def name() -> Iterator[str]:
    """Return the name of groups that nobody has; skip where none can be made."""
    made = f"test-{uuid4().hex[:8]}"
    fence = make_fence(made, None, None, 1.0)
    if fence is None:
        pytest.skip("NOT RUN: no control groups can be made here")
    fence.remove()
    yield made
    remove_fence(made)


def folders(name: str) -> list[Path]:
    """Return the groups of this name that are there."""
    fence = _groups(name)
    assert fence is not None
    return [folder for folder in map(Path, set(fence.folders.values())) if folder.is_dir()]


def made(name: str, memory: float | None = None, pids: float | None = None, cores: float | None = None) -> Fence:
    fence = make_fence(name, memory, pids, cores)
    assert fence is not None
    return fence


def run(fence: Fence, source: str) -> dict[str, int]:
    """Run a program in the groups; return how it ended."""
    child = start([sys.executable, "-c", source], {"PATH": os.environ["PATH"]}, fence.join)
    return ended(os.waitpid(child, 0)[1])


def test_without_a_limit_there_are_no_groups(name: str) -> None:
    assert make_fence(name, None, None, None) is None
    assert folders(name) == []


def test_a_limit_to_cpu_seconds_needs_groups_that_count_them(name: str) -> None:
    fence = make_fence(name, None, None, None, 1.0)
    assert fence is not None
    assert run(fence, "import time\nwhile time.process_time() < 0.2: pass") == {"exit": 0}
    assert 0.2 < fence.cpu_seconds() < 2
    assert fence.broken() is None


def test_the_kernel_is_told_each_limit(name: str) -> None:
    fence = made(name, memory=100 * MEBIBYTE, pids=7.0, cores=0.5)
    first = {
        "memory.limit_in_bytes": "104857600",
        "pids.max": "7",
        "cpu.cfs_quota_us": "50000",
        "cpu.cfs_period_us": "100000",
    }
    second = {"memory.max": "104857600", "pids.max": "7", "cpu.max": "50000 100000"}
    expected = first if fence.version == 1 else second
    files = {file.name: file for folder in folders(name) for file in folder.iterdir()}
    assert {file: files[file].read_text().strip() for file in expected if file in files} == expected


def test_a_process_that_joins_takes_its_children_along(name: str) -> None:
    fence = made(name, pids=50)
    source = f"import subprocess\nout = subprocess.check_output(['cat', '/proc/self/cgroup'], text=True)\nraise SystemExit({PREFIX + name!r} in out)"
    assert run(fence, source) == {"exit": 1}
    assert PREFIX + name not in Path("/proc/self/cgroup").read_text()


def test_memory_over_the_limit_is_killed_and_told(name: str) -> None:
    fence = made(name, memory=50 * MEBIBYTE)
    assert run(fence, "block = bytearray(10 << 20)") == {"exit": 0}
    assert fence.broken() is None
    assert run(fence, "block = bytearray(200 << 20)") == {"signal": signal.SIGKILL}
    assert fence.broken() == "memory"


def test_a_fork_over_the_limit_is_refused_and_told(name: str) -> None:
    fence = made(name, pids=3)
    source = "import os\ntry:\n    for _ in range({}):\n        if os.fork() == 0: break\nexcept BlockingIOError: os._exit(11)"
    assert run(fence, source.format(1)) == {"exit": 0}
    until(lambda: fence._get("pids", "pids.current").strip() == "0", "the child was gone")
    assert fence.broken() is None
    assert run(fence, "import threading, time\n" + source.format(9).replace("break", "time.sleep(60)")) == {"exit": 11}
    assert fence.broken() == "pids"
    for folder in folders(name):
        for pid in (folder / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)


def test_cpu_seconds_are_those_of_all_that_ran_in_the_groups(name: str) -> None:
    fence = made(name, pids=50)
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    for _ in range(2):
        assert run(fence, burn) == {"exit": 0}
    assert 0.4 < fence.cpu_seconds() < 4


def test_groups_are_removed_when_their_step_has_ended(name: str) -> None:
    fence = made(name, pids=50)
    assert run(fence, "") == {"exit": 0}
    assert folders(name) != []
    fence.remove()
    assert folders(name) == []
    fence.remove()


def test_groups_with_a_process_in_them_are_left_after_a_while(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "REMOVE_SECONDS", 0.05)
    fence = made(name, pids=50)
    child = start([sys.executable, "-c", "import time; time.sleep(60)"], {}, fence.join)
    fence.remove()
    assert folders(name) != []
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    remove_fence(name)
    assert folders(name) == []


def test_groups_that_a_killed_supervisor_left_are_removed_by_their_name(name: str) -> None:
    made(name, pids=50)
    remove_fence(name)
    assert folders(name) == []
    remove_fence(name)


def test_groups_of_another_step_are_neither_joined_nor_removed(name: str) -> None:
    fence = made(name, pids=50)
    assert make_fence(name, 50 * MEBIBYTE, 1, None) is None
    assert {Path(folder) for folder in fence.folders.values()} == set(folders(name))
    assert fence._get("pids", "pids.max").strip() == "50"


def test_a_limit_that_the_kernel_refuses_leaves_no_group_behind(name: str) -> None:
    assert make_fence(name, None, -5, None) is None
    assert folders(name) == []


def test_where_no_groups_can_be_made_there_is_no_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "_mounts", dict)
    assert _groups("x") is None
    assert make_fence("x", MEBIBYTE, 5, 1.0) is None
    remove_fence("x")


@pytest.fixture
def second(tmp_path: Path) -> Fence:
    """Return a fence of version 2 whose group is a plain folder."""
    return Fence(2, dict.fromkeys(("memory", "pids", "cpu"), str(tmp_path)))


def written(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir() if file.is_file()}


def test_version_2_is_told_each_limit_in_its_own_words(second: Fence, tmp_path: Path) -> None:
    second.hold(100 * MEBIBYTE, 7, 1.5)
    assert written(tmp_path) == {
        "memory.max": "104857600", "memory.swap.max": "0", "pids.max": "7", "cpu.max": "150000 100000",
    }  # fmt: skip


def test_version_2_is_told_no_limit_that_there_is_not(second: Fence, tmp_path: Path) -> None:
    second.hold(None, 7, None)
    assert written(tmp_path) == {"pids.max": "7"}


def test_a_sliver_of_a_core_is_the_least_that_the_kernel_takes(second: Fence, tmp_path: Path) -> None:
    second.hold(None, None, 0.001)
    assert written(tmp_path) == {"cpu.max": "1000 100000"}


def test_a_process_joins_version_2_by_its_one_file(second: Fence, tmp_path: Path) -> None:
    second.join()
    assert written(tmp_path) == {"cgroup.procs": "0"}


@pytest.mark.parametrize(
    ("memory", "pids", "broken"),
    [
        ("low 0\nmax 9\noom 1\noom_kill 0\n", "max 0\n", None),
        ("low 0\nmax 9\noom 1\noom_kill 2\n", "max 0\n", "memory"),
        ("oom_kill 0\n", "max 3\n", "pids"),
        ("oom_kill 1\n", "max 3\n", "memory"),
        ("oom_kill\n", "max many\n", None),
    ],
)
def test_version_2_tells_what_it_enforced_by_its_events(
    second: Fence, tmp_path: Path, memory: str, pids: str, broken: str | None
) -> None:
    (tmp_path / "memory.events").write_text(memory)
    (tmp_path / "pids.events").write_text(pids)
    assert second.broken() == broken


def test_version_2_counts_cpu_in_microseconds(second: Fence, tmp_path: Path) -> None:
    assert second.cpu_seconds() == 0
    (tmp_path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n")
    assert second.cpu_seconds() == 1.5


def test_a_group_that_is_gone_broke_nothing_and_used_nothing(tmp_path: Path) -> None:
    for version, controllers in ((1, ("memory", "pids", "cpuacct")), (2, ("memory", "pids", "cpu"))):
        gone = Fence(version, dict.fromkeys(controllers, str(tmp_path / "gone")))
        assert (gone.broken(), gone.cpu_seconds()) == (None, 0)
        gone.join()
        gone.remove()


def group(folder: Path, handed_down: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.subtree_control").write_text(handed_down)
    (folder / "cgroup.procs").touch()


@pytest.mark.parametrize(
    ("handed_down", "parent"),
    [
        ({"": "cpu memory pids", "user": "cpu memory pids", "user/platform": "memory pids", "user/platform/run": ""}, "user/platform"),
        ({"": "cpu memory pids", "user": "memory pids", "user/platform": "memory", "user/platform/run": ""}, "user"),
        ({"": "cpu memory pids", "user": "", "user/platform": "", "user/platform/run": ""}, ""),
        ({"": "cpu memory", "user": "", "user/platform": "", "user/platform/run": ""}, None),
    ],
)  # fmt: skip
def test_version_2_groups_are_made_in_the_nearest_group_above_that_hands_memory_and_pids_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handed_down: dict[str, str], parent: str | None
) -> None:
    for path, controllers in handed_down.items():
        group(tmp_path / path, controllers)
    monkeypatch.setattr(cgroups, "_mounts", lambda: {"": str(tmp_path)})
    monkeypatch.setattr(cgroups, "_own_groups", lambda: {"": "/user/platform/run"})
    found = _groups("load-1")
    if parent is None:
        assert found is None
        return
    assert found is not None
    assert found.version == 2
    assert set(found.folders.values()) == {str(tmp_path / parent / "bulkhead-load-1")}


def test_version_2_groups_are_made_in_the_mount_itself_if_that_is_where_the_platform_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group(tmp_path, "memory pids")
    monkeypatch.setattr(cgroups, "_mounts", lambda: {"": str(tmp_path)})
    monkeypatch.setattr(cgroups, "_own_groups", lambda: {"": "/"})
    fence = make_fence("load-1", 100 * MEBIBYTE, 7, 2)
    assert fence is not None
    assert written(tmp_path / "bulkhead-load-1")["pids.max"] == "7"


def test_version_1_groups_are_made_in_the_hierarchy_of_each_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory" / "own").mkdir(parents=True)
    mounts = {name: str(tmp_path / name) for name in ("memory", "pids", "cpu", "cpuacct")}
    # In a container, the path of the host's group is not there.
    own = {"memory": "/own", "pids": "/docker/123", "cpu": "/", "cpuacct": "/"}
    monkeypatch.setattr(cgroups, "_mounts", lambda: mounts)
    monkeypatch.setattr(cgroups, "_own_groups", lambda: own)
    for folder in mounts.values():
        Path(folder).mkdir(exist_ok=True)
    found = _groups("load-1")
    assert found is not None
    assert found.version == 1
    assert found.folders == {
        "memory": f"{tmp_path}/memory/own/bulkhead-load-1",
        **{name: f"{tmp_path}/{name}/bulkhead-load-1" for name in ("pids", "cpu", "cpuacct")},
    }


def test_the_mounts_of_this_machine_are_folders() -> None:
    assert all(Path(mount).is_dir() for mount in cgroups._mounts().values())
    found = subprocess.check_output(["cat", "/proc/self/cgroup"], text=True)
    assert set(cgroups._own_groups().values()) == {line.split(":", 2)[2] for line in found.splitlines()}
