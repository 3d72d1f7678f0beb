"""Stands between the platform and the engine's socket, and passes on what `rules.py` allows. `--check`: does it answer?

A connection carries one request. What belongs to no request is never sent to the engine.
"""

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rules import Platform, Refused, Request, connection, creation, inside, owned, route

HEAD_BYTES, BODY_BYTES, PIECE = 64 << 10, 4 << 20, 64 << 10
# What a client may take to say what it wants.
REQUEST_SECONDS = 60
KEPT_HEADERS = ("accept", "content-type", "user-agent", "x-registry-auth")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class NotThere(Exception):
    """A container that the engine does not know."""


@dataclass(frozen=True)
class Head:
    """The first line and the headers of a request."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length", "0"))


class Proxy:
    """A proxy for one platform: `socket_path` is the engine's, `home` is where its state is mounted here, if it is."""

    def __init__(self, platform: Platform, socket_path: str, home: str | None = None) -> None:
        self._platform, self._socket, self._home = platform, socket_path, home
        self._mountpoint: str | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        _keep_alive(writer)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await _read_head(reader)
            if head is not None:
                await self._answer(head, (reader, writer))
        except Refused as refused:
            say(f"refused: {refused}")
            writer.write(_message(403, f"engine-proxy: {refused}"))
        except NotThere as missing:
            writer.write(_message(404, f"No such container: {missing}"))
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        except OSError as error:
            say(f"the engine does not answer: {error}")
            writer.write(_message(502, f"engine-proxy: the engine does not answer: {error}"))
        finally:
            with contextlib.suppress(OSError):
                writer.close()
                await writer.wait_closed()

    async def _answer(self, head: Head, client: Streams) -> None:
        request = route(head.method, head.target, self._platform)
        body = None if request.kind == "upload" else await _read_body(head, client[0])
        request, body = await self._admitted(request, body)
        engine = await asyncio.open_unix_connection(self._socket)
        try:
            if request.kind == "attach":
                await _attach(head, request, client, engine)
                return
            engine[1].write(_head(head, request, "close", head.length if body is None else len(body)) + (body or b""))
            await engine[1].drain()
            if body is None:
                await _copy(client[0], engine[1], head.length)
            await _first_of(_pump(engine[0], client[1]), client[0].read(1))
        finally:
            engine[1].close()

    async def _admitted(self, request: Request, body: bytes | None) -> tuple[Request, bytes | None]:
        """Return the request and the body as they may be sent to the engine."""
        if container := request.names.get("container"):
            names = {**request.names, "container": await self._own(container, request.kind == "look")}
            path = request.path.replace(f"/containers/{container}", f"/containers/{names['container']}", 1)
            request = Request(request.method, request.version, path, request.query, request.kind, names)
        if request.kind == "create":
            if self._mountpoint is None:
                self._mountpoint = str((await self._ask(f"/volumes/{self._platform.home}")).get("Mountpoint", ""))
            made = creation(_parsed(body), self._platform, self._may_bind)
            say(f"create {dict(request.query).get('name', '')} from {made.get('Image')}")
            return request, json.dumps(made).encode()
        if request.kind == "connect":
            named = await self._ask(f"/networks/{request.names['network']}")
            if named.get("Name") not in self._platform.networks:
                raise Refused(f"{request.path}: not a network of {self._platform.project}")
            return request, json.dumps({"Container": await self._own(connection(_parsed(body)), False)}).encode()
        if body is not None and body.strip() not in (b"", b"{}", b"null"):
            raise Refused(f"{request.method} {request.path}: a body is not allowed")
        return request, None if body is None else b""

    async def _own(self, container: str, look: bool) -> str:
        """Return the id of one of the platform's containers."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", container):
            raise Refused(f"{container!r} is not the name of a container")
        found = await self._ask(f"/containers/{container}/json")
        if not found:
            raise NotThere(container)
        if not owned(found["Config"]["Labels"], self._platform, look):
            raise Refused(f"the container {container} is not one of {self._platform.project}")
        return str(found["Id"])

    def _may_bind(self, source: str) -> bool:
        relative = inside(source, self._mountpoint) if self._mountpoint else None
        if relative is None or self._home is None:
            return relative is not None
        # A link would lead the engine to wherever it points.
        own = Path(self._home).resolve() / relative
        return own.resolve() == own

    async def _ask(self, path: str) -> dict[str, Any]:
        """Return what the engine says of something; nothing if there is no such thing."""
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: engine\r\n\r\n".encode())
            head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        finally:
            writer.close()
        status = head.split(b" ", 2)[1:2]
        if status == [b"404"]:
            return {}
        if status != [b"200"]:
            raise OSError(f"GET {path}: {head.splitlines()[:1]}")
        found = json.loads(body)
        return found if isinstance(found, dict) else {}


async def _attach(head: Head, request: Request, client: Streams, engine: Streams) -> None:
    """Join both sides once the engine has agreed; what comes before that would be read as another request."""
    engine[1].write(_head(head, request, "Upgrade\r\nUpgrade: tcp", 0))
    answer = await engine[0].readuntil(b"\r\n\r\n")
    client[1].write(answer)
    if answer.split(b" ", 2)[1] in (b"101", b"200"):
        # Output may end later than input, and ends the connection.
        feeding = asyncio.ensure_future(_pump(client[0], engine[1], half=True))
        try:
            await _pump(engine[0], client[1])
        finally:
            feeding.cancel()
    else:
        await _first_of(_pump(engine[0], client[1]), client[0].read(1))


async def _read_head(reader: asyncio.StreamReader) -> Head | None:
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        raise Refused(f"the head of the request is larger than {HEAD_BYTES} bytes") from None
    first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
    matched = re.fullmatch(r"([A-Z]+) (\S+) HTTP/1\.[01]", first)
    if matched is None:
        raise Refused(f"{first[:80]!r} is not a request")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not re.fullmatch(r"[A-Za-z0-9-]+", name) or re.search(r"[\r\n\0]", value):
            raise Refused(f"{line[:80]!r} is not a header")
        if name.lower() in headers and name.lower() in ("content-length", "transfer-encoding"):
            raise Refused(f"the header {name} stands twice")
        headers[name.lower()] = value.strip()
    if "transfer-encoding" in headers:
        raise Refused("a body needs a Content-Length")
    if not re.fullmatch(r"\d{1,18}", headers.get("content-length", "0")):
        raise Refused("Content-Length is not a number")
    return Head(matched[1], matched[2], headers)


async def _read_body(head: Head, reader: asyncio.StreamReader) -> bytes:
    if head.length > BODY_BYTES:
        raise Refused(f"the body of the request is larger than {BODY_BYTES} bytes")
    async with asyncio.timeout(REQUEST_SECONDS):
        return await reader.readexactly(head.length)


def _parsed(body: bytes | None) -> Any:
    try:
        return json.loads(body or b"")
    except ValueError:
        raise Refused("the body of the request is not JSON") from None


def _head(head: Head, request: Request, how: str, length: int) -> bytes:
    kept = [f"{name}: {head.headers[name]}" for name in KEPT_HEADERS if name in head.headers]
    if request.kind in ("create", "connect"):
        kept = [*(line for line in kept if not line.startswith("content-type")), "content-type: application/json"]
    lines = [f"{request.method} {request.target} HTTP/1.1", "Host: engine", f"Connection: {how}", *kept]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode("latin-1")


def _message(status: int, text: str) -> bytes:
    body = json.dumps({"message": text}).encode()
    reason = http.client.responses[status]
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: int) -> None:
    while count:
        piece = await reader.read(min(PIECE, count))
        if not piece:
            raise ConnectionError("the client went away")
        writer.write(piece)
        await writer.drain()
        count -= len(piece)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, half: bool = False) -> None:
    """Pass on until the end; `half` tells the other side of the end, and keeps the way back open."""
    while piece := await reader.read(PIECE):
        writer.write(piece)
        await writer.drain()
    if half:
        writer.write_eof()


async def _first_of(*ways: Any) -> None:
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Notice within minutes that the other side is gone, however long it said nothing."""
    own: socket.socket = writer.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if own.family != socket.AF_UNIX:
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4)):
            own.setsockopt(socket.IPPROTO_TCP, option, value)


