"""Tamper with the messages file, after all that is owed was written to it."""

import os

from common import made, messages, run, say, write


def _report(name: str) -> None:
    say("opened", extras={})
    write(made(name))


def deletes_its_messages() -> None:
    _report("deletes_its_messages")
    os.unlink(messages())


def truncates_its_messages() -> None:
    _report("truncates_its_messages")
    _wait_until_read()
    os.truncate(messages(), 0)


def replaces_its_messages_by_a_link() -> None:
    _report("replaces_its_messages_by_a_link")
    os.rename(messages(), messages() + ".old")
    os.symlink("/etc/passwd", messages())


def replaces_its_messages_by_a_fifo() -> None:
    """Nobody reads the FIFO: the next message waits for ever."""
    _report("replaces_its_messages_by_a_fifo")
    os.unlink(messages())
    os.mkfifo(messages())
    say("closed")


def replaces_its_messages_by_other_ones() -> None:
    _report("replaces_its_messages_by_other_ones")
    os.unlink(messages())
    _report("replaces_its_messages_by_other_ones")
    say("closed")


def _wait_until_read() -> None:
    import time

    time.sleep(1)


if __name__ == "__main__":
    run(globals())
