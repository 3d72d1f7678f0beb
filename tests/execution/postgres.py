"""A throw-away Postgres, and what the tests of the event log ask of it behind the back of Dagster."""

import socket
import subprocess
from contextlib import closing
from typing import Any

import dagster as dg
import psycopg2
from dagster._core.events.log import EventLogEntry

from tests.conftest import wait_for


class Postgres:
    """A server in a container of its own, for nobody but this machine."""

    def __init__(self, image: str) -> None:
        # The port is chosen by the engine and stays the same when the server restarts.
        port = free_port()
        command = ["docker", "run", "-d", "-e", "POSTGRES_HOST_AUTH_METHOD=trust"]
        command += ["-p", f"127.0.0.1:{port}:5432", "-v", "/var/lib/postgresql/data", image]
        self.container = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        self._address = f"postgresql://postgres@127.0.0.1:{port}"
        self._databases = 0
        wait_for(self._answers, "Postgres answers")

    def url(self, database: str = "postgres") -> str:
        return f"{self._address}/{database}"

    def database(self) -> str:
        """Make an empty database and return its address."""
        self._databases += 1
        name = f"records_{self._databases}"
        self.ask(f"create database {name}", self.url())
        return self.url(name)

    def ask(self, query: str, url: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query, asked on a connection of its own."""
        with closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query)
                return list(cursor.fetchall()) if cursor.description else []

    def end_connections(self, url: str) -> int:
        """End every connection to a database, as a server that shuts down does; return how many there were."""
        name = url.rpartition("/")[2]
        query = f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and pid <> pg_backend_pid()"
        return len(self.ask(query, url))

    def connections(self, url: str) -> int:
        name = url.rpartition("/")[2]
        query = f"select count(*) from pg_stat_activity where datname = '{name}' and pid <> pg_backend_pid()"
        return int(self.ask(query, url)[0][0])

    def stored(self, url: str, run: str) -> list[str]:
        """Return the text of each event of a run, in order."""
        rows = self.ask(f"select event from event_logs where run_id = '{run}' order by id", url)
        return [dg.deserialize_value(row[0], EventLogEntry).user_message for row in rows]

    def refuse(self, what: str, url: str, table: str = "event_logs") -> None:
        """Let the database itself refuse every row of a table that has a text in it."""
        self.ask(
            "create or replace function refuse() returns trigger as $$ begin "
            f"if new::text like '%{what}%' then raise exception 'refused on purpose'; end if; return new; end "
            f"$$ language plpgsql; create trigger refusal before insert on {table} for each row execute function refuse()",
            url,
        )

    def restart(self) -> None:
        """Stop the server and start it again; return before it answers."""
        subprocess.run(["docker", "restart", "-t", "10", self.container], check=True, capture_output=True)

    def remove(self) -> None:
        subprocess.run(["docker", "rm", "-f", "-v", self.container], capture_output=True)

    def _answers(self) -> bool:
        try:
            return self.ask("select 1", self.url()) == [(1,)]
        except psycopg2.OperationalError:
            return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
