"""What a workload sees in the sandbox, and what it does not; with a real one."""

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends import backend_of, sandbox
from orchestrator.backends.fork_server import FORK_SERVER
from orchestrator.backends.launch import Launch, LaunchError, Mount
from orchestrator.backends.sandbox import (
    COMPILED_STARTER,
    HIDDEN,
    STARTER,
    SYSTEM,
    Sandbox,
    find_compiled_starter,
    find_sandbox,
    sandbox_argv,
)
from orchestrator.backends.subprocess import RunningProcess, kill_strays
from orchestrator.errors import SettingsError
from orchestrator.settings import Settings
from tests.backends.test_subprocess import INTERPRETER, REPOSITORY, Bench, end
from tests.conftest import needs_sandbox

PRELUDE = """
import errno, json, os, socket, sys

def tried(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]

def write(path):
    open(path, "w").close()
    return "written"

def read(path):
    return open(path).read()

def reach(family, address):
    with socket.socket(family) as made:
        made.settimeout(5)
        made.connect(address)
        return "reached"

def tell(value):
    print(json.dumps(value))
"""


@pytest.fixture
def cell(starter: None) -> Iterator[Bench]:
    """Return a bench whose steps run in the sandbox; its folder is not below /tmp, so that /tmp shows what is there."""
    needs_sandbox()
    folder = Path(tempfile.mkdtemp(prefix="bulkhead-", dir="/var/tmp"))
    made = Bench(folder / "project", sandboxed=True)
    made.folder.mkdir()
    try:
        yield made
    finally:
        for running in made.started:
            FORK_SERVER.kill(running.supervisor)
        kill_strays(made.scratch)
        shutil.rmtree(folder)


def seen(cell: Bench, source: str, **changes: Any) -> Any:
    """Return what a program tells of the sandbox. It is given no folder, unless `changes` of its launch give one."""
    limits = {name: changes.pop(name) for name in list(changes) if name in ("memory", "pids")}
    launch = cell.launch(INTERPRETER, "-c", PRELUDE + textwrap.dedent(source), **limits)
    outcome = end(cell.start(replace(launch, **{"mounts": (), **changes})))
    assert (outcome.exit_code, outcome.stopped, cell.read("stderr")) == (0, None, "")
    return json.loads(cell.read("stdout"))


def unmounted(cell: Bench, *argv: str, **env: str) -> Launch:
    return replace(cell.launch(*argv, env=env), mounts=())


def test_a_step_sees_its_own_process_and_the_two_of_the_sandbox_and_no_other(cell: Bench) -> None:
    pids, commands, killed = seen(
        cell,
        f"""
        pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
        commands = " ".join(tried(read, f"/proc/{{pid}}/cmdline") for pid in pids)
        tell([pids, commands, tried(os.kill, {os.getpid()}, 0)])
        """,
    )
    assert pids == [1, 2, 3]
    assert "pytest" not in commands
    assert "supervision.supervisor" not in commands
    assert killed == "ESRCH"


