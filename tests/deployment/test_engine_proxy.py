"""The proxy before a real engine: it carries all that the platform does there, and nothing of what it must not do."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError, NotFound

from tests.conftest import needs_engine, wait_for
from tests.deployment.engine_proxy import FOLDER

pytestmark = pytest.mark.engine
IMAGE = "python:3.13-slim-trixie"
ECHO = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"
NAME = f"bulkhead-proxy-{os.getpid()}"


@dataclass(frozen=True)
class Setting:
    """An engine, and a proxy before it: the client of each, and the port of the proxy."""

    engine: Any
    proxied: Any
    port: int
    home: str

    def container(self, *command: str, **more: Any) -> Any:
        """Create a container of the platform, through the proxy."""
        return self.proxied.containers.create(IMAGE, list(command), **{"network_mode": "none", **more})

    def say(self, text: bytes) -> bytes:
        """Send bytes to the proxy, and return all that it answers."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as way:
            way.sendall(text)
            return b"".join(iter(lambda: way.recv(65536), b""))


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    needs_engine()
    engine = docker.from_env()
    volume, network = engine.volumes.create(f"{NAME}_home"), engine.networks.create(f"{NAME}-data")
    address = engine.api.base_url.replace("http+docker://localhost", "") or "/var/run/docker.sock"
    env = {
        "PATH": os.environ["PATH"],
        "ENGINE_PROXY_PROJECT": NAME,
        "ENGINE_PROXY_HOME": volume.name,
        "ENGINE_PROXY_NETWORKS": network.name,
        "ENGINE_PROXY_LISTEN": "127.0.0.1:0",
        "ENGINE_PROXY_SOCKET": address if Path(address).exists() else "/var/run/docker.sock",
    }
    home = volume.attrs["Mountpoint"]
    if os.access(home, os.R_OK):
        env["ENGINE_PROXY_HOME_PATH"] = home
    command = [sys.executable, str(FOLDER / "engine_proxy.py")]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.readline()
    port = int(said.rpartition(" ")[2])
    proxied = docker.DockerClient(f"tcp://127.0.0.1:{port}", version="auto")
    try:
        yield Setting(engine, proxied, port, home)
    finally:
        for one in engine.containers.list(all=True, filters={"label": f"bulkhead.platform={NAME}"}):
            one.remove(force=True)
        process.terminate()
        process.communicate(timeout=30)
        network.remove()
        volume.remove()


@pytest.fixture
def foreign(setting: Setting) -> Iterator[Any]:
    """Return a running container that somebody else made."""
    made = setting.engine.containers.run(IMAGE, ["sleep", "600"], detach=True, network_mode="none", init=True)
    yield made
    made.remove(force=True)


def test_a_container_lives_and_dies_through_the_proxy(setting: Setting) -> None:
    made = setting.container("python", "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)")
    made.start()
    assert made.wait()["StatusCode"] == 7
    assert (made.logs(stdout=True, stderr=False), made.logs(stdout=False, stderr=True)) == (b"out\n", b"err\n")
    assert setting.proxied.containers.get(made.id).attrs["State"]["ExitCode"] == 7
    made.remove()
    with pytest.raises(NotFound):
        setting.proxied.containers.get(made.id)


def test_an_attached_container_is_spoken_to_live_in_both_directions_until_its_input_ends(setting: Setting) -> None:
    config = {"Image": IMAGE, "Cmd": ["python", "-c", ECHO], "OpenStdin": True, "StdinOnce": True, "AttachStdin": True}
    made = setting.proxied.containers.get(setting.proxied.api.create_container_from_config(config)["Id"])
    way = setting.proxied.api.attach_socket(made.id, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    made.start()
    for word in (b"one\n", b"two\n"):
        way._sock.sendall(word)
        assert received(way._sock, 8 + len(word))[8:] == word.upper()
    time.sleep(1)
    way._sock.sendall(b"three\n")
    assert received(way._sock, 14)[8:] == b"THREE\n"
    way._sock.shutdown(socket.SHUT_WR)
    assert made.wait()["StatusCode"] == 0
    way.close()
    made.remove()


def received(way: socket.socket, count: int) -> bytes:
    way.settimeout(60)
    data = b""
    while len(data) < count:
        piece = way.recv(count - len(data))
        assert piece, f"the stream ended after {data!r}"
        data += piece
    return data


def test_files_go_into_a_container_and_come_out_of_it(setting: Setting) -> None:
    made = setting.container("true")
    stream, found = made.get_archive("/etc/hostname")
    data = b"".join(stream)
    assert found["name"] == "hostname"
    assert made.put_archive("/tmp", data)
    assert made.get_archive("/tmp/hostname")[1]["name"] == "hostname"
    made.remove()


def test_a_container_joins_a_network_of_the_platform_and_no_other(setting: Setting) -> None:
    made = setting.container("sleep", "600", network_mode=f"{NAME}-data")
    network = setting.proxied.networks.get(f"{NAME}-data")
    network.disconnect(made)
    network.connect(made)
    with pytest.raises(APIError, match=f"not a network of {NAME}"):
        setting.proxied.networks.get("bridge").connect(made)
    made.remove(force=True)


def test_a_list_has_the_platforms_containers_and_nobody_elses(setting: Setting, foreign: Any) -> None:
    made = setting.container("true")
    found = [one.id for one in setting.proxied.containers.list(all=True)]
    assert made.id in found
    assert foreign.id not in found
    made.remove()


def test_events_arrive_as_they_happen_and_are_the_platforms(setting: Setting, foreign: Any) -> None:
    events = setting.proxied.events(decode=True)
    foreign.kill("SIGCONT")
    made = setting.container("true")
    first = next(iter(events))
    assert (first["Action"], first["id"]) == ("create", made.id)
    events.close()
    made.remove()


@pytest.mark.parametrize("action", ["kill", "stop", "start", "attach", "remove", "logs", "get_archive", "inspect"])
def test_a_container_of_somebody_else_cannot_be_touched(setting: Setting, foreign: Any, action: str) -> None:
    act = {
        "attach": lambda: setting.proxied.api.attach(foreign.id),
        "get_archive": lambda: setting.proxied.api.get_archive(foreign.name, "/etc"),
        "inspect": lambda: setting.proxied.api.inspect_container(foreign.name),
        "logs": lambda: setting.proxied.api.logs(foreign.id),
        "remove": lambda: setting.proxied.api.remove_container(foreign.id, force=True),
    }.get(action, lambda: getattr(setting.proxied.api, action)(foreign.id))
    with pytest.raises(APIError, match=rf"the container \S+ is not one of {NAME}"):
        act()
    foreign.reload()
    assert foreign.status == "running"


def test_nothing_is_executed_in_a_container(setting: Setting) -> None:
    made = setting.container("sleep", "600", init=True)
    made.start()
    with pytest.raises(APIError, match="not a request that the platform needs"):
        made.exec_run("true")
    made.remove(force=True)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ({"privileged": True}, "HostConfig.Privileged=true is not allowed"),
        ({"pid_mode": "host"}, 'HostConfig.PidMode="host" is not allowed'),
        ({"network_mode": "host"}, "the network 'host' is not one of"),
        ({"cap_add": ["SYS_ADMIN"]}, "HostConfig.CapAdd"),
        ({"volumes": ["/:/host"]}, "/ is not a folder that a step may be given"),
        ({"volumes": ["/var/run/docker.sock:/s"]}, "/var/run/docker.sock is not a folder that a step may be given"),
    ],
)
def test_a_container_that_leads_to_the_host_is_not_created(setting: Setting, host: Any, why: str) -> None:
    with pytest.raises(APIError, match=why):
        setting.container("true", **host)
    assert setting.proxied.containers.list(all=True) == []


