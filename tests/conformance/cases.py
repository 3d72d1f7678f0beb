"""The cases of the conformance suite: what a workload does, and what has to come of it on every backend."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NEVER_OPENED = "contract violated: exited 0 without a word: Pipes was never opened, and nothing was reported"
TIMEOUT = "timed out: ran longer than its timeout of 2s and was stopped; peak memory <n>"


@dataclass(frozen=True, eq=False)
class Case:
    """One workload.

    Attributes:
        name: the function in `program`; also the step and its asset.
        program: the file in `tests/workloads`.
        what: what the workload does, for people.
        verdict: the first line of the failure, with <n> for what was measured; empty for a green step.
        details: the lines below it.
        kept: whether the asset is on record in the end.
        checks: the results on record, by check.
        owed: the blocking checks that the contract declares.
        step: what the contract says of the step beside its name and command.
        attempts: how often it is tried.
    """

    name: str
    program: str
    what: str
    verdict: str = ""
    details: tuple[str, ...] = ()
    kept: bool = True
    checks: Mapping[str, bool] = field(default_factory=dict)
    owed: tuple[str, ...] = ()
    step: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 1


def _limited(**resources: Any) -> dict[str, Any]:
    return {"resources": resources}


SHORT = {"timeout": "2s"}
GOOD = ("good",)
FILE = {"results": "file"}

CASES = (
    # Messages
    Case("reports_all", "messages.py", "reports all that it owes", checks={"good": True}, owed=GOOD),
    Case("five_megabytes_in_one_message", "messages.py", "sends metadata of 5 MB"),
    Case(
        "failed_check_with_large_metadata", "messages.py", "fails a blocking check, with 40 kB of metadata",
        "check failed: blocking check 'good' on 'failed_check_with_large_metadata' did not pass",
        checks={"good": False}, owed=GOOD,
    ),
    Case("progress_bar_on_stderr", "messages.py", "leaves a progress bar without a newline on stderr"),
    Case(
        "silent", "messages.py", "exits 0 without a message", NEVER_OPENED,
        kept=False,
    ),
    Case(
        "reports_nothing", "messages.py", "opens and closes Pipes, and reports nothing",
        "contract violated: asset 'reports_nothing' was not reported", kept=False,
    ),
    Case(
        "leaves_out_a_blocking_check", "messages.py", "does not report a blocking check",
        "contract violated: check 'good' on 'leaves_out_a_blocking_check' was not reported",
        checks={"good": False}, owed=GOOD,
    ),
    Case(
        "undeclared_asset", "messages.py", "reports an asset that its contract does not declare",
        "contract violated: reported asset 'other', which its contract does not declare for this step",
    ),
    Case(
        "undeclared_check", "messages.py", "reports a check that its contract does not declare",
        "contract violated: reported check 'other' on 'undeclared_check', which its contract does not declare for this step",
    ),
    Case(
        "unknown_method", "messages.py", "sends a message with an unknown method",
        "contract violated: sent a message with the unknown method 'report_everything_is_fine'",
    ),
    Case(
        "bad_severity", "messages.py", "reports a failed check with a severity that does not exist",
        "contract violated: sent a malformed 'report_asset_check': severity: Input should be 'WARN' or 'ERROR'",
        ("check 'good' on 'bad_severity' was not reported",), checks={"good": False}, owed=GOOD,
    ),
    Case(
        "wrong_type", "messages.py", "reports a check that passed 'no'",
        "contract violated: sent a malformed 'report_asset_check': passed: Input should be a valid boolean",
        ("check 'good' on 'wrong_type' was not reported",), checks={"good": False}, owed=GOOD,
    ),
    Case(
        "another_partition", "messages.py", "reports its asset for a partition of its own choice",
        "contract violated: sent a malformed 'report_asset_materialization': partition: Extra inputs are not permitted",
        ("asset 'another_partition' was not reported",), kept=False,
    ),
    Case(
        "malformed", "messages.py", "leaves text among its messages",
        "contract violated: line 3 of its messages is not JSON: 'Segmentation fault (core dumped)'",
    ),
    Case(
        "truncated", "messages.py", "ends in the middle of a message",
        "contract violated: line 3 of its messages is not JSON: '{\"__dagster_pipes_version\": \"0'",
        ("Pipes was opened and never closed",),
    ),
    Case(
        "out_of_order", "messages.py", "reports before it opens Pipes",
        "contract violated: sent 'report_asset_materialization' before 'opened'",
    ),
    Case(
        "duplicated", "messages.py", "reports its asset twice",
        "contract violated: reported asset 'duplicated' twice",
    ),
    Case(
        "after_closed", "messages.py", "reports after it closed Pipes",
        "contract violated: sent 'report_asset_materialization' after 'closed'",
        ("asset 'after_closed' was not reported",), kept=False,
    ),
    Case(
        "no_opened", "messages.py", "never opens Pipes",
        "contract violated: sent 'report_asset_materialization' before 'opened'",
        ("sent 'closed' before 'opened'", NEVER_OPENED.partition(": ")[2]),
    ),
    Case("no_closed", "messages.py", "never closes Pipes", "contract violated: Pipes was opened and never closed"),
    Case("many_writers", "messages.py", "logs from four processes while it reports"),
    Case(
        "noise_between_messages", "messages.py", "glues a message to text without a newline",
        "contract violated: line 2 of its messages is not JSON: <excerpt>",
        ("asset 'noise_between_messages' was not reported",), kept=False,
    ),
    Case("hundred_thousand_log_messages", "messages.py", "logs 100,000 messages", step={"timeout": "4m"}),
    # The messages file
    Case(
        "deletes_its_messages", "files.py", "deletes its messages file",
        "contract violated: in the place of its messages file there is nothing (it was deleted)",
        ("Pipes was opened and never closed",),
    ),
    Case(
        "truncates_its_messages", "files.py", "truncates its messages file",
        "contract violated: its messages file was truncated while it ran", ("Pipes was opened and never closed",),
    ),
    Case(
        "replaces_its_messages_by_a_link", "files.py", "puts a symbolic link in the place of its messages file",
        "contract violated: in the place of its messages file there is a symbolic link",
        ("Pipes was opened and never closed",),
    ),
    Case(
        "replaces_its_messages_by_a_fifo", "files.py", "puts a FIFO in the place of its messages file",
        TIMEOUT, ("in the place of its messages file there is a FIFO",), step=SHORT,
    ),
    Case(
        "replaces_its_messages_by_other_ones", "files.py", "puts another file in the place of its messages file",
        "contract violated: in the place of its messages file there is another file",
        ("Pipes was opened and never closed",),
    ),
    # Output
    Case("ten_megabytes_without_a_newline", "output.py", "writes 10 MiB to stderr without a newline"),
    Case("invalid_utf_8", "output.py", "writes bytes that are no UTF-8"),
    Case("nul_bytes", "output.py", "writes NUL bytes"),
    Case("closes_its_output", "output.py", "closes stdin, stdout and stderr"),
    Case("wipes_its_log", "output.py", "tries to truncate its own log"),
    # Processes
    Case("leaves_a_daemon", "processes.py", "leaves a daemon behind"),
    Case("leaves_a_child_in_another_group", "processes.py", "leaves a child in another process group"),
    Case("hangs", "processes.py", "hangs", TIMEOUT, kept=False, step=SHORT),
    Case(
        "hangs_and_ignores_every_request_to_end", "processes.py", "hangs, and ignores INT and TERM, as does its child",
        TIMEOUT, kept=False, step=SHORT,
    ),
    Case("stops_itself", "processes.py", "stops itself with SIGSTOP", TIMEOUT, kept=False, step=SHORT),
    Case(
        "hangs_after_closing", "processes.py", "reports all, closes Pipes, and does not end",
        "timed out: closed Pipes and did not exit within its timeout of 2s; peak memory <n>", step=SHORT,
    ),
    Case(
        "fork_bomb", "processes.py", "forks 300 times, 40 processes allowed",
        "limit exceeded: broke its contract's limit of 40 processes and threads, and was killed; peak <n>",
        kept=False, step=_limited(pids=40),
    ),
    # Limits
    Case(
        "takes_memory_slowly", "limits.py", "takes 600 MiB in steps, 128 MiB allowed",
        "out of memory: used <n> of the 128Mi its contract allows, and was killed",
        kept=False, step=_limited(memory="128Mi"),
    ),
    Case(
        "takes_memory_at_once", "limits.py", "takes 1.2 GiB at once, 128 MiB allowed",
        "out of memory: used <n> of the 128Mi its contract allows, and was killed",
        kept=False, step=_limited(memory="128Mi"),
    ),
    Case(
        "takes_memory_in_children", "limits.py", "takes 320 MiB in eight children, 128 MiB allowed",
        "out of memory: used <n> of the 128Mi its contract allows, and was killed",
        kept=False, step=_limited(memory="128Mi"),
    ),
    Case(
        "burns_cpu_in_children", "limits.py", "burns 6 s of cpu in two children, 1 s allowed",
        "limit exceeded: broke its contract's limit of 1s of cpu time, and was killed; peak <n>",
        kept=False, step=_limited(cpu_time="1s"),
    ),
    Case(
        "opens_many_files_in_children", "limits.py", "opens 160 files in four children, 100 allowed",
        "limit exceeded: broke its contract's limit of 100 open files, and was killed; peak <n>",
        kept=False, step=_limited(open_files=100),
    ),
    Case(
        "floods_its_output", "limits.py", "prints 64 MiB, 8 MiB allowed",
        "limit exceeded: broke its contract's limit of 8Mi of output, and was killed; peak <n>",
        kept=False, step=_limited(output="8Mi"),
    ),
    # Ends
    Case(
        "reports_then_exits_3", "ends.py", "reports all that it owes and exits 3", "workload exited: code 3",
        checks={"good": True}, owed=GOOD, step={"retries": {"max": 1}},
    ),
    Case(
        "exits_75", "ends.py", "exits 75, with one retry in its contract",
        "workload exited: code 75 (EX_TEMPFAIL: try again)",
        kept=False, step={"retries": {"max": 1}}, attempts=2,
    ),
    Case(
        "exits_137", "ends.py", "exits 137, with one retry in its contract",
        "workload exited: code 137 (as a shell reports SIGKILL)",
        kept=False, step={"retries": {"max": 1}},
    ),
    Case(
        "is_killed", "ends.py", "is killed by SIGKILL, with one retry in its contract",
        "killed by signal: SIGKILL after <n>, peak memory <n>",
        kept=False, step={"retries": {"max": 1}}, attempts=2,
    ),
    Case(
        "crashes", "ends.py", "crashes with SIGSEGV", "killed by signal: SIGSEGV after <n>, peak memory <n>",
        kept=False,
    ),
    Case(
        "raises", "ends.py", "raises ValueError, caused by KeyError",
        "workload raised: ValueError: no price for 'plum'", kept=False,
    ),
    Case(
        "sees_the_platforms_environment", "ends.py", "looks for the platform's password in its environment",
    ),
    # Programs without Pipes
    Case("shell_without_a_result", "shell.sh", "is a shell script that exits 0", step=FILE),
    Case(
        "shell_with_a_result", "shell.sh", "is a shell script that leaves a result file",
        checks={"good": True}, owed=GOOD, step=FILE,
    ),
    Case(
        "shell_with_nonsense", "shell.sh", "is a shell script that leaves text as its result file",
        "contract violated: its result file is not JSON: Expecting value: line 1 column 1 (char 0)",
        ("asset 'shell_with_nonsense' was not reported",), kept=False, step=FILE,
    ),
    Case(
        "shell_with_a_link", "shell.sh", "is a shell script that leaves a symbolic link as its result file",
        "contract violated: its result file cannot be read: Too many levels of symbolic links",
        ("asset 'shell_with_a_link' was not reported",), kept=False, step=FILE,
    ),
    Case(
        "shell_that_leaves_out_a_check", "shell.sh", "is a shell script that does not report its blocking check",
        "contract violated: check 'good' on 'shell_that_leaves_out_a_check' was not reported",
        checks={"good": False}, owed=GOOD, step=FILE,
    ),
    Case(
        "shell_that_exits_4", "shell.sh", "is a shell script that leaves a result file and exits 4",
        "workload exited: code 4", step=FILE,
    ),
)  # fmt: skip

# Run by itself, since it is measured.
FLOOD = Case("one_gigabyte_on_stdout", "output.py", "prints a gibibyte", step={"timeout": "4m"})