def test_no_process_that_a_step_sees_carries_the_platforms_variables(
    cell: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATFORM_SECRET", "hunter2")
    told = seen(
        cell, """tell([tried(read, f"/proc/{name}/environ") for name in os.listdir("/proc") if name.isdigit()])"""
    )
    assert len(told) == 3
    assert "hunter2" not in str(told)


@pytest.mark.parametrize(
    "folder", ["/", "/usr", "/usr/local/bin", "/etc", "/etc/ssh", "/opt", "/dev", "/run", "/sys", "/var"]
)
def test_the_system_cannot_be_written_to(cell: Bench, folder: str) -> None:
    if not Path(folder).is_dir():
        pytest.skip(f"NOT RUN: there is no {folder} on this machine")
    assert seen(cell, f"tell(tried(write, {folder + '/written'!r}))") in ("EROFS", "EACCES")
    assert not Path(folder, "written").exists()


def test_nothing_is_mounted_writable_but_its_scratch_folder_its_tmp_and_its_shared_memory(cell: Bench) -> None:
    told = seen(
        cell,
        """
        mounts = [line.split() for line in read("/proc/self/mountinfo").splitlines()]
        tell(sorted(words[4] for words in mounts if "rw" in words[5].split(",")))
        """,
    )
    assert [path for path in told if not path.startswith("/dev/") and path != "/proc"] == sorted(
        ["/tmp", str(cell.scratch)]
    )
    devices = {"full", "null", "pts", "ptmx", "random", "shm", "tty", "urandom", "zero", "console"}
    assert {Path(path).name for path in told if path.startswith("/dev/")} <= devices


def test_no_setting_of_the_kernel_can_be_changed(cell: Bench) -> None:
    told = seen(
        cell,
        """
        files = [f"{base}/{name}" for base, _, names in os.walk("/proc/sys") for name in names]
        tell([len(files), [path for path in files if isinstance(tried(os.open, path, os.O_WRONLY), int)]])
        """,
    )
    assert told[0] > 100
    assert told[1] == []


def test_its_own_project_can_be_read_and_not_written_to_unless_it_is_mounted_so(cell: Bench) -> None:
    (cell.folder / "code.py").write_text("code")
    source = "tell([tried(read, 'code.py'), tried(write, 'written'), tried(os.remove, 'code.py')])"
    assert seen(cell, source) == ["code", "EROFS", "EROFS"]
    (cell.folder / "stdout").write_text("")
    assert seen(cell, source, mounts=(Mount(cell.folder, writable=True),)) == ["code", "written", None]


def test_a_mount_can_be_written_to_if_it_is_writable_only(cell: Bench) -> None:
    fixed, free = (cell.folder.parent / name for name in ("a fixed one", "a free one"))
    for folder in (fixed, free):
        folder.mkdir()
        (folder / "rows").write_text("rows")
    told = seen(
        cell,
        f"""
        fixed, free = {str(fixed)!r}, {str(free)!r}
        tell([tried(read, fixed + "/rows"), tried(read, free + "/rows"),
              tried(write, fixed + "/more"), tried(write, free + "/more"), tried(os.remove, fixed + "/rows")])
        """,
        mounts=(Mount(fixed), Mount(free, writable=True)),
    )
    assert told == ["rows", "rows", "EROFS", "written", "EROFS"]
    assert sorted(path.name for path in fixed.iterdir()) == ["rows"]
    assert sorted(path.name for path in free.iterdir()) == ["more", "rows"]


def test_tmp_is_empty_and_its_own_and_can_be_written_to(cell: Bench) -> None:
    with tempfile.NamedTemporaryFile(dir="/tmp", prefix="bulkhead-test-") as host:
        told = seen(cell, f"tell([os.listdir('/tmp'), tried(read, {host.name!r}), tried(write, '/tmp/own')])")
        assert told == [[], "ENOENT", "written"]
    assert [path.name for path in (cell.scratch / "tmp").iterdir()] == ["own"]


def test_a_file_beside_its_folder_is_not_there(cell: Bench) -> None:
    sibling = cell.folder.parent / "sibling"
    sibling.mkdir()
    (sibling / "rows").write_text("rows")
    told = seen(cell, f"tell([tried(read, {str(sibling / 'rows')!r}), os.listdir({str(cell.folder.parent)!r})])")
    assert told == ["ENOENT", ["project"]]


def test_nothing_else_of_the_machine_is_there_than_what_was_mounted(cell: Bench) -> None:
    """Outside of the mounts there are the folders that lead to them, and links of the system."""
    beside, mounted = seen(
        cell,
        """
        mounted = [line.split()[4] for line in read("/proc/self/mountinfo").splitlines()]
        beside = []
        for base, folders, files in os.walk("/"):
            beside += [os.path.join(base, name) for name in (*folders, *files)]
            folders[:] = [name for name in folders if os.path.join(base, name) not in mounted]
        tell([[path for path in beside if path not in mounted], mounted])
        """,
    )
    leading = {str(parent) for path in mounted for parent in Path(path).parents}
    assert set(beside) - leading <= {path for path in SYSTEM if Path(path).is_symlink()}
    interpreter = Path(sys.executable).resolve().parent.parent
    expected = {*SYSTEM, *HIDDEN, str(interpreter), str(cell.folder), str(cell.scratch), STARTER}
    allowed = ("/proc", "/dev", "/tmp", "/sys/devices/system/cpu")
    unexpected = [path for path in mounted if path not in expected and path != "/" and not path.startswith(allowed)]
    assert unexpected == []


def test_the_homes_of_people_are_not_there(cell: Bench) -> None:
    homes = [str(path) for path in {Path.home(), Path("/root"), Path("/home")} if path.is_dir()]
    # What leads to the interpreter has to be there.
    leading = {str(part) for part in Path(INTERPRETER).parents}
    told = seen(
        cell,
        f"tell([os.path.join(home, name) for home in {homes} if os.path.isdir(home) for name in os.listdir(home)])",
    )
    assert set(told) <= {*leading, sys.prefix, str(REPOSITORY)}


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/gshadow", "/etc/shadow-"])
def test_passwords_of_the_system_cannot_be_read(cell: Bench, path: str) -> None:
    assert seen(cell, f"tell(tried(read, {path!r}))") in ("", "ENOENT", "EACCES", "ENOTDIR")


@pytest.mark.parametrize("folder", ["/etc/ssh", "/etc/ssl/private", "/etc/sudoers.d"])
def test_keys_of_the_system_are_not_there(cell: Bench, folder: str) -> None:
    assert seen(cell, f"tell(tried(os.listdir, {folder!r}))") in ([], "ENOENT", "EACCES")


def test_it_reaches_no_network_not_even_this_machine(cell: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = seen(
            cell,
            f"""
            names = [name for _, name in socket.if_nameindex()]
            tell([names, tried(reach, socket.AF_INET, ("127.0.0.1", {server.getsockname()[1]}))])
            """,
        )
    assert told == [["lo"], "ECONNREFUSED"]


def test_it_reaches_the_network_if_its_launch_lets_it(cell: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = ("127.0.0.1", server.getsockname()[1])
        assert seen(cell, f"tell(tried(reach, socket.AF_INET, {address}))", network=True) == "reached"


@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("place", ["/tmp", "/run"])
def test_it_reaches_no_socket_of_the_machine(cell: Bench, place: str, network: bool) -> None:
    if not os.access(place, os.W_OK):
        pytest.skip(f"NOT RUN: {place} cannot be written to")
    folder = Path(tempfile.mkdtemp(dir=place))
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(folder / "socket"))
            server.listen()
            source = f"tell(tried(reach, socket.AF_UNIX, {str(folder / 'socket')!r}))"
            assert seen(cell, source, network=network) == "ENOENT"
    finally:
        shutil.rmtree(folder)


def test_it_reaches_no_socket_that_has_a_name_and_no_file(cell: Bench) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0bulkhead-{os.getpid()}")
        server.listen()
        assert seen(cell, f"tell(tried(reach, socket.AF_UNIX, {server.getsockname()!r}))") == "ECONNREFUSED"


def test_it_has_no_capability_and_gains_none(cell: Bench) -> None:
    told = seen(
        cell, """tell(dict(line.split(":\\t") for line in read("/proc/self/status").splitlines() if ":\\t" in line))"""
    )
    assert {name: int(told[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {
        "CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapAmb": 0,
    }  # fmt: skip
    assert told["NoNewPrivs"] == "1"


def test_it_cannot_mount_nor_make_a_device(cell: Bench) -> None:
    told = seen(
        cell,
        """
        import ctypes, stat
        ctypes.CDLL(None, use_errno=True).mount(b"none", b"/tmp", b"tmpfs", 0, None)
        tell([errno.errorcode[ctypes.get_errno()], tried(os.mknod, "/tmp/disk", stat.S_IFBLK | 0o600, os.makedev(254, 0))])
        """,
    )
    assert told == ["EPERM", "EPERM"]


@pytest.mark.parametrize(("limit", "size"), [(None, 64 << 20), (32 << 20, 32 << 20)])
def test_its_shared_memory_is_as_large_as_its_memory_may_be_or_64_mebibytes(
    cell: Bench, limit: int | None, size: int
) -> None:
    told = seen(
        cell,
        """
        found = os.statvfs("/dev/shm")
        tell([os.listdir("/dev/shm"), found.f_blocks * found.f_frsize, tried(write, "/dev/shm/own")])
        """,
        memory=limit,
    )
    assert told == [[], size, "written"]
    assert not Path("/dev/shm/own").exists()


def test_shared_memory_that_is_full_refuses_more(cell: Bench) -> None:
    told = seen(
        cell,
        """
        with open("/dev/shm/own", "wb", buffering=0) as file:
            written = 0
            while isinstance(n := tried(file.write, bytes(1 << 20)), int): written += n
        tell([n, written])
        """,
    )
    assert told == ["ENOSPC", 64 << 20]


def test_an_exit_code_that_looks_like_a_signal_is_an_exit_code_and_a_signal_is_a_signal(cell: Bench) -> None:
    outcome = end(cell.python("raise SystemExit(137)"))
    assert (outcome.exit_code, outcome.signal) == (137, None)
    outcome = end(cell.python(f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"))
    assert (outcome.exit_code, outcome.signal) == (None, signal.SIGKILL)


def test_what_a_step_leaves_in_the_sandbox_is_counted_and_the_sandbox_is_not(cell: Bench) -> None:
    outcome = end(cell.python("import os, time\nif os.fork() == 0: time.sleep(60)"))
    assert (outcome.exit_code, outcome.left_behind) == (0, 1)
    assert cell.strays() == []


def test_what_a_step_leaves_in_the_sandbox_is_dead_when_its_end_is_told(cell: Bench) -> None:
    source = "import os, time\nif os.fork() == 0:\n    while True: open('beat', 'w').close()\n"
    assert end(cell.python(source + "while not os.path.exists('beat'): pass")).left_behind == 1
    (cell.folder / "beat").unlink(missing_ok=True)
    time.sleep(0.3)
    assert not (cell.folder / "beat").exists()


def test_a_step_cannot_tell_its_own_end(cell: Bench) -> None:
    source = """
import os, pathlib, time
lie = b'{"exit": 0, "cpu": 0.0, "memory": 0, "alone": true}\\n'
for link in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
    try:
        file = os.open(link, os.O_WRONLY | os.O_NONBLOCK)
        if str(link).split("/")[2] != str(os.getpid()): os.write(file, lie)
    except OSError: pass
time.sleep(0.2)
raise SystemExit(7)
"""
    outcome = end(cell.python(source))
    assert (outcome.exit_code, outcome.left_behind) == (7, 0)


def test_a_step_that_kills_the_sandbox_around_it_fails(cell: Bench) -> None:
    """The first process of a namespace cannot be killed from inside; its parent there can."""
    outcome = end(cell.python("import os, time\nos.kill(1, 9)\nos.kill(2, 9)\ntime.sleep(60)"))
    assert (outcome.exit_code, outcome.signal) != (0, None)
    assert cell.strays() == []


def test_a_program_whose_interpreter_is_missing_is_told_with_the_systems_reason(cell: Bench) -> None:
    program = cell.folder / "program"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    running = cell.start(unmounted(cell, "./program"))
    with pytest.raises(LaunchError) as refused:
        end(running)
    reason = f"[Errno 2] No such file or directory: '{program}'"
    assert str(refused.value) == f"the command could not be executed: {reason}"
    assert refused.value.infrastructure is False


def test_a_reason_is_told_whatever_the_program_is_called(cell: Bench) -> None:
    program = cell.folder / 'é "quoted"\t\\ program'
    program.write_text("no program")
    program.chmod(0o755)
    running = cell.start(unmounted(cell, str(program)))
    with pytest.raises(LaunchError) as refused:
        end(running)
    assert str(refused.value).startswith("the command could not be executed: [Errno 8] Exec format error: '")
    assert "é" in str(refused.value)


def test_a_program_of_the_machine_that_the_sandbox_does_not_show_cannot_be_executed(cell: Bench) -> None:
    program = cell.folder.parent / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    running = cell.start(unmounted(cell, str(program)))
    with pytest.raises(LaunchError) as refused:
        end(running)
    reason = f"[Errno 2] No such file or directory: '{program}'"
    assert str(refused.value) == f"the command could not be executed: {reason}"


def test_a_sandbox_that_cannot_be_made_is_the_infrastructures_fault_and_says_why(cell: Bench) -> None:
    running = cell.start(replace(cell.launch("true"), mounts=(Mount(Path("/no/such/store")),)))
    with pytest.raises(LaunchError) as refused:
        end(running)
    reason = "bwrap: Can't find source path /no/such/store: No such file or directory"
    assert str(refused.value) == f"the sandbox could not be made: {reason}"
    assert refused.value.infrastructure is True


def with_starter(cell: Bench, monkeypatch: pytest.MonkeyPatch, line: str) -> RunningProcess:
    """Start a launch in a sandbox where this line of shell stands for the starter."""
    program = cell.folder.parent / "starter"
    program.write_text(f"#!/bin/sh\n{line}\n")
    program.chmod(0o755)
    monkeypatch.setattr("orchestrator.backends.sandbox.find_compiled_starter", lambda: str(program))
    return cell.start(cell.launch("true"))


def test_a_sandbox_that_is_stopped_before_it_is_there_was_stopped(cell: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    running = with_starter(cell, monkeypatch, "exec sleep 600")
    running.stop()
    outcome = end(running)
    assert (outcome.exit_code, outcome.signal, outcome.lost) == (None, signal.SIGTERM, None)


def test_a_starter_that_ends_and_says_nothing_is_the_infrastructures_fault(
    cell: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = with_starter(cell, monkeypatch, "exit 3")
    with pytest.raises(LaunchError) as refused:
        end(running)
    assert str(refused.value) == "the sandbox could not be made: it ended (exit 3) before it started anything"
    assert refused.value.infrastructure is True


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    folder = tmp_path / "workloads" / "etl"
    folder.mkdir(parents=True)
    scratch = tmp_path / "steps" / "etl-load-1"
    mounts = (Mount(tmp_path / "store", writable=True), Mount(tmp_path / "dataset"))
    return Launch({}, ("python",), folder, {}, scratch, scratch / "messages", 1, 2, mounts)


def options(argv: list[str], name: str) -> list[str]:
    """Return the first argument of each such option, up to the command."""
    return [argv[i + 1] for i in range(argv.index("--")) if argv[i] == name]


def test_the_sandbox_dies_with_its_parent_has_its_own_session_and_drops_every_capability(launch: Launch) -> None:
    argv = sandbox_argv("/usr/bin/bwrap", launch)
    assert argv[:3] == ["/usr/bin/bwrap", "--die-with-parent", "--new-session"]
    assert options(argv, "--cap-drop") == ["ALL"]
    assert {"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net"} <= set(argv)
    assert options(argv, "--chdir") == [str(launch.folder)]


@pytest.mark.usefixtures("starter")
def test_what_stands_in_the_sandbox_is_the_compiled_starter_or_python_with_its_source(
    launch: Launch, request: pytest.FixtureRequest
) -> None:
    argv = sandbox_argv("/usr/bin/bwrap", launch)
    compiled = request.node.callspec.params["starter"] == "compiled"
    command = [STARTER] if compiled else [str(Path(sys.executable).resolve()), "-I", "-S", STARTER]
    assert argv[argv.index("--") + 1 :] == command
    shown = Path(argv[argv.index(STARTER) - 1]).name
    assert shown.startswith("bulkhead-starter" if compiled else "starter."), shown


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\nexit 0\n", b"#!/no/such/shell\n", b"\x7fELF of another machine"])
def test_a_compiled_starter_that_does_not_run_here_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    program = tmp_path / "bin" / COMPILED_STARTER
    program.parent.mkdir()
    program.write_bytes(content)
    program.chmod(0o755)
    assert find_compiled_starter.__wrapped__() is None


def test_the_network_is_kept_if_the_launch_lets_it(launch: Launch) -> None:
    assert "--unshare-net" not in sandbox_argv("bwrap", replace(launch, network=True))


def test_scratch_folder_and_writable_mounts_are_bound_for_writing_and_the_rest_for_reading(launch: Launch) -> None:
    argv = sandbox_argv("bwrap", launch)
    scratch, store = str(launch.scratch), str(launch.mounts[0].path)
    assert options(argv, "--bind") == [f"{scratch}/tmp", scratch, store]
    assert {str(launch.folder), str(launch.mounts[1].path)} <= set(options(argv, "--ro-bind"))


def test_a_folder_of_the_platform_that_lies_in_the_system_is_emptied_and_cannot_be_filled(launch: Launch) -> None:
    hidden = [Path("/opt/bulkhead"), Path("/etc/bulkhead"), Path("/srv/bulkhead")]
    argv = sandbox_argv("bwrap", launch, hidden)
    for name in ("--tmpfs", "--remount-ro"):
        assert {"/opt/bulkhead", "/etc/bulkhead"} <= set(options(argv, name))
        assert "/srv/bulkhead" not in options(argv, name)


def test_every_folder_that_is_emptied_is_made_read_only_but_shared_memory(launch: Launch) -> None:
    argv = sandbox_argv("bwrap", launch)
    assert set(options(argv, "--tmpfs")) - set(options(argv, "--remount-ro")) == {"/dev/shm"}


def test_the_environments_interpreter_and_its_editable_projects_are_shown(launch: Launch, tmp_path: Path) -> None:
    python = tmp_path / "pythons" / "3.11" / "bin" / "python3.11"
    (python.parent.parent / "lib" / "python3.11").mkdir(parents=True)
    python.parent.mkdir()
    python.touch()
    environment = tmp_path / "the real workloads" / "etl" / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(python)
    (launch.folder / ".venv").symlink_to(environment)
    editable, elsewhere = tmp_path / "the real workloads" / "an sdk", tmp_path / "elsewhere"
    editable.mkdir()
    elsewhere.mkdir()
    for name, text in {
        "sdk": json.dumps({"url": editable.as_uri(), "dir_info": {"editable": True}}),
        "elsewhere": json.dumps({"url": elsewhere.as_uri(), "dir_info": {"editable": True}}),
        "copied": json.dumps({"url": elsewhere.as_uri(), "dir_info": {}}),
        "wheel": json.dumps({"url": "https://example.org/a.whl"}),
        "gone": json.dumps({"url": (tmp_path / "gone").as_uri()}),
        "torn": "{",
        "odd": "[]",
    }.items():
        record = environment / "lib" / "python3.11" / "site-packages" / f"{name}.dist-info" / "direct_url.json"
        record.parent.mkdir(parents=True)
        record.write_text(text)
    shown = [path for path in options(sandbox_argv("bwrap", launch), "--ro-bind") if path.startswith(str(tmp_path))]
    expected = [environment, python.parent.parent, editable, launch.folder, launch.mounts[1].path]
    assert shown == [str(path) for path in expected]


def test_with_a_network_names_can_be_looked_up_where_the_resolver_is_a_link_out_of_etc(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stub-resolv.conf").touch()
    (tmp_path / "resolv.conf").symlink_to(tmp_path / "stub-resolv.conf")
    monkeypatch.setattr(sandbox, "RESOLVER", tmp_path / "resolv.conf")
    connected = sandbox_argv("bwrap", replace(launch, network=True))
    assert str(tmp_path / "stub-resolv.conf") in options(connected, "--ro-bind-try")
    assert str(tmp_path / "stub-resolv.conf") not in options(sandbox_argv("bwrap", launch), "--ro-bind-try")


def test_the_tier_is_bwrap_or_says_why_there_is_none() -> None:
    assert Sandbox("/usr/bin/bwrap").tier == "bwrap"
    assert Sandbox(None, "bwrap is not installed").tier == "none (bwrap is not installed)"


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the one folder on PATH; what is known of this machine's sandbox is forgotten before and after."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    find_sandbox.cache_clear()
    yield folder
    find_sandbox.cache_clear()


def test_a_sandbox_that_is_required_and_not_there_is_refused(only: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        backend_of(Settings(home=tmp_path, project=tmp_path, sandbox="required"))
    assert str(refused.value) == (
        "BULKHEAD_SANDBOX='required', and there is none: bwrap is not installed. Install bubblewrap, or set it to 'auto'."
    )


def test_a_sandbox_that_does_not_work_here_is_none_and_gives_its_own_reason(only: Path, tmp_path: Path) -> None:
    (only / "bwrap").write_text("#!/bin/sh\necho 'bwrap: first' >&2\necho 'bwrap: no permissions' >&2\nexit 1\n")
    (only / "bwrap").chmod(0o755)
    assert find_sandbox() == Sandbox(None, "bwrap does not work here: bwrap: no permissions")
    assert (
        backend_of(Settings(home=tmp_path, project=tmp_path)).tier
        == "none (bwrap does not work here: bwrap: no permissions)"
    )


def test_a_sandbox_that_fails_without_a_word_is_told_by_its_exit_code(only: Path) -> None:
    (only / "bwrap").write_text("#!/bin/sh\nexit 3\n")
    (only / "bwrap").chmod(0o755)
    assert find_sandbox().tier == "none (bwrap does not work here: it exited 3)"


def test_a_sandbox_that_was_switched_off_is_not_used_even_if_it_is_there(tmp_path: Path) -> None:
    assert backend_of(Settings(home=tmp_path, project=tmp_path, sandbox="off")).tier == "none (switched off)"


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_a_sandbox_that_is_there_is_used(tmp_path: Path, mode: str) -> None:
    needs_sandbox()
    assert backend_of(Settings(home=tmp_path, project=tmp_path, sandbox=mode)).tier == "bwrap"
