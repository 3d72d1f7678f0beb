"""What the proxy lets through to the engine, and what it does not; no engine is needed to say that."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.deployment.engine_proxy import load

rules = load("rules")
PLATFORM = rules.Platform(
    "here", "here_home", frozenset({"here_credentials"}), frozenset({"here-data", "here_database"})
)
HOME = "/engine/volumes/here_home/_data"
ID = "4f" * 32


def create(**host: Any) -> Any:
    """Return the HostConfig that is sent on for one that was asked for."""
    body = {"Image": "bulkhead-etl", "HostConfig": host}
    return rules.creation(body, PLATFORM, lambda source: rules.inside(source, HOME) is not None)["HostConfig"]


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/_ping"),
        ("HEAD", "/_ping"),
        ("GET", "/version"),
        ("GET", "/v1.41/info"),
        ("GET", f"/v1.41/containers/{ID}/json"),
        ("GET", f"/v1.41/containers/{ID}/logs?follow=1"),
        ("GET", "/v1.41/containers/a-name/archive?path=%2Finit"),
        ("PUT", "/v1.41/containers/a-name/archive?path=/"),
        ("POST", "/v1.41/containers/create?name=a-step"),
        ("POST", f"/v1.41/containers/{ID}/attach?stream=1"),
        ("POST", f"/v1.41/containers/{ID}/start"),
        ("POST", f"/v1.41/containers/{ID}/wait?condition=next-exit"),
        ("POST", f"/v1.41/containers/{ID}/kill?signal=TERM"),
        ("POST", f"/v1.41/containers/{ID}/stop?t=3"),
        ("DELETE", f"/v1.41/containers/{ID}?v=1&force=1"),
        ("GET", "/v1.41/images/localhost:5000/bulkhead-etl:latest/json"),
        ("GET", "/v1.41/images/bulkhead-etl%40sha256:abc/json"),
        ("POST", "/v1.41/images/create?fromImage=bulkhead-etl&tag=1"),
        ("GET", "/v1.41/networks?filters={}"),
        ("POST", "/v1.41/networks/here-data/connect"),
        ("GET", "/v1.41/volumes/here_home"),
    ],
)
def test_what_the_platform_needs_is_passed_on(method: str, target: str) -> None:
    request = rules.route(method, target, PLATFORM)
    passed, asked = urlsplit(request.target), urlsplit(target)
    assert (request.method, parse_qs(passed.query)) == (method, parse_qs(asked.query))
    assert passed.path == asked.path.replace("%40", "@")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", f"/v1.41/containers/{ID}/exec"),
        ("POST", f"/v1.41/exec/{ID}/start"),
        ("POST", f"/v1.41/containers/{ID}/update"),
        ("POST", f"/v1.41/containers/{ID}/rename?name=b"),
        ("POST", f"/v1.41/containers/{ID}/pause"),
        ("GET", f"/v1.41/containers/{ID}/export"),
        ("GET", f"/v1.41/containers/{ID}/attach/ws"),
        ("POST", "/v1.41/containers/prune"),
        ("POST", "/v1.41/build"),
        ("POST", "/v1.41/commit"),
        ("POST", "/v1.41/auth"),
        ("POST", "/v1.41/images/load"),
        ("POST", "/v1.41/images/bulkhead-etl/push"),
        ("POST", "/v1.41/images/bulkhead-etl/tag"),
        ("DELETE", "/v1.41/images/bulkhead-etl"),
        ("POST", "/v1.41/networks/create"),
        ("DELETE", "/v1.41/networks/here-data"),
        ("POST", "/v1.41/volumes/create"),
        ("GET", "/v1.41/volumes"),
        ("DELETE", "/v1.41/volumes/here_home"),
        ("POST", "/v1.41/swarm/init"),
        ("GET", "/v1.41/secrets"),
        ("POST", "/v1.41/plugins/pull"),
        ("POST", "/v1.41/session"),
        ("PUT", "/_ping"),
    ],
)
def test_everything_else_is_refused(method: str, target: str) -> None:
    with pytest.raises(rules.Refused, match="not a request that the platform needs"):
        rules.route(method, target, PLATFORM)


@pytest.mark.parametrize(
    "target",
    [
        "/v1.41/containers/../build",
        "/v1.41//containers/create",
        "/v1.41/containers/x%2f..%2f..%2fbuild/json",
        "/v1.41/containers/%2e%2e/json",
        "/v1.41/containers/./json",
        "http://engine/containers/create",
        "/v1.41/images/a\x00b/json",
    ],
)
def test_a_path_with_two_readings_is_refused(target: str) -> None:
    with pytest.raises(rules.Refused, match="not a path of the engine's API"):
        rules.route("GET", target, PLATFORM)


def test_a_version_that_takes_settings_at_the_start_is_refused() -> None:
    with pytest.raises(rules.Refused, match=r"the API's version is older than 1\.24"):
        rules.route("POST", f"/v1.23/containers/{ID}/start", PLATFORM)


@pytest.mark.parametrize("parameter", ["fromSrc=-", "repo=x", "changes=CMD+x", "message=m"])
def test_an_image_is_pulled_and_never_imported(parameter: str) -> None:
    with pytest.raises(rules.Refused, match=r"the parameter \w+ is not allowed"):
        rules.route("POST", f"/v1.41/images/create?{parameter}", PLATFORM)


def test_a_volume_of_somebody_else_is_refused() -> None:
    with pytest.raises(rules.Refused, match="not a volume of here"):
        rules.route("GET", "/v1.41/volumes/theirs", PLATFORM)


@pytest.mark.parametrize("path", ["/containers/json", "/events"])
@pytest.mark.parametrize("asked", [{}, {"label": ["run=1"]}, {"label": {"run=1": True}}])
def test_a_list_has_only_what_is_the_platforms(path: str, asked: Any) -> None:
    query = f"?all=1&filters={json.dumps(asked)}".replace(" ", "") if asked else "?all=1"
    sent = parse_qs(urlsplit(rules.route("GET", f"/v1.41{path}{query}", PLATFORM).target).query)
    assert sent["all"] == ["1"]
    assert json.loads(sent["filters"][0])["label"] == [*asked.get("label", []), "bulkhead.platform=here"]


@pytest.mark.parametrize("filters", ["[]", "nonsense", '{"label":1}'])
def test_filters_that_cannot_be_read_are_refused(filters: str) -> None:
    with pytest.raises(rules.Refused, match="filters are not a JSON object of lists"):
        rules.route("GET", f"/v1.41/containers/json?filters={filters}", PLATFORM)


def test_a_hardened_step_is_created_as_it_was_asked_for_with_the_platforms_label() -> None:
    host = {
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "NetworkMode": "none",
        "IpcMode": "private",
        "ShmSize": 1 << 20,
        "Tmpfs": {"/tmp": "rw,size=1m"},
        "Mounts": [
            {"Type": "bind", "Source": f"{HOME}/stores/etl/etl", "Target": "/s", "ReadOnly": False},
            {"Type": "bind", "Source": f"{HOME}/datasets/x/1", "Target": "/d", "ReadOnly": True},
        ],
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
        "OomScoreAdj": 800,
        "LogConfig": {"Type": "none", "Config": {}},
        "RestartPolicy": {"Name": "no"},
        "Memory": 1 << 29,
        "MemorySwap": 1 << 29,
        "NanoCpus": 10**9,
        "PidsLimit": 100,
    }
    body = {
        "Image": "sha256:abc",
        "Entrypoint": ["/run/bulkhead-init", "--stdin"],
        "Cmd": [],
        "User": "10001:10001",
        "Labels": {"bulkhead.run": "1", "bulkhead.platform": "another"},
        "OpenStdin": True,
        "StdinOnce": True,
        "HostConfig": host,
    }
    made = rules.creation(body, PLATFORM, lambda source: rules.inside(source, HOME) is not None)
    kept = {name: value for name, value in host.items() if name != "Mounts"}
    assert {name: value for name, value in made["HostConfig"].items() if name != "Mounts"} == kept
    assert made["HostConfig"]["Mounts"] == host["Mounts"]
    assert made["Labels"] == {"bulkhead.run": "1", "bulkhead.platform": "here"}
    assert {name for name in body if name != "Cmd"} == set(made)


def test_a_run_worker_gets_the_state_and_reads_the_credentials() -> None:
    binds = ["here_home:/var/lib/bulkhead:rw", "here_credentials:/run/credentials:ro"]
    assert create(Binds=binds, NetworkMode="here_database", AutoRemove=True, Init=True)["Binds"] == binds


def test_a_container_that_names_no_network_gets_none() -> None:
    assert create() == {"NetworkMode": "none"}
    assert rules.creation({"Image": "x"}, PLATFORM, bool)["HostConfig"] == {"NetworkMode": "none"}


@pytest.mark.parametrize(
    "host",
    [
        {"Privileged": True},
        {"privileged": True},
        {"PRIVILEGED": True},
        {"CapAdd": ["SYS_ADMIN"]},
        {"capadd": ["SYS_ADMIN"]},
        {"PidMode": "host"},
        {"PidMode": f"container:{ID}"},
        {"IpcMode": "host"},
        {"UTSMode": "host"},
        {"UsernsMode": "host"},
        {"CgroupnsMode": "host"},
        {"Devices": [{"PathOnHost": "/dev/sda"}]},
        {"DeviceRequests": [{"Count": -1}]},
        {"DeviceCgroupRules": ["c 1:3 mr"]},
        {"SecurityOpt": ["seccomp=unconfined"]},
        {"SecurityOpt": ["apparmor=unconfined"]},
        {"SecurityOpt": ["no-new-privileges:false"]},
        {"VolumesFrom": ["postgres"]},
        {"VolumeDriver": "local"},
        {"PortBindings": {"80/tcp": [{"HostPort": "80"}]}},
        {"PublishAllPorts": True},
        {"Links": ["postgres"]},
        {"ExtraHosts": ["a:1.2.3.4"]},
        {"Sysctls": {"kernel.x": "1"}},
        {"CgroupParent": "/"},
        {"GroupAdd": ["docker"]},
        {"OomKillDisable": True},
        {"Runtime": "another"},
        {"RestartPolicy": {"Name": "always"}},
        {"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "tcp://1.2.3.4"}}},
        {"StorageOpt": {"dm.x": "1"}},
        {"MaskedPaths": ["/proc/keys"]},
        {"ReadonlyPaths": ["/proc/bus"]},
        {"Annotations": {"a": "b"}},
        {"SomethingNew": "x"},
    ],
    ids=json.dumps,
)
def test_what_leads_out_of_the_container_is_refused(host: Any) -> None:
    with pytest.raises(rules.Refused, match="is not allowed"):
        create(**host)


def test_what_is_empty_is_left_out_and_so_takes_the_engines_default() -> None:
    assert create(Privileged=False, MaskedPaths=[], ReadonlyPaths=[], CapAdd=None, ConsoleSize=[0, 0]) == create()


@pytest.mark.parametrize("network", ["host", "bridge", "default", f"container:{ID}", "somebody-elses"])
def test_a_network_that_is_not_the_platforms_is_refused(network: str) -> None:
    with pytest.raises(rules.Refused, match="is not one of here"):
        create(NetworkMode=network)
    with pytest.raises(rules.Refused, match="is not one of here"):
        rules.creation({"NetworkingConfig": {"EndpointsConfig": {network: {}}}}, PLATFORM, bool)


def test_of_a_network_that_is_joined_only_the_name_is_sent() -> None:
    body = {"NetworkingConfig": {"EndpointsConfig": {"here-data": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}}}}}
    assert rules.creation(body, PLATFORM, bool)["NetworkingConfig"] == {"EndpointsConfig": {"here-data": {}}}


@pytest.mark.parametrize(
    "source",
    [
        "/",
        "/etc",
        HOME,
        f"{HOME}/",
        f"{HOME}/dagster",
        f"{HOME}/stores/../dagster",
        f"{HOME}-2/stores",
        f"{HOME}//stores",
    ],
)
def test_a_folder_that_no_step_is_given_is_refused(source: str) -> None:
    with pytest.raises(rules.Refused, match="is not a folder that a step may be given"):
        create(Mounts=[{"Type": "bind", "Source": source, "Target": "/x", "ReadOnly": True}])
    with pytest.raises(rules.Refused, match="is not a folder that a step may be given"):
        create(Binds=[f"{source}:/x:ro"])


@pytest.mark.parametrize(
    ("bind", "why"),
    [
        ("theirs:/x", "the volume 'theirs' is not one of here"),
        ("here_credentials:/x", "the volume here_credentials may be mounted read-only"),
        ("here_credentials:/x:rw", "the volume here_credentials may be mounted read-only"),
        ("here_home:/x:rshared", "expected SOURCE:TARGET with ro, rw or nocopy"),
        ("/x", "expected SOURCE:TARGET with ro, rw or nocopy"),
    ],
)
def test_a_volume_that_is_not_the_platforms_is_refused(bind: str, why: str) -> None:
    with pytest.raises(rules.Refused, match=why):
        create(Binds=[bind])


@pytest.mark.parametrize(
    "mount",
    [
        {"Type": "volume", "Source": "", "Target": "/x"},
        {"Type": "volume", "Source": "/etc", "Target": "/x"},
        {"Type": "bind", "Source": "here_home", "Target": "/x"},
        {"Type": "npipe", "Source": "x", "Target": "/x"},
        {"Type": "bind", "Source": f"{HOME}/stores/a", "Target": "/x", "BindOptions": {"Propagation": "rshared"}},
        {
            "Type": "volume",
            "Source": "here_home",
            "Target": "/x",
            "VolumeOptions": {"DriverConfig": {"Options": {"o": "bind", "device": "/"}}},
        },
    ],
    ids=lambda mount: json.dumps(mount)[:60],
)
def test_a_mount_that_is_something_else_is_refused(mount: Any) -> None:
    with pytest.raises(rules.Refused):
        create(Mounts=[mount])


@pytest.mark.parametrize("body", [[], "text", {"HostConfig": ["x"]}, {"Env": "A=1"}, {"Healthcheck": {"Test": ["x"]}}])
def test_a_body_that_is_something_else_is_refused(body: Any) -> None:
    with pytest.raises(rules.Refused):
        rules.creation(body, PLATFORM, bool)


def test_of_a_connection_to_a_network_only_the_container_is_taken() -> None:
    assert rules.connection({"Container": ID, "EndpointConfig": None}) == ID
    with pytest.raises(rules.Refused, match="EndpointConfig"):
        rules.connection({"Container": ID, "EndpointConfig": {"Links": ["postgres"]}})
    with pytest.raises(rules.Refused, match="Container is missing"):
        rules.connection({})


@pytest.mark.parametrize(
    ("labels", "own", "look"),
    [
        ({"bulkhead.platform": "here"}, True, True),
        ({"com.docker.compose.project": "here"}, False, True),
        ({"bulkhead.platform": "there"}, False, False),
        (None, False, False),
    ],
)
def test_only_what_was_created_for_the_platform_is_its_own_and_its_services_may_be_looked_at(
    labels: Any, own: bool, look: bool
) -> None:
    assert (rules.owned(labels, PLATFORM), rules.owned(labels, PLATFORM, look=True)) == (own, look)