def test_a_folder_of_the_home_is_mounted_and_a_link_in_its_place_is_not(setting: Setting) -> None:
    home = Path(setting.home)
    if not os.access(home, os.W_OK):
        pytest.skip("NOT RUN: the engine's volumes belong to another user")
    (home / "stores" / "own").mkdir(parents=True)
    (home / "stores" / "link").symlink_to("/etc")
    setting.container("true", volumes=[f"{home}/stores/own:/x:ro"]).remove()
    for source in ("link", "link/ssl"):
        with pytest.raises(APIError, match="is not a folder that a step may be given"):
            setting.container("true", volumes=[f"{home}/stores/{source}:/x:ro"])


def test_what_follows_a_request_on_its_connection_never_reaches_the_engine(setting: Setting) -> None:
    body = json.dumps({"Image": IMAGE, "Labels": {"smuggled": NAME}, "HostConfig": {"Privileged": True}})
    second = f"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    made = setting.container("true")
    for first in ("GET /_ping", f"GET /containers/{made.id}/json", f"POST /containers/{made.id}/attach?logs=1"):
        answer = setting.say(f"{first} HTTP/1.1\r\nHost: x\r\n\r\n{second}".encode())
        assert answer.count(b"HTTP/1.1 ") <= 1
    # To a container that is gone the engine answers at once, and would read on.
    made.remove()
    answer = setting.say(f"POST /containers/{made.id}/attach HTTP/1.1\r\nHost: x\r\n\r\n{second}".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert setting.engine.containers.list(all=True, filters={"label": f"smuggled={NAME}"}) == []


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (b"nonsense\r\n\r\n", b"is not a request"),
        (b"POST /containers/create HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"a body needs a Content-Length"),
        (b"GET /_ping HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"stands twice"),
        (b"GET /_ping HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"Content-Length is not a number"),
        (b"GET /_ping HTTP/1.1\r\nA: b\r\n c: d\r\n\r\n", b"is not a header"),
        (b"GET /_ping HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"a body is not allowed"),
        (b"POST /containers/create HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"the body of the request is not JSON"),
        (b"GET /_ping HTTP/1.1\r\nA: " + b"a" * 70000 + b"\r\n\r\n", b"the head of the request is larger than"),
    ],
)
def test_a_request_with_two_readings_is_refused(setting: Setting, request_: bytes, why: bytes) -> None:
    answer = setting.say(request_)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert why in answer


def test_a_client_that_goes_away_leaves_no_connection_to_the_engine(setting: Setting) -> None:
    before = descriptors(setting)
    with socket.create_connection(("127.0.0.1", setting.port)) as way:
        way.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert way.recv(1024).startswith(b"HTTP/1.1 200")
        assert descriptors(setting) > before
    wait_for(lambda: descriptors(setting) <= before, "the connections are closed")


def descriptors(setting: Setting) -> int:
    """Return how many sockets the proxy's process has."""
    import psutil

    (proxy,) = [
        one
        for one in psutil.Process().children()
        if "engine_proxy.py" in " ".join(one.cmdline()) and listens(one, setting.port)
    ]
    return sum("socket:" in str(link.readlink()) for link in Path(f"/proc/{proxy.pid}/fd").iterdir())


def listens(process: Any, port: int) -> bool:
    return any(one.laddr.port == port for one in process.net_connections("tcp") if one.status == "LISTEN")
