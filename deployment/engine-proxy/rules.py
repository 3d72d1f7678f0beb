"""What the platform may ask of the engine: which requests, and what a container it creates may have.

Everything is refused that is not named here. A request to create a container is written anew from what was checked, so
the engine never parses what this program did not.
"""

import json
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

LABEL = "bulkhead.platform"
COMPOSE_LABEL = "com.docker.compose.project"
# What a step may be given of the platform's state.
FOLDERS = ("stores", "datasets", "steps", "init")
# An engine takes the settings of a container with its start below this version.
OLDEST = (1, 24)

CONTAINER = r"(?P<container>[A-Za-z0-9][A-Za-z0-9_.-]*)"
NETWORK = r"(?P<network>[A-Za-z0-9][A-Za-z0-9_.-]*)"
VOLUME = r"(?P<volume>[A-Za-z0-9][A-Za-z0-9_.-]*)"
IMAGE = r"[A-Za-z0-9][A-Za-z0-9_.:/@-]*"
# Method, path, and what is done with it.
ROUTES = [
    ("GET|HEAD", "/_ping", "pass"),
    ("GET", "/(version|info)", "pass"),
    ("GET", "/(containers/json|events)", "filter"),
    ("POST", "/containers/create", "create"),
    ("GET", f"/containers/{CONTAINER}/json", "look"),
    ("GET", f"/containers/{CONTAINER}/(logs|stats|top|archive)", "own"),
    ("HEAD", f"/containers/{CONTAINER}/archive", "own"),
    ("PUT", f"/containers/{CONTAINER}/archive", "upload"),
    ("POST", f"/containers/{CONTAINER}/attach", "attach"),
    ("POST", f"/containers/{CONTAINER}/(start|wait|kill|stop|resize)", "own"),
    ("DELETE", f"/containers/{CONTAINER}", "own"),
    ("GET", f"/images/({IMAGE}/json|json)", "pass"),
    ("POST", "/images/create", "pull"),
    ("GET", "/networks", "pass"),
    ("GET", f"/networks/{NETWORK}", "pass"),
    ("POST", f"/networks/{NETWORK}/(connect|disconnect)", "connect"),
    ("GET", f"/volumes/{VOLUME}", "volume"),
]
TARGET = re.compile(r"(?:/v(?P<major>\d)\.(?P<minor>\d{1,3}))?(?P<path>/[A-Za-z0-9_.:/@%-]*)(?:\?(?P<query>\S*))?")


class Refused(Exception):
    """A request that the platform has no need of."""


@dataclass(frozen=True)
class Platform:
    """The platform that this proxy serves.

    Attributes:
        project: its name in compose; what it creates carries it as a label.
        home: the volume with its state, which may be mounted as a whole, and below `FOLDERS` by path.
        read_only: further volumes, which may be mounted read-only.
        networks: the networks that a container may be on, beside none.
        runtimes: the runtimes that a container may name.
    """

    project: str
    home: str
    read_only: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    runtimes: frozenset[str] = frozenset({"runc", "crun"})


