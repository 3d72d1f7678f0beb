"""End in every way a process can."""

import os
import signal
import sys

from common import run, say
from dagster_pipes import open_dagster_pipes


def reports_then_exits_3() -> None:
    with open_dagster_pipes() as pipes:
        pipes.report_asset_materialization()
        pipes.report_asset_check(check_name="good", passed=True)
    print("the licence server refused the request", file=sys.stderr)
    sys.exit(3)


def exits_75() -> None:
    say("opened", extras={})
    sys.exit(75)


def exits_137() -> None:
    say("opened", extras={})
    sys.exit(137)


def is_killed() -> None:
    say("opened", extras={})
    os.kill(os.getpid(), signal.SIGKILL)


def crashes() -> None:
    say("opened", extras={})
    os.kill(os.getpid(), signal.SIGSEGV)


def raises() -> None:
    with open_dagster_pipes():
        try:
            {}["plum"]
        except KeyError as error:
            raise ValueError("no price for 'plum'") from error


def sees_the_platforms_environment() -> None:
    """Report what of the platform's environment reached the workload."""
    leaked = [name for name in ("PLATFORM_PASSWORD",) if name in os.environ]
    with open_dagster_pipes() as pipes:
        pipes.report_asset_materialization(metadata={"leaked": leaked})
    sys.exit(3 if leaked else 0)


if __name__ == "__main__":
    run(globals())
