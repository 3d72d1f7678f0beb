"""The Docker engine: its client, its images, where the platform's folders are for it, and what was left on it."""

import io
import os
import socket
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from orchestrator.backends.launch import LaunchError
from orchestrator.settings import Settings

LABEL = "bulkhead."
INIT_IMAGE, INIT_FILE = "init", "/bulkhead-init"
# What an engine has to do for one call, but for pulling an image.
PATIENCE_SECONDS, PULL_SECONDS = 60, 1800
# So long an image is taken for what its name means: one step asks more than once.
FRESH_SECONDS = 1.0
DOWN = (requests.exceptions.ConnectionError, requests.exceptions.Timeout)


@dataclass(frozen=True)
class Image:
    """An image on the engine: how it was asked for, its id, and where its programs start."""

    reference: str
    id: str
    folder: str


class Engine:
    """What the platform asks of a Docker engine. Every method may be called from any thread."""

    def __init__(self, settings: Settings) -> None:
        """Connect as the Docker command line does: DOCKER_HOST, DOCKER_CERT_PATH, DOCKER_CONFIG.

        Raises:
            LaunchError: no engine answers.
        """
        self.settings = settings
        self.address = settings.environment.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        self._pulled: set[str] = set()
        self._found: dict[str, tuple[float, Image]] = {}
        self._init: Path | None = None
        try:
            self.api: Any = docker.from_env(
                version="auto", timeout=PATIENCE_SECONDS, environment=dict(settings.environment)
            ).api
            self._seen_as = self._own_mounts()
        except (DockerException, *DOWN) as error:
            raise self.unreachable(error) from error

    def unreachable(self, error: BaseException) -> LaunchError:
        """Return what to say when the engine does not answer."""
        text = f"the Docker engine at {self.address} does not answer: {_said(error)}. Start it, or set DOCKER_HOST."
        return LaunchError(text, infrastructure=True)

    def image(self, name: str, owner: str) -> Image:
        """Return the image that a contract names; pull it as BULKHEAD_PULL says.

        Raises:
            LaunchError: it is not there and could not be had.
        """
        reference = self.settings.image_reference(name)
        at, found = self._found.get(reference, (0.0, None))
        if found is not None and time.monotonic() - at < FRESH_SECONDS:
            return found
        pull, refused = self.settings.pull, ""
        if pull == "always" and reference not in self._pulled:
            refused = self._pull(reference)
        try:
            found = self._inspect(reference)
            if found is None and pull == "missing":
                refused = self._pull(reference)
                found = self._inspect(reference)
        except DOWN as error:
            raise self.unreachable(error) from error
        if found is None or (refused and pull == "always"):
            what = f"the image {reference} of {owner}"
            there = "is not on the engine, and BULKHEAD_PULL=never forbids to pull it" if not refused else ""
            tried = f"could not be pulled: {refused}" if refused else there
            remedy = (
                f"Build it: make -f Makefile_dev.txt build IMAGE={name}. Or set BULKHEAD_REGISTRY and BULKHEAD_TAG."
            )
            raise LaunchError(f"{what} {tried}. {remedy}", infrastructure=True)
        self._found[reference] = time.monotonic(), found
        return found

    def path(self, path: Path) -> str:
        """Return where a folder of the platform is for the engine: the platform may be in a container itself."""
        for inside in sorted(self._seen_as, key=lambda one: len(one.parts), reverse=True):
            if path.is_relative_to(inside):
                return str(self._seen_as[inside] / path.relative_to(inside))
        return str(path)

    def init(self) -> Path:
        """Return the program that is process 1 of every container, taken out of its image into the platform's home.

        Raises:
            LaunchError: there is no such image.
        """
        if self._init is not None and self._init.is_file():
            return self._init
        image = self.image(INIT_IMAGE, "the platform")
        target = self.settings.home / "init" / image.id.rpartition(":")[2][:16] / "bulkhead-init"
        if not target.is_file():
            made = self.api.create_container(image.id, command=[INIT_FILE])["Id"]
            try:
                stream, _ = self.api.get_archive(made, INIT_FILE)
                with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
                    program: Any = archive.extractfile(INIT_FILE.lstrip("/"))
                    _write_program(target, program.read())
            finally:
                self.api.remove_container(made, force=True)
        self._init = target
        return target

    def network(self) -> str:
        """Return the network of steps that may reach other machines; made if there is none."""
        name = self.settings.docker_network
        if not self.api.networks(names=[f"^{name}$"]):
            # Steps on it do not see each other.
            options = {"com.docker.network.bridge.enable_icc": "false"}
            with suppress(APIError):
                self.api.create_network(name, driver="bridge", options=options, check_duplicate=True)
        return name

    def remove(self, container: str) -> None:
        """Remove a container, running or not; one that is gone already is no matter."""
        with suppress(NotFound):
            try:
                self.api.remove_container(container, force=True, v=True)
            except APIError as error:
                # 409: somebody else is removing it.
                if error.status_code != 409:
                    raise

    def left_behind(self, alive: Callable[[str], bool]) -> list[str]:
        """Remove the containers of run workers that are gone, and those kept for long enough; return their names."""
        found = []
        mine = {"label": [f"{LABEL}home={self.path(self.settings.home)}"]}
        for one in self.api.containers(all=True, filters=mine):
            labels = one["Labels"]
            if alive(labels.get(f"{LABEL}worker", "")) or self._is_kept(one):
                continue
            self.remove(one["Id"])
            found.append(one["Names"][0].lstrip("/"))
        return found

    def _is_kept(self, container: dict[str, Any]) -> bool:
        keep = float(container["Labels"].get(f"{LABEL}keep", "0"))
        return bool(container["State"] == "exited" and time.time() < float(container["Created"]) + keep)

    def _inspect(self, reference: str) -> Image | None:
        try:
            found = self.api.inspect_image(reference)
        except ImageNotFound:
            return None
        config = found.get("Config") or {}
        return Image(reference, found["Id"], config.get("WorkingDir") or "/")

    def _pull(self, reference: str) -> str:
        """Pull an image with the credentials of the Docker configuration; return why it failed, or nothing."""
        repository, _, tag = (reference, "", None) if "@" in reference else reference.rpartition(":")
        try:
            patient = docker.from_env(timeout=PULL_SECONDS, environment=dict(self.settings.environment))
            for word in patient.api.pull(repository, tag=tag, stream=True, decode=True):
                if "error" in word:
                    return str(word["error"])
        except (DockerException, *DOWN) as error:
            return _said(error)
        self._pulled.add(reference)
        return ""

    def _own_mounts(self) -> dict[Path, Path]:
        """Return where each mount of the platform's own container is for the engine; nothing outside of containers."""
        if not Path("/.dockerenv").exists():
            return {}
        try:
            own = self.api.inspect_container(socket.gethostname())
        except NotFound:
            return {}
        return {Path(mount["Destination"]): Path(mount["Source"]) for mount in own["Mounts"]}


_engines: dict[tuple[Any, ...], Engine] = {}
_guard = threading.Lock()


def engine_of(settings: Settings) -> Engine:
    """Return this process's connection to the engine; made once.

    Raises:
        LaunchError: no engine answers.
    """
    key = (os.getpid(), repr(settings), settings.environment.get("DOCKER_HOST"))
    with _guard:
        if key not in _engines:
            _engines[key] = Engine(settings)
        return _engines[key]


def _write_program(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    Path(name).chmod(0o555)
    Path(name).replace(target)


def _said(error: BaseException) -> str:
    """Return an error's own words, in one line."""
    if isinstance(error, APIError) and error.explanation:
        return str(error.explanation).strip()
    return " ".join(str(error).split()) or type(error).__name__