@dataclass(frozen=True)
class Request:
    """A request that has a route: `kind` is what is to be done, `names` what the path names."""

    method: str
    version: str
    path: str
    query: list[tuple[str, str]]
    kind: str
    names: dict[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """Return the target as it is sent to the engine."""
        query = f"?{urlencode(self.query)}" if self.query else ""
        return f"{self.version}{quote(self.path, safe='/:@')}{query}"


def route(method: str, target: str, platform: Platform) -> Request:
    """Return what to do with a request.

    Raises:
        Refused: nothing the platform needs has this method and path.
    """
    found = TARGET.fullmatch(target)
    if found is None:
        raise Refused(f"{method} {target}: not a path of the engine's API")
    path, version = unquote(found["path"]), ""
    if found["major"]:
        version = f"/v{found['major']}.{found['minor']}"
        if (int(found["major"]), int(found["minor"])) < OLDEST:
            raise Refused(f"{method} {target}: the API's version is older than {OLDEST[0]}.{OLDEST[1]}")
    if {"", ".", ".."} & set(path.split("/")[1:]):
        raise Refused(f"{method} {target}: not a path of the engine's API")
    query = parse_qsl(found["query"] or "", keep_blank_values=True, separator="&")
    for methods, pattern, kind in ROUTES:
        matched = re.fullmatch(pattern, path)
        if matched and method in methods.split("|"):
            request = Request(method, version, path, query, kind, matched.groupdict())
            return _narrowed(request, platform)
    raise Refused(f"{method} {path}: not a request that the platform needs")


def _narrowed(request: Request, platform: Platform) -> Request:
    """Return a request that asks about the platform's own containers, or for an image from a registry, alone."""
    if request.kind == "pull":
        _known_query(request, {"fromImage", "tag", "platform"})
    if request.kind == "create":
        _known_query(request, {"name", "platform"})
    if request.kind == "volume" and request.names["volume"] not in {platform.home, *platform.read_only}:
        raise Refused(f"{request.method} {request.path}: not a volume of {platform.project}")
    if request.kind != "filter":
        return request
    try:
        filters = json.loads(dict(request.query).get("filters") or "{}")
        own = {name: list(values) for name, values in filters.items()}
    except (ValueError, AttributeError, TypeError):
        raise Refused(f"{request.method} {request.path}: filters are not a JSON object of lists") from None
    own["label"] = [*own.get("label", []), f"{LABEL}={platform.project}"]
    query = [(name, value) for name, value in request.query if name != "filters"]
    narrowed = [*query, ("filters", json.dumps(own))]
    return Request(request.method, request.version, request.path, narrowed, "pass", request.names)


def _known_query(request: Request, known: set[str]) -> None:
    for name, value in request.query:
        if name not in known and value:
            raise Refused(f"{request.method} {request.path}: the parameter {name} is not allowed")


def creation(body: Any, platform: Platform, bind: Callable[[str], bool]) -> dict[str, Any]:
    """Return the body of a request to create a container, with nothing in it that was not checked.

    `bind` says whether a folder of the engine's host may be mounted. Without a network of its own the container gets
    none, and it carries the platform's label.

    Raises:
        Refused: it asks for something that leads out of the container.
    """
    made = _only(body, "", _CONTAINER)
    host = _only(made.get("HostConfig"), "HostConfig.", _HOST)
    made["HostConfig"] = host
    host["NetworkMode"] = _network(host.get("NetworkMode") or "none", platform)
    endpoints = (made.pop("NetworkingConfig", None) or {}).get("EndpointsConfig") or {}
    for network in endpoints:
        _network(network, platform)
    if endpoints:
        made["NetworkingConfig"] = {"EndpointsConfig": {network: {} for network in endpoints}}
    for number, text in enumerate(host.get("Binds", [])):
        _check_bind(f"HostConfig.Binds[{number}]", text, platform, bind)
    for number, mount in enumerate(host.get("Mounts", [])):
        _check_mount(f"HostConfig.Mounts[{number}]", mount, platform, bind)
    if (runtime := host.get("Runtime")) and runtime not in platform.runtimes:
        raise Refused(f"HostConfig.Runtime={runtime!r} is not allowed")
    made["Labels"] = {**made.get("Labels", {}), LABEL: platform.project}
    return made


def connection(body: Any) -> str:
    """Return the container that is to be connected to a network, or disconnected.

    Raises:
        Refused: the request has more in it.
    """
    made = _only(body, "", {"Container": _is_text, "Force": _is_flag})
    if "Container" not in made:
        raise Refused("Container is missing")
    return str(made["Container"])


def inside(source: str, mountpoint: str) -> str | None:
    """Return the place of a folder below the home volume that a step may be given; None for every other folder."""
    if posixpath.normpath(source) != source or not source.startswith(f"{mountpoint}/"):
        return None
    relative = source.removeprefix(f"{mountpoint}/")
    return relative if relative.split("/")[0] in FOLDERS else None


def owned(labels: Mapping[str, str] | None, platform: Platform, look: bool = False) -> bool:
    """Return whether a container is the platform's: created through the proxy, or, to look at, one of its services."""
    own = labels or {}
    return own.get(LABEL) == platform.project or (look and own.get(COMPOSE_LABEL) == platform.project)


def _only(body: Any, place: str, known: Mapping[str, Callable[[Any], bool]]) -> dict[str, Any]:
    """Return the entries that are known and sound; what is empty is left out.

    The engine ignores the case of a name, so one that is not known is refused however it is written.
    """
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise Refused(f"{place.rstrip('.') or 'the body'} is not a JSON object")
    made = {}
    for name, value in body.items():
        if _is_empty(value):
            continue
        if name not in known or not known[name](value):
            raise Refused(f"{place}{name}={json.dumps(value)[:80]} is not allowed")
        made[name] = value
    return made


def _is_empty(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_empty(one) for one in value)
    return value in (None, "", 0, False) or value == {}


def _network(name: Any, platform: Platform) -> str:
    if name != "none" and name not in platform.networks:
        raise Refused(f"the network {name!r} is not one of {platform.project}")
    return str(name)


def _check_bind(place: str, text: str, platform: Platform, bind: Callable[[str], bool]) -> None:
    source, _, rest = text.partition(":")
    target, _, options = rest.partition(":")
    words = set(options.split(",")) - {""}
    if not target.startswith("/") or words - {"ro", "rw", "nocopy"}:
        raise Refused(f"{place}={text!r} is not allowed: expected SOURCE:TARGET with ro, rw or nocopy")
    _check_source(place, source, "ro" in words, platform, bind)


def _check_mount(place: str, mount: Any, platform: Platform, bind: Callable[[str], bool]) -> None:
    made = _only(mount, f"{place}.", _MOUNT)
    kind, source = made.get("Type"), str(made.get("Source", ""))
    if kind == "tmpfs" and not source:
        return
    if kind not in ("bind", "volume") or (kind == "bind") != source.startswith("/"):
        raise Refused(f"{place}: Type={kind!r} with Source={source!r} is not allowed")
    _check_source(place, source, bool(made.get("ReadOnly")), platform, bind)


def _check_source(place: str, source: str, read_only: bool, platform: Platform, bind: Callable[[str], bool]) -> None:
    if source == platform.home or (source in platform.read_only and read_only):
        return
    if source in platform.read_only:
        raise Refused(f"{place}: the volume {source} may be mounted read-only")
    if not source.startswith("/"):
        raise Refused(f"{place}: the volume {source!r} is not one of {platform.project}")
    if not bind(source):
        raise Refused(f"{place}: {source} is not a folder that a step may be given")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_text_or_texts(value: Any) -> bool:
    return _is_text(value) or _is_texts(value)


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_count(value: Any) -> bool:
    """Return whether it is a number that is not negative, or -1, which stands for none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= -1


def _is_empty_map(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_empty(one) for one in value.values())


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _one_of(*known: str) -> Callable[[Any], bool]:
    return lambda value: value in known


def _is_log(value: Any) -> bool:
    return _is_object(value) and value.get("Type") in ("none", "local", "json-file")


def _is_restart(value: Any) -> bool:
    return _is_object(value) and value.get("Name") in (None, "", "no")


_CONTAINER: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("Image", "User", "WorkingDir", "StopSignal", "Hostname", "Domainname"), _is_text),
    **dict.fromkeys(("Cmd", "Entrypoint"), _is_text_or_texts),
    **dict.fromkeys(
        ("AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce", "NetworkDisabled"), _is_flag
    ),
    "ArgsEscaped": _is_flag,
    "Env": _is_texts,
    "Labels": _is_text_map,
    # Where volumes are mounted; one that has no source would be made for it.
    "Volumes": _is_empty_map,
    "StopTimeout": _is_count,
    "HostConfig": _is_object,
    "NetworkingConfig": _is_object,
}
_HOST: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("Memory", "MemorySwap", "MemoryReservation", "NanoCpus", "CpuShares", "CpuPeriod"), _is_count),
    **dict.fromkeys(("CpuQuota", "PidsLimit", "ShmSize", "OomScoreAdj"), _is_count),
    **dict.fromkeys(("ReadonlyRootfs", "Init", "AutoRemove"), _is_flag),
    **dict.fromkeys(("CapDrop", "Binds"), _is_texts),
    "CpusetCpus": _is_text,
    "MemorySwappiness": _is_count,
    "NetworkMode": _is_text,
    "Runtime": _is_text,
    "IpcMode": _one_of("private", "none"),
    "CgroupnsMode": _one_of("private"),
    "SecurityOpt": lambda value: _is_texts(value) and set(value) <= {"no-new-privileges", "no-new-privileges:true"},
    "Tmpfs": _is_text_map,
    "Mounts": _is_objects,
    "Ulimits": _is_objects,
    "StorageOpt": lambda value: _is_text_map(value) and set(value) <= {"size"},
    "LogConfig": _is_log,
    "RestartPolicy": _is_restart,
}
_MOUNT: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("Type", "Source", "Target", "Consistency"), _is_text),
    "ReadOnly": _is_flag,
    "TmpfsOptions": _is_object,
    "BindOptions": lambda value: _is_object(value) and set(value) <= {"Propagation"} and _private(value),
    "VolumeOptions": lambda value: _is_object(value) and set(value) <= {"NoCopy"},
}


def _private(value: Mapping[str, Any]) -> bool:
    return value.get("Propagation") in (None, "", "private", "rprivate")
