"""Say something over Pipes: all that is owed, too little, too much, nonsense."""

import os
import subprocess
import sys

from common import line, made, run, say, write
from dagster_pipes import open_dagster_pipes

BIG = 5_000_000


def reports_all() -> None:
    with open_dagster_pipes() as pipes:
        pipes.report_asset_materialization(metadata={"rows": 3})
        pipes.report_asset_check(check_name="good", passed=True)


def five_megabytes_in_one_message() -> None:
    with open_dagster_pipes() as pipes:
        pipes.report_asset_materialization(metadata={"big": "x" * BIG})


def failed_check_with_large_metadata() -> None:
    with open_dagster_pipes() as pipes:
        pipes.report_asset_materialization()
        pipes.report_asset_check(check_name="good", passed=False, metadata={"rows": "x" * 40_000})


def hundred_thousand_log_messages() -> None:
    with open_dagster_pipes() as pipes:
        for number in range(100_000):
            pipes.log.info(f"line {number}")
        pipes.report_asset_materialization()


def silent() -> None:
    print("all done, and nobody was told")


def reports_nothing() -> None:
    with open_dagster_pipes():
        pass


def leaves_out_a_blocking_check() -> None:
    with open_dagster_pipes() as pipes:
        pipes.report_asset_materialization()


def undeclared_asset() -> None:
    say("opened", extras={})
    write(made("undeclared_asset") + made("other"))
    say("closed")


def undeclared_check() -> None:
    say("opened", extras={})
    write(made("undeclared_check"))
    say(
        "report_asset_check",
        asset_key="undeclared_check",
        check_name="other",
        passed=True,
        severity="ERROR",
        metadata={},
    )
    say("closed")


def unknown_method() -> None:
    say("opened", extras={})
    write(made("unknown_method"))
    say("report_everything_is_fine")
    say("closed")


def bad_severity() -> None:
    say("opened", extras={})
    write(made("bad_severity"))
    say("report_asset_check", asset_key="bad_severity", check_name="good", passed=False, severity="FATAL", metadata={})
    say("closed")


def wrong_type() -> None:
    say("opened", extras={})
    write(made("wrong_type"))
    say("report_asset_check", asset_key="wrong_type", check_name="good", passed="no", severity="ERROR", metadata={})
    say("closed")


def another_partition() -> None:
    say("opened", extras={})
    say("report_asset_materialization", asset_key="another_partition", metadata={}, data_version=None, partition="b")
    say("closed")


def malformed() -> None:
    with open_dagster_pipes() as pipes:
        pipes.report_asset_materialization()
        write(b"Segmentation fault (core dumped)\n")


def truncated() -> None:
    say("opened", extras={})
    write(made("truncated"))
    write(line("closed")[:30])


def out_of_order() -> None:
    write(made("out_of_order"))
    say("opened", extras={})
    say("closed")


def duplicated() -> None:
    say("opened", extras={})
    write(made("duplicated") * 2)
    say("closed")


def after_closed() -> None:
    say("opened", extras={})
    say("closed")
    write(made("after_closed"))


def no_opened() -> None:
    write(made("no_opened"))
    say("closed")


def no_closed() -> None:
    say("opened", extras={})
    write(made("no_closed"))


def many_writers() -> None:
    """Four processes log while this one reports; each writes whole lines."""
    logs = "from common import say\nfor n in range(500): say('log', message=f'line {n}', level='info')"
    with open_dagster_pipes() as pipes:
        others = [subprocess.Popen([sys.executable, "-c", logs]) for _ in range(4)]
        pipes.report_asset_materialization()
        for other in others:
            other.wait()


def noise_between_messages() -> None:
    """Another writer leaves text without a newline, as a progress bar does; the next message is glued to it."""
    say("opened", extras={})
    write(b"45%|####      |")
    write(made("noise_between_messages"))
    say("closed")


def progress_bar_on_stderr() -> None:
    with open_dagster_pipes() as pipes:
        os.write(2, b"\r45%|####      |")
        pipes.report_asset_materialization()


if __name__ == "__main__":
    run(globals())
