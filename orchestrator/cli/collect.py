"""`bulkhead collect`: what run workers that were killed left behind is removed, once or again and again."""

import threading

from orchestrator.backends.launch import LaunchError
from orchestrator.execution.leftovers import collect
from orchestrator.settings import read_settings


def collect_leftovers(every: float | None) -> None:
    """Remove what is found, and print a line for each thing; with `every`, look again after so many seconds, for ever.

    Raises:
        LaunchError: no engine answers, and there is no next time.
    """
    settings = read_settings()
    while True:
        try:
            for line in collect(settings):
                print(line, flush=True)
        except LaunchError as error:
            if every is None:
                raise
            print(error, flush=True)
        if every is None:
            return
        threading.Event().wait(every)