def say(text: str) -> None:
    print(text, flush=True)


def platform_of(env: Mapping[str, str]) -> Platform:
    """Return the platform that the environment names: ENGINE_PROXY_PROJECT, _HOME, _READ_ONLY, _NETWORKS."""

    def words(name: str) -> frozenset[str]:
        return frozenset(env.get(name, "").split())

    return Platform(
        project=env["ENGINE_PROXY_PROJECT"],
        home=env["ENGINE_PROXY_HOME"],
        read_only=words("ENGINE_PROXY_READ_ONLY"),
        networks=words("ENGINE_PROXY_NETWORKS"),
    )


async def main(env: Mapping[str, str]) -> None:
    """Serve until a signal."""
    engine = env.get("ENGINE_PROXY_SOCKET", "/var/run/docker.sock")
    host, _, port = env.get("ENGINE_PROXY_LISTEN", "0.0.0.0:2375").rpartition(":")
    proxy = Proxy(platform_of(env), engine, env.get("ENGINE_PROXY_HOME_PATH"))
    server = await asyncio.start_server(proxy.serve, host, int(port), limit=HEAD_BYTES)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    say(f"serving {env['ENGINE_PROXY_PROJECT']} on port {server.sockets[0].getsockname()[1]}")
    await ended.wait()
    server.close()


def check(env: Mapping[str, str], report: Callable[[str], None] = say) -> int:
    """Return 0 if the engine answers through the proxy."""
    port = env.get("ENGINE_PROXY_LISTEN", "0.0.0.0:2375").rpartition(":")[2]
    way = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
    try:
        way.request("GET", "/_ping")
        status = way.getresponse().status
    except OSError as error:
        report(f"no answer: {error}")
        return 1
    report(f"status {status}")
    return int(status != 200)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(check(os.environ))
    asyncio.run(main(os.environ))
