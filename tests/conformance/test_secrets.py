"""A secret on its way: it reaches the workload, and nobody who reads logs, errors or metadata."""

from pathlib import Path
from textwrap import dedent
from typing import Any

from tests.conftest import REPORT, Project, one_step, workload

SECRET = 'hunter2 "the 2nd"/=+ümlaut'
READ = "token = Path(os.environ['TOKEN_FILE']).read_text()\n"
TELLS = """
    import base64, urllib.parse
    print(f"stdout {token}", flush=True)
    os.write(2, b"stderr " + token.encode()[:5]); time.sleep(0.2); os.write(2, token.encode()[5:] + b"\\n")
    pipes.log.warning(f"log {token}")
    pipes.report_custom_message({"token": token})
    pipes.report_asset_materialization(metadata={
        "plain": token, "url": urllib.parse.quote(token), "json": json.dumps({"t": token}), token: "as a name",
        "nested": {"raw_value": [token, {"deep": token}], "type": "json"}, "base64": base64.b64encode(token.encode()).decode(),
    })
    raise ValueError(f"cannot log in with {token!r}")
"""


def everything_on_record(project: Project) -> bytes:
    """Return every byte below the home that a reader of the platform could come by."""
    return b"".join(path.read_bytes() for path in sorted(project.home.rglob("*")) if path.is_file())


def leaked(where: Any) -> list[str]:
    """Return the telling parts of the secret that are found."""
    data = where if isinstance(where, bytes) else str(where).encode()
    return [part for part in ("hunter2", "2nd", "aHVudGVyMi", "ümlaut") if part.encode() in data]


def test_a_secret_that_a_workload_tells_everywhere_is_read_nowhere(tiered: Project) -> None:
    tiered.team("team", [one_step("it", workload(READ + dedent(TELLS)))], secrets=["TOKEN"])
    ran = tiered.run("team_job", TOKEN=SECRET)
    assert ran.error("it").splitlines()[0] == "workload raised: ValueError: cannot log in with '***'"
    assert leaked((ran.events, ran.stderr)) == []
    assert leaked(everything_on_record(tiered)) == []
    assert tiered.stdout_of(ran.run_id, "it") == b"stdout ***\n"
    (made,) = ran.named("ASSET_MATERIALIZATION")
    assert {made["metadata"][name] for name in ("plain", "url", "***")} == {"***", "as a name"}


def test_a_secret_comes_from_the_environment_from_a_named_file_or_from_the_folder_of_secrets(
    tiered: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "folder of secrets"
    folder.mkdir()
    (folder / "THIRD").write_text("three\n")
    (tmp_path / "second").write_text("two\n")
    body = "for n in ('FIRST', 'SECOND', 'THIRD'): print(len(Path(os.environ[n + '_FILE']).read_text()))\n" + REPORT
    tiered.team("team", [one_step("it", workload(body))], secrets=["FIRST", "SECOND", "THIRD"])
    ran = tiered.run("team_job", FIRST="one1", SECOND_FILE=str(tmp_path / "second"), BULKHEAD_SECRETS=str(folder))
    assert (ran.code, tiered.stdout_of(ran.run_id, "it")) == (0, b"4\n3\n5\n")


def test_a_secret_is_a_variable_only_if_the_contract_asks(tiered: Project) -> None:
    body = "print('A' in os.environ, 'B' in os.environ, len(os.environ['B']))\n" + REPORT
    tiered.team("team", [one_step("it", workload(body))], secrets=["A", "B"], secret_variables=["B"])
    ran = tiered.run("team_job", A="aaaaa", B="bbbbbb")
    assert (ran.code, tiered.stdout_of(ran.run_id, "it")) == (0, b"False True 6\n")
