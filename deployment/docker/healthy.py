"""Says whether a service of the platform is well: `healthy.py webserver | code | daemon`; exits 1 if it is not.

Dagster's own commands for this import all of Dagster each time, which takes a second of a processor.
"""

import sys
import urllib.request
from pathlib import Path

DAEMON_SECONDS = 60
INSTANCE = Path(__file__).resolve().parent.parent / "dagster.yaml"


def webserver() -> str:
    with urllib.request.urlopen("http://127.0.0.1:3000/server_info", timeout=5) as answer:
        return "" if answer.status == 200 else f"status {answer.status}"


def code() -> str:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel("127.0.0.1:4000") as channel:
        request = health_pb2.HealthCheckRequest(service="DagsterApi")
        status = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5).status
    return "" if status == health_pb2.HealthCheckResponse.SERVING else f"status {status}"


def daemon() -> str:
    """Each of its parts writes a heartbeat every half a minute."""
    import psycopg2
    import yaml

    address = yaml.safe_load(INSTANCE.read_text())["storage"]["postgres"]["postgres_url"]
    with psycopg2.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select count(*), extract(epoch from now() at time zone 'utc' - min(timestamp)) from daemon_heartbeats"
        )
        count, age = cursor.fetchone() or (0, None)
    if not count:
        return "no heartbeat yet"
    return "" if age < DAEMON_SECONDS else f"the last heartbeat was {age:.0f} s ago"


if __name__ == "__main__":
    try:
        trouble = {"webserver": webserver, "code": code, "daemon": daemon}[sys.argv[1]]()
    except Exception as error:  # noqa: BLE001 (whatever it is, the service is not well)
        trouble = f"{type(error).__name__}: {error}"
    print(trouble or "well")
    sys.exit(bool(trouble))
