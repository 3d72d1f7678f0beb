"""When a workload's log message was sent: by its own clock if that can be, and by the platform's otherwise."""

from typing import Any

import pytest

from tests.conftest import Project, one_step, workload

# Messages as the protocol has them: the library that writes them may know no time.
SAYS = """
    def say(text, level="info", **more):
        message = {"__dagster_pipes_version": "0.1", "method": "log", "params": {"message": text, "level": level, **more}}
        with open(pipes._message_channel._path, "a") as file:
            file.write(json.dumps(message) + "\\n")
    assert pipes._data["extras"]["accepts"] == ["log_timestamp"]
"""


def run(project: Project, body: str) -> Any:
    project.team("team", [one_step("talks", workload(SAYS + body + "\n    pipes.report_asset_materialization()"))])
    return project.run("team_job")


def said(project: Project, ran: Any) -> list[tuple[str, int, float]]:
    """Return text, level and time of each message that the workload logged, in order."""
    with project.instance() as instance:
        entries = [one for one in instance.all_logs(ran.run_id) if not one.dagster_event and one.step_key]
    return [
        (one.user_message, one.level, one.timestamp)
        for one in entries
        if not one.user_message.startswith(("launched", "step used"))
    ]


def span(project: Project, ran: Any) -> tuple[float, float]:
    """Return when the step started and when it ended."""
    with project.instance() as instance:
        (stats,) = instance.get_run_step_stats(ran.run_id)
    return stats.start_time, stats.end_time


def test_a_message_carries_the_time_at_which_it_was_sent(project: Project) -> None:
    body = """
    at = time.time()
    time.sleep(0.3)
    say("late", timestamp=at)
    say("exactly", timestamp=at + 0.125)
    print(repr(at))"""
    ran = run(project, body)
    assert ran.code == 0, ran.events
    at = float(project.stdout_of(ran.run_id, "talks"))
    assert said(project, ran) == [("late", 20, at), ("exactly", 20, at + 0.125)]


@pytest.mark.parametrize(
    "when",
    ["0", "-1.0", "1.5", "time.time() - 3600", "time.time() + 3600", "1e300", "None"],
    ids=["zero", "negative", "long ago", "before the launch", "in the future", "never", "null"],
)
def test_a_time_that_cannot_be_is_replaced_by_the_platforms(project: Project, when: str) -> None:
    ran = run(project, f"\n    say('words', timestamp={when})")
    assert ran.code == 0, ran.events
    ((text, level, at),) = said(project, ran)
    start, end = span(project, ran)
    assert (text, level, start <= at <= end) == ("words", 20, True)


def test_a_time_beyond_all_numbers_is_replaced_by_the_platforms(project: Project) -> None:
    body = """
    with open(pipes._message_channel._path, "a") as file:
        file.write('{"__dagster_pipes_version": "0.1", "method": "log", "params": {"message": "words", "timestamp": 1e999}}\\n')"""
    ran = run(project, body)
    assert ran.code == 0, ran.events
    ((_, _, at),) = said(project, ran)
    start, end = span(project, ran)
    assert start <= at <= end


@pytest.mark.parametrize("when", ["float('nan')", "float('inf')", "'1.0'", "True", "[1.0]"])
def test_a_time_that_is_no_number_is_a_violation(project: Project, when: str) -> None:
    ran = run(project, f"\n    say('words', timestamp={when})")
    assert (ran.code, ran.named("STEP_FAILURE")[0]["category"], said(project, ran)) == (1, "contract violated", [])
    assert "sent a malformed 'log': timestamp: Input should be a valid number" in ran.error("talks")


def test_order_and_level_are_kept_whatever_the_times_say(project: Project) -> None:
    body = """
    at = time.time()
    time.sleep(0.2)
    for number, level in enumerate(["debug", "info", "warning", "error", "critical", "INFO"]):
        say(str(number), level, **({"timestamp": at - number / 1000} if number % 2 else {}))"""
    ran = run(project, body)
    assert ran.code == 0, ran.events
    found = said(project, ran)
    assert [(text, level) for text, level, _ in found] == [
        ("0", 10), ("1", 20), ("2", 30), ("3", 40), ("4", 50), ("5", 20),
    ]  # fmt: skip
