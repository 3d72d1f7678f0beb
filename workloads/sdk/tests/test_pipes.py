"""The messages are those of `dagster_pipes`, whichever of the two writes them."""

from __future__ import annotations

import json
import textwrap
import time
from typing import get_args

import pytest
from dagster_pipes import PipesMetadataType, encode_param

METADATA = {
    "a text": {"raw_value": 'ä "quoted"\n\ud800', "type": "text"},
    "a url": {"raw_value": "https://example.com", "type": "url"},
    "a path": {"raw_value": "/a/b", "type": "path"},
    "a notebook": {"raw_value": "a.ipynb", "type": "notebook"},
    "some json": {"raw_value": {"a": [1, None, 0.5]}, "type": "json"},
    "some md": {"raw_value": "# T\n", "type": "md"},
    "a float": {"raw_value": 0.1, "type": "float"},
    "an int": {"raw_value": 2**70, "type": "int"},
    "a bool": {"raw_value": True, "type": "bool"},
    "a run": {"raw_value": "id", "type": "dagster_run"},
    "an asset": {"raw_value": "a/b", "type": "asset"},
    "nothing": {"raw_value": None, "type": "null"},
    "a table": {
        "raw_value": {"records": [{"a": 1}], "schema": [{"name": "a", "type": "int"}]},
        "type": "table",
    },
    "columns": {"raw_value": {"columns": [{"name": "a", "type": "int"}]}, "type": "table_schema"},
    "lineage": {"raw_value": {"deps_by_column": {}}, "type": "table_column_lineage"},
    "a time": {"raw_value": 1.5, "type": "timestamp"},
    "whatever": {"raw_value": 1, "type": "__infer__"},
}
VALUES = f"metadata={METADATA!r}"

SDK = """
from bulkhead_sdk import open_step as opened
with opened("things") as it:
    {body}
"""
LIBRARY = """
from dagster_pipes import open_dagster_pipes as opened
with opened() as it:
    {body}
"""


def test_the_table_of_metadata_holds_every_type():
    assert {value["type"] for value in METADATA.values()} == set(get_args(PipesMetadataType))


@pytest.fixture
def both(piped, tmp_path):
    """Run a body in a step, and another in a session of the library; return the messages of each."""

    def run(body: str, reference: str | None = None) -> tuple[list[dict], list[dict]]:
        found = []
        for head, part in ((SDK, body), (LIBRARY, reference or body)):
            (tmp_path / "messages").unlink(missing_ok=True)
            found.append(piped(head.format(body=textwrap.indent(part, "    ").lstrip())).messages)
        assert all(messages[-1]["method"] == "closed" for messages in found)
        return found[0], found[1]

    return run


@pytest.mark.parametrize(
    ("step", "library"),
    [
        ("pass", "pass"),
        (
            f"it.report('things', data_version='1', {VALUES})",
            f"it.report_asset_materialization(asset_key='things', data_version='1', {VALUES})",
        ),
        ("it.report('things')", "it.report_asset_materialization()"),
        (
            f"it.check('good', passed=True, asset='things', {VALUES})",
            f"it.report_asset_check('good', True, 'ERROR', asset_key='things', {VALUES})",
        ),
        (
            "it.check('good', passed=False, asset='things', blocking=False)",
            "it.report_asset_check('good', False, 'WARN')",
        ),
        *(
            (f"it.log('50% \\n done', level={level!r})", f"it.log.{level}('50% \\n done')")
            for level in ("debug", "info", "warning", "error", "critical")
        ),
    ],
)
def test_what_is_reported_is_what_the_library_writes(both, step, library):
    own, reference = both(step, library)
    assert own == reference
    assert len(own) == (2 if step == "pass" else 3)


@pytest.mark.parametrize(
    "body",
    [
        "raise KeyError('gone')",
        "raise RuntimeError('ä \\ud800\\nsecond line')",
        "try:\n    raise KeyError('first')\nexcept KeyError as e:\n    raise ValueError('second') from e",
        "try:\n    raise KeyError('first')\nexcept KeyError:\n    raise ValueError('second')",
        "try:\n    raise KeyError('first')\nexcept KeyError:\n    raise ValueError('second') from None",
        "one, two = KeyError('1'), KeyError('2')\none.__cause__, two.__cause__ = two, one\nraise one",
        "class Outer:\n    class Inner(Exception):\n        pass\nraise Outer.Inner('nested')",
        "error = KeyError('noted')\nerror.add_note('a note')\nraise error",
        "raise ExceptionGroup('several', [KeyError('a'), ValueError('b')])",
        "compile('a b', 'given', 'exec')",
        "raise KeyboardInterrupt",
        "raise SystemExit(3)",
        "raise SystemExit('a text')",
    ],
)
def test_an_exception_is_described_as_the_library_does(both, body):
    own, reference = both(body)
    assert own == reference
    assert own[-1]["params"]["exception"]["message"]


STEP = """
    import sys
    {first}
    from bulkhead_sdk import open_step
    with open_step("things") as step:
        {inside}
        step.report("things")
        step.log("library" if "dagster_pipes" in sys.modules else "own")
"""
CODE = STEP.format(first="", inside="")
SAID = ["opened", "report_asset_materialization", "log", "closed"]


def writer(messages: list[dict]) -> str:
    assert [message["method"] for message in messages] == SAID
    return messages[2]["params"]["message"]


def test_two_files_are_written_here(piped):
    assert writer(piped(CODE).messages) == "own"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("kind", ["stdio", "buffered_stdio"])
