"""A package index of a site: HTTPS on localhost, under a CA that nobody else knows."""

import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Index:
    """Its address, the certificate to check it with, and what it was asked for."""

    address: str
    certificate: Path
    asked: list[str] = field(default_factory=list)


@contextmanager
def served(wheels: Path, folder: Path) -> Iterator[Index]:
    """Serve a folder of wheels as an index, until the end of the block."""
    pages = folder / "simple"
    for wheel in wheels.glob("*.whl"):
        page = pages / re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower()
        page.mkdir(parents=True, exist_ok=True)
        (page / wheel.name).hardlink_to(wheel)
    certify(folder)
    index = Index("", folder / "ca.crt")

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *values: object) -> None:
            index.asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    index.address = f"https://localhost:{server.server_port}/simple"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield index
    finally:
        server.shutdown()


def certify(folder: Path) -> None:
    """Make a CA, and a certificate for localhost that it signed."""
    new = "openssl req -new -newkey rsa:2048 -nodes"
    (folder / "of-the-host").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n", encoding="utf-8")
    for command in (
        f"{new} -x509 -days 2 -subj /CN=site -keyout ca.key -out ca.crt",
        f"{new} -subj /CN=index -keyout server.key -out server.csr",
        "openssl x509 -req -days 2 -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile of-the-host -out server.crt",
    ):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
