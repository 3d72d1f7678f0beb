"""`bulkhead ui`: Dagster's webserver and daemon on 127.0.0.1, with one code location a team."""

import os
import signal
import socket
import sys

from orchestrator.cli.home import open_instance
from orchestrator.errors import CommandError
from orchestrator.launching.channel import OWNER_VARIABLE, start
from orchestrator.settings import read_settings

HOST = "127.0.0.1"


def serve(port: int) -> None:
    """Become `dagster dev`; return only by raising.

    Raises:
        CommandError: the port is taken.
    """
    settings = read_settings()
    _claim(port)
    with open_instance(settings):
        pass
    # This process is about to become `dagster dev`.
    os.environ[OWNER_VARIABLE] = str(os.getpid())
    start(read_settings())
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(settings.workspace), "-h", HOST, "-p", str(port)]
    print(f"Bulkhead on http://{HOST}:{port} (state in {settings.home}; Ctrl-C stops it)", flush=True)
    os.chdir(settings.project)
    # A shell that started it in the background has it ignore INT, and Dagster would then ignore TERM as well.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(command[0], command)


def _claim(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CommandError(
                f"port {port} on {HOST} cannot be used: {error.strerror}. Stop what listens there, or take another: "
                f"make ui PORT={port + 1}"
            ) from error