def test_a_stream_is_left_to_the_library(piped, kind, stream):
    ended = piped(CODE, env={"DAGSTER_PIPES_MESSAGES": encode_param({kind: stream})})
    assert ended.code == 0, ended.stderr
    lines = getattr(ended, stream).splitlines()
    assert writer([json.loads(line) for line in lines if line.startswith("{")]) == "library"


def test_a_file_that_takes_the_output_along_is_left_to_the_library(piped, tmp_path):
    params = {"path": str(tmp_path / "messages"), "include_stdio_in_messages": True}
    ended = piped(CODE, env={"DAGSTER_PIPES_MESSAGES": encode_param(params)})
    assert ended.of("log")[0]["message"] == "library"
    assert "asset things\n" in "".join(part["text"] for part in ended.of("log_external_stream"))


def test_a_context_in_the_variable_is_left_to_the_library(piped):
    context = {"asset_keys": ["things"], "extras": {}}
    assert (
        writer(piped(CODE, env={"DAGSTER_PIPES_CONTEXT": encode_param({"data": context})}).messages)
        == "library"
    )


def test_a_session_that_the_workload_opened_with_the_library_is_shared(piped):
    first = "from dagster_pipes import PipesContext, open_dagster_pipes; open_dagster_pipes()"
    assert writer(piped(STEP.format(first=first, inside="PipesContext.get()")).messages) == "library"


def test_a_session_is_shared_with_a_workload_that_opens_it_later(piped):
    code = STEP.format(first="import dagster_pipes", inside="dagster_pipes.open_dagster_pipes()")
    assert writer(piped(code).messages) == "library"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("a", "binascii.Error: "),
        ("ä", "ValueError: string argument should contain only ASCII characters"),
        ("aGk=", "zlib.error: Error -3 while decompressing data: incorrect header check"),
        (encode_param({"path": 1}), "dagster_pipes.DagsterPipesError: Invalid type for parameter `path`"),
        (encode_param({"bucket": "b"}), "dagster_pipes.DagsterPipesError: Invalid params"),
    ],
)
def test_what_cannot_be_read_fails_in_the_words_of_the_library(piped, value, error):
    ended = piped(CODE, env={"DAGSTER_PIPES_MESSAGES": value})
    assert (ended.code, ended.messages) == (1, [])
    assert error in ended.stderr


LOGS = """
    from bulkhead_sdk import open_step
    with open_step("things") as step:
        step.log("now")
"""


def test_a_log_message_has_the_workloads_time_where_the_platform_accepts_it(piped):
    before = time.time()
    (log,) = piped(LOGS, accepts=["something", "log_timestamp"]).of("log")
    assert before < log.pop("timestamp") < time.time()
    assert log == {"message": "now", "level": "INFO"}


@pytest.mark.parametrize("extras", [{}, {"accepts": []}, {"accepts": None}, {"accepts": ["something"]}])
def test_a_log_message_has_no_time_elsewhere(piped, extras):
    assert piped(LOGS, **extras).of("log") == [{"message": "now", "level": "INFO"}]


def test_the_library_writes_the_time_as_well(piped):
    ended = piped("    import dagster_pipes\n" + LOGS.lstrip("\n"), accepts=["log_timestamp"])
    assert set(ended.of("log")[0]) == {"message", "level", "timestamp"}


THREADS = """
    from threading import Thread
    from bulkhead_sdk import open_step
    with open_step("things") as step:
        def say(word):
            for number in range(1000):
                step.log(f"{word * 500} {number}")
        threads = [Thread(target=say, args=(word,)) for word in "ab"]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
"""


def test_lines_of_two_threads_stay_whole_and_in_order(piped):
    said = [log["message"] for log in piped(THREADS).of("log")]
    for word in "ab":
        assert [text for text in said if text[0] == word] == [f"{word * 500} {n}" for n in range(1000)]
    assert len(said) == 2000


SHORT_WRITES = """
    import os
    from bulkhead_sdk import open_step
    write = os.write
    os.write = lambda file, data: write(file, data[:7])
    with open_step("things") as step:
        step.log("a text that is longer than one write")
"""


def test_a_write_that_was_cut_short_is_continued(piped):
    assert piped(SHORT_WRITES).of("log")[0]["message"] == "a text that is longer than one write"


FORKED = """
    import os, signal, threading
    from bulkhead_sdk import open_step
    with open_step("things") as step:
        write, held, go_on = os.write, threading.Event(), threading.Event()
        def slow(file, data):
            held.set()
            go_on.wait()
            return write(file, data)
        os.write = slow
        thread = threading.Thread(target=step.log, args=("parent",))
        thread.start()
        held.wait()
        child = os.fork()
        if not child:
            signal.alarm(10)
            os.write = write
            step.log("child")
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        go_on.set()
        thread.join()
        assert status == 0
"""


def test_a_process_that_was_forked_while_a_message_was_on_its_way_can_send(piped):
    ended = piped(FORKED)
    assert ended.code == 0, ended.stderr
    assert [log["message"] for log in ended.of("log")] == ["child", "parent"]


LATE = """
    from bulkhead_sdk import open_step
    with open_step("things") as step:
        session = step._host.pipes
    session.send("log", {"message": "late", "level": "INFO"})
"""


def test_nothing_is_sent_after_closed(piped):
    ended = piped(LATE)
    assert ended.stderr.endswith("RuntimeError: Cannot send message after pipes context is closed.\n")
    assert [message["method"] for message in ended.messages] == ["opened", "closed"]
