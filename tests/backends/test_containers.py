"""What the engine is asked for: nothing more than the contract says, and nothing secret."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends import containers
from orchestrator.backends.containers import INIT, NOBODY, SPARE_PIDS, container_config, key_of, labels, order, user
from orchestrator.backends.engine import Image
from orchestrator.backends.launch import Launch, Limits, Mount
from orchestrator.settings import read_settings

IMAGE = Image("bulkhead-etl:1", "sha256:1", "/app")
LABELS = {"run": "r1", "step": "load", "team": "etl", "attempt": "1", "contract": "c", "worker": "w"}


class Elsewhere:
    """An engine for which the platform's home is at another place."""

    def __init__(self, home: Path, **variables: str) -> None:
        self.settings = read_settings({"BULKHEAD_HOME": str(home), **variables})

    def path(self, path: Path) -> str:
        return f"/host{path}"

    def network(self) -> str:
        return "bulkhead-data"


def launch(home: Path, **more: Any) -> Launch:
    scratch = home / "steps" / "s"
    env = {"PATH": "/venv/bin", "TOKEN": "hunter2", "A": "1 2"}
    return Launch(LABELS, ("python", "-m", "etl.load"), home, env, scratch, scratch / "m", 1, 2, image="etl", **more)


def config(home: Path, variables: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    engine: Any = Elsewhere(home, **(variables or {}))
    return container_config(engine, IMAGE, launch(home, **more), "/status", "/host/init")


def test_a_container_can_do_nothing_that_its_contract_does_not_say(tmp_path: Path) -> None:
    made = config(tmp_path)
    host = made["HostConfig"]
    assert (made["User"], made["Image"], made["WorkingDir"]) == ("{}:{}".format(*user()), "sha256:1", "/app")
    assert user()[0] != 0
    assert host["ReadonlyRootfs"] is True
    assert (host["CapDrop"], host["SecurityOpt"]) == (["ALL"], ["no-new-privileges:true"])
    assert (host["NetworkMode"], host["LogConfig"]["Type"]) == ("none", "none")
    assert host["Ulimits"] == [{"Name": "core", "Soft": 0, "Hard": 0}]
    assert not {"Privileged", "Devices", "CapAdd", "PidMode", "Binds"} & set(host)


def test_it_is_found_by_its_labels(tmp_path: Path) -> None:
    found = config(tmp_path)["Labels"]
    assert found == {
        **{f"bulkhead.{name}": value for name, value in LABELS.items()},
        "bulkhead.home": f"/host{tmp_path}",
    }


def test_neither_command_nor_environment_stand_in_its_configuration(tmp_path: Path) -> None:
    text = json.dumps(config(tmp_path))
    assert "hunter2" not in text and "etl.load" not in text and "/venv/bin" not in text


def test_only_its_own_folders_are_mounted_where_the_engine_has_them_with_the_declared_mode(tmp_path: Path) -> None:
    mounts = (Mount(tmp_path / "stores" / "etl" / "a", True), Mount(tmp_path / "datasets" / "d" / "v"))
    found = [(m["Source"], m["Target"], m["ReadOnly"]) for m in config(tmp_path, mounts=mounts)["HostConfig"]["Mounts"]]
    assert found == [
        (f"/host{tmp_path}/steps/s", f"{tmp_path}/steps/s", False),
        (f"/host{tmp_path}/stores/etl/a", f"{tmp_path}/stores/etl/a", False),
        (f"/host{tmp_path}/datasets/d/v", f"{tmp_path}/datasets/d/v", True),
        ("/host/init", INIT, True),
    ]


def test_limits_are_the_kernels_and_there_is_no_swap_beyond_memory(tmp_path: Path) -> None:
    host = config(tmp_path, limits=Limits(memory=64 << 20, cores=0.5, pids=40))["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (64 << 20, 64 << 20, 500_000_000)
    assert host["PidsLimit"] == 40 + SPARE_PIDS
    assert "size=67108864" in host["Tmpfs"]["/tmp"]


def test_without_limits_the_engine_is_asked_for_none(tmp_path: Path) -> None:
    assert not {"Memory", "MemorySwap", "NanoCpus", "PidsLimit"} & set(config(tmp_path)["HostConfig"])


def test_more_processors_than_there_are_mean_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers.os, "cpu_count", lambda: 2)
    assert config(tmp_path, limits=Limits(cores=64))["HostConfig"]["NanoCpus"] == 2_000_000_000


def test_a_step_that_may_reach_machines_is_on_the_network_for_that(tmp_path: Path) -> None:
    assert config(tmp_path, network=True)["HostConfig"]["NetworkMode"] == "bulkhead-data"


def test_a_container_that_may_be_kept_keeps_a_bounded_log_and_says_for_how_long(tmp_path: Path) -> None:
    made = config(tmp_path, {"BULKHEAD_KEEP_FAILED": "600"})
    assert made["Labels"]["bulkhead.keep"] == "600"
    assert made["HostConfig"]["LogConfig"] == {"Type": "local", "Config": {"max-size": "10m", "max-file": "2"}}


def test_a_step_runs_as_the_platforms_own_user_but_never_as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers.os, "getuid", lambda: 1234)
    monkeypatch.setattr(containers.os, "getgid", lambda: 567)
    assert user() == (1234, 567)
    monkeypatch.setattr(containers.os, "getuid", lambda: 0)
    assert user() == (NOBODY, NOBODY)


def test_what_init_is_told_is_its_limits_the_variables_and_the_command(tmp_path: Path) -> None:
    told = order(
        launch(tmp_path, limits=Limits(pids=40, open_files=100, cpu_time=1.5, memory=1 << 20)), {"A": "1 2", "B": ""}
    )
    length, _, words = told.partition(b"\n")
    assert int(length) == len(words)
    assert words.split(b"\0") == [
        *(b"--pids", b"40", b"--open-files", b"100", b"--cpu-time", b"1.5", b"--memory", b"1048576"),
        *(b"--env", b"A=1 2", b"--env", b"B="),
        *(b"--", b"python", b"-m", b"etl.load", b""),
    ]


def test_containers_stand_for_each_other_only_if_all_but_their_status_file_is_the_same(tmp_path: Path) -> None:
    engine: Any = Elsewhere(tmp_path)
    first, second = (container_config(engine, IMAGE, launch(tmp_path), status, "/i") for status in ("/s/1", "/s/2"))
    other = container_config(engine, IMAGE, launch(tmp_path, network=True), "/s/1", "/i")
    assert key_of(first, "/s/1") == key_of(second, "/s/2") != key_of(other, "/s/1")
    assert labels(engine, launch(tmp_path))["bulkhead.step"] == "load"
