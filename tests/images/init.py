"""Containers that run a workload below bulkhead-init, built as the image builds it, for the tests of it."""

import json
import subprocess
import textwrap
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from tests.conftest import REPOSITORY, needs_engine

IMAGE = "python:3.13-slim-trixie"
RECIPE = REPOSITORY / "workload_images" / "init"
PATIENCE = 120.0
MEBIBYTE = 1 << 20
# As the platform starts every step's container.
HARDENED = (
    "--user=10001:10001",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--network=none",
)
NO_GROUP = ("--tmpfs=/sys/fs/cgroup:ro",)
PRELUDE = """
import ctypes, errno, os, resource, signal, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def python(body): return subprocess.Popen([sys.executable, "-c", body])
def refused(call):
    try: call()
    except OSError as error: return errno.errorcode[error.errno]
    return "allowed"
def system(name, *values):
    if getattr(libc, name)(*values) < 0: raise OSError(ctypes.get_errno(), name)
def daemon(body):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: body()
        os._exit(0)
    os.wait()
def sleep_on():
    while True: time.sleep(60)
"""


@dataclass(frozen=True)
class Ended:
    """What a finished container left: its exit code, its output, the objects in its status file."""

    code: int
    stdout: str
    stderr: str
    said: Sequence[Mapping[str, Any]]

    @property
    def last(self) -> Mapping[str, Any]:
        """Return the last line, after the one that says that the workload was started."""
        assert [set(line) for line in self.said[:-1]] == [{"started"}], self
        return self.said[-1]


@dataclass
class Container:
    """A container that runs, with its status file, which has no name any more."""

    name: str
    process: "subprocess.Popen[str]"
    status: IO[bytes]

    def said(self) -> list[Mapping[str, Any]]:
        """Return the objects in the status file so far."""
        self.status.seek(0)
        return [json.loads(line) for line in self.status.read().splitlines()]

    def until_it_prints(self, line: str) -> None:
        assert self.process.stdout is not None
        for printed in self.process.stdout:
            if printed == f"{line}\n":
                return
        raise AssertionError(f"never printed {line}: {self.end()}")

    def send(self, name: str) -> None:
        subprocess.run(["docker", "kill", f"--signal={name}", self.name], check=True, capture_output=True)

    def end(self, given: str = "") -> Ended:
        """Wait for its end; `given` is what it reads from stdin."""
        stdout, stderr = self.process.communicate(given, timeout=PATIENCE)
        return Ended(self.process.returncode, stdout, stderr, self.said())


@dataclass
class Bench:
    """A place to start containers with bulkhead-init as their first process."""

    program: Path
    folder: Path
    started: list[Container] = field(default_factory=list)

    def start(self, *argv: str, limits: Sequence[str] = (), engine: Sequence[str] = ()) -> Container:
        """Start a container with a command; `limits` are for bulkhead-init, `engine` for the engine."""
        command = ["/run/bulkhead-init", "--status", "/status/status", *limits, "--", *argv]
        return self.start_as(*command, engine=engine)

    def start_as(self, *command: str, engine: Sequence[str] = ()) -> Container:
        """Start a container with a command that names bulkhead-init itself."""
        name = f"bulkhead-init-test-{uuid.uuid4().hex[:12]}"
        folder = self.folder / name
        folder.mkdir()
        (folder / "status").touch()
        for path in (folder, folder / "status"):
            path.chmod(0o777)
        mounts = [f"--volume={self.program}:/run/bulkhead-init:ro", f"--volume={folder}:/status"]
        process = subprocess.Popen(
            ["docker", "run", "--rm", f"--name={name}", *HARDENED, *mounts, *engine, IMAGE, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(Container(name, process, (folder / "status").open("rb")))
        return self.started[-1]

    def python(self, body: str, *limits: str, engine: Sequence[str] = ()) -> Container:
        """Start a container with a Python program."""
        return self.start("python", "-c", PRELUDE + textwrap.dedent(body), limits=limits, engine=engine)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Build the image; return the program, copied out of it."""
    needs_engine()
    tag = f"bulkhead-init-test:{uuid.uuid4().hex[:12]}"
    subprocess.run(["docker", "build", "--quiet", f"--tag={tag}", str(RECIPE)], check=True, timeout=600)
    made = subprocess.run(["docker", "create", tag], check=True, capture_output=True, text=True).stdout.strip()
    try:
        folder = tmp_path_factory.mktemp("image")
        subprocess.run(["docker", "export", f"--output={folder}/files.tar", made], check=True)
        (folder / "config").write_text(
            subprocess.run(["docker", "inspect", tag], check=True, capture_output=True, text=True).stdout
        )
        subprocess.run(["docker", "cp", f"{made}:/bulkhead-init", str(folder)], check=True, capture_output=True)
        yield folder / "bulkhead-init"
    finally:
        subprocess.run(["docker", "rm", made], check=True, capture_output=True)
        subprocess.run(["docker", "rmi", tag], check=True, capture_output=True)


@pytest.fixture
def bench(program: Path, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(program, tmp_path)
    yield made
    for container in made.started:
        if container.process.poll() is None:
            subprocess.run(["docker", "rm", "--force", container.name], capture_output=True)
            container.process.communicate()
        container.status.close()
