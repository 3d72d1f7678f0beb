"""Failures that a workload explains itself: one message, one sysexits code, no traceback on stderr."""

BLOCKED = 65
NOTHING_REPORTED = 70


class WorkloadError(Exception):
    """End the step with a message for its reader; `exit_code` is the code of the process."""

    exit_code = 1


class BadParameter(WorkloadError):
    """A parameter has a value that the step cannot use (EX_USAGE)."""

    exit_code = 64


class MissingInput(WorkloadError):
    """Something that the step reads or writes to was not there (EX_NOINPUT)."""

    exit_code = 66


class NothingReported(WorkloadError):
    """The step ended cleanly without the reports that the platform demands (EX_SOFTWARE)."""

    exit_code = NOTHING_REPORTED


class TryAgain(WorkloadError):
    """The same step may succeed later (EX_TEMPFAIL); the platform retries it."""

    exit_code = 75
