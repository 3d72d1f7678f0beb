"""The engine: what is said when it, or an image, is not there; what is taken from images; what was left on it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.engine import Engine
from orchestrator.backends.launch import LaunchError
from orchestrator.settings import Settings, read_settings
from tests.conftest import needs_engine


def settings(home: Path, **variables: str) -> Settings:
    return read_settings({"BULKHEAD_HOME": str(home), "BULKHEAD_BACKEND": "docker", **variables})


def test_an_engine_that_does_not_answer_is_named_with_its_address_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LaunchError) as refused:
        Engine(settings(tmp_path, DOCKER_HOST=f"unix://{tmp_path}/docker.sock"))
    text = str(refused.value)
    assert refused.value.infrastructure
    assert text.startswith(f"the Docker engine at unix://{tmp_path}/docker.sock does not answer: ")
    assert text.endswith(". Start it, or set DOCKER_HOST.")


def test_the_platforms_folders_are_where_its_own_mounts_say(tmp_path: Path) -> None:
    engine: Any = Engine.__new__(Engine)
    engine._seen_as = {Path("/var/lib/bulkhead"): Path("/v/home"), Path("/var/lib/bulkhead/stores"): Path("/disk/s")}
    assert engine.path(Path("/var/lib/bulkhead/steps/a b")) == "/v/home/steps/a b"
    assert engine.path(Path("/var/lib/bulkhead/stores/etl")) == "/disk/s/etl"
    assert engine.path(Path("/elsewhere")) == "/elsewhere"


@pytest.mark.engine
@pytest.mark.parametrize(
    ("pull", "reason"),
    [
        ("never", "is not on the engine, and BULKHEAD_PULL=never forbids to pull it"),
        ("missing", "could not be pulled: "),
    ],
)
def test_an_image_that_is_not_there_is_named_with_what_was_tried_and_what_to_do(
    tmp_path: Path, pull: str, reason: str
) -> None:
    needs_engine()
    engine = Engine(settings(tmp_path, BULKHEAD_PULL=pull, BULKHEAD_REGISTRY="127.0.0.1:9", BULKHEAD_TAG="7"))
    with pytest.raises(LaunchError) as refused:
        engine.image("prices", "team prices")
    assert str(refused.value).startswith(f"the image 127.0.0.1:9/bulkhead-prices:7 of team prices {reason}")
    assert str(refused.value).endswith(
        "Build it: make -f Makefile_dev.txt build IMAGE=prices. Or set BULKHEAD_REGISTRY and BULKHEAD_TAG."
    )
    assert refused.value.infrastructure


@pytest.mark.engine
def test_a_network_for_steps_is_made_once_and_keeps_them_apart(tmp_path: Path) -> None:
    needs_engine()
    name = f"bulkhead-test-{tmp_path.name}"
    engine = Engine(settings(tmp_path, BULKHEAD_DOCKER_NETWORK=name))
    try:
        assert (engine.network(), engine.network()) == (name, name)
        (made,) = engine.api.networks(names=[f"^{name}$"])
        assert made["Options"] == {"com.docker.network.bridge.enable_icc": "false"}
    finally:
        subprocess.run(["docker", "network", "rm", name], check=True, stdout=subprocess.DEVNULL)
