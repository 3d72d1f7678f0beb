"""Images that were pushed are pulled and run elsewhere: `push`, then `make`, against a registry on this machine."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.conftest import REPOSITORY, needs_engine, wait_for
from tests.end_to_end.platform import deployed, docker

pytestmark = [pytest.mark.engine, pytest.mark.postgres, pytest.mark.timeout(1500)]
IMAGES = ("orchestrator", "engine-proxy", "init", "etl", "ml", "showcase")
TAG = f"pushed-{os.getpid()}"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Return the address of an empty registry."""
    needs_engine()
    program = shutil.which("docker-registry") or shutil.which("registry")
    if program is None:
        message = "NOT RUN: there is no docker-registry command (on Debian and Ubuntu: apt install docker-registry)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "registry.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/data}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n"
    )
    process = subprocess.Popen([program, "serve", str(config)], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(port), "the registry answers")
        yield f"localhost:{port}/site"
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_what_was_pushed_is_pulled_and_runs(registry: str) -> None:
    names = [f"{registry}/bulkhead-{image}:{TAG}" for image in IMAGES]
    push = ["make", "-f", "Makefile_dev.txt", "push", f"REGISTRY={registry}", f"TAG={TAG}", f"IMAGE={' '.join(IMAGES)}"]
    done = subprocess.run(push, cwd=REPOSITORY, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    docker("image", "rm", *names)
    try:
        with deployed(REGISTRY=registry, TAG=TAG) as platform:
            assert platform.service("webserver")["Config"]["Image"] == names[0]
            assert platform.runs("etl", "etl_job")[0] == "SUCCESS"
    finally:
        docker("image", "rm", *names)
