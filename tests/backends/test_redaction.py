"""Secrets masked in what a workload says, in each form that they are likely to take."""

import base64
import json
import time
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.supervision.redaction import Redactor

PASSWORD = 'hunter2 & "söhne"/\\+'
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nab12\n-----END KEY-----\n"


def streamed(redactor: Redactor, parts: list[bytes]) -> bytes:
    """Return what comes out if the parts come one after another."""
    said, kept = [], b""
    for part in parts:
        out, kept = redactor.split(kept + part)
        said.append(out)
    return b"".join([*said, redactor.raw(kept)])


@pytest.mark.parametrize(
    "form",
    [
        PASSWORD,
        json.dumps(PASSWORD)[1:-1],
        json.dumps(PASSWORD, ensure_ascii=False)[1:-1],
        repr(PASSWORD)[1:-1],
        quote(PASSWORD),
        quote(PASSWORD, safe=""),
        quote_plus(PASSWORD),
        base64.b64encode(PASSWORD.encode()).decode().rstrip("="),
    ],
    ids=["plain", "json", "json in unicode", "repr", "url path", "url", "form", "base64"],
)
def test_a_secret_is_masked_in_every_form_it_is_likely_to_take(form: str) -> None:
    redactor = Redactor([PASSWORD])
    assert redactor.raw(f"<{form}>".encode()) == b"<***>"
    assert redactor.text(f"<{form}>") == "<***>"


def test_a_secret_is_masked_inside_of_what_carries_it() -> None:
    redactor = Redactor([PASSWORD])
    assert redactor.text(json.dumps({"password": PASSWORD})) == '{"password": "***"}'
    assert redactor.text(urlencode({"password": PASSWORD, "x": 1})) == "password=***&x=1"
    # Base64 mixes the end of the secret with what follows it.
    carried = base64.b64encode(f"{PASSWORD} and more".encode()).decode()
    assert redactor.text(carried).startswith("***")
    assert PASSWORD[-4:] not in base64.b64decode(redactor.text(carried)[3:] + "==", validate=False).decode("latin-1")


def test_every_secret_is_masked_wherever_it_is_and_the_longest_first() -> None:
    redactor = Redactor(["hunter", "hunter2000"])
    assert redactor.raw(b"hunter2000 hunter2 hunter hunter2000") == b"*** ***2 *** ***"
    assert redactor.text("hunter2000 hunter2 hunter hunter2000") == "*** ***2 *** ***"


def test_a_secret_of_several_lines_is_masked_as_a_whole_and_line_by_line() -> None:
    redactor = Redactor([KEY])
    assert redactor.text(f"key: {KEY}end") == "key: ***end"
    assert redactor.text(f"key: {KEY.strip()} end") == "key: *** end"
    # A line of less than 8 characters says too little to be masked by itself.
    assert redactor.text("\n".join(f"> {line}" for line in KEY.splitlines())) == "> ***\n> ***\n> ab12\n> ***"
    assert redactor.text(json.dumps(KEY)) == '"***"'


def test_spaces_around_a_secret_do_not_hide_it() -> None:
    redactor = Redactor(["  hunter2\n"])
    assert redactor.text("(hunter2)") == "(***)"


@pytest.mark.parametrize("short", ["", "abc", " ab\n", "\n\n\n\n\n"])
def test_a_value_of_less_than_4_characters_is_left_alone(short: str) -> None:
    redactor = Redactor([short])
    assert redactor.forms == []
    assert redactor.text(f"<{short}> abcabc") == f"<{short}> abcabc"


def test_a_secret_that_is_no_unicode_is_masked_all_the_same() -> None:
    secret = b"hunter\xff2".decode("utf-8", "surrogateescape")
    redactor = Redactor([secret])
    assert redactor.raw(b"<hunter\xff2> <hunter%FF2>") == b"<***> <***>"
    # The last character of Base64 depends on what follows.
    assert redactor.raw(base64.b64encode(b"hunter\xff2 and more")).startswith(b"***")
    assert redactor.text(f"<{secret}>") == "<***>"


def test_a_pattern_in_a_secret_means_nothing_but_itself() -> None:
    redactor = Redactor(["a.*b[0-9]"])
    assert redactor.text("a.*b[0-9] axxb1") == f"{redactor.mask} axxb1"
    assert redactor.raw(b"a.*b[0-9] axxb1") == f"{redactor.mask} axxb1".encode()


def test_without_secrets_nothing_changes() -> None:
    redactor = Redactor([])
    value = {"a": ["b", 1, None]}
    assert redactor.value(value) is value
    assert (redactor.text("a"), redactor.raw(b"a\xff")) == ("a", b"a\xff")
    assert redactor.split(b"hunter2") == (b"hunter2", b"")


def test_a_json_value_is_masked_in_its_texts_and_keys_and_nowhere_else() -> None:
    value = {"hunter2": ["x hunter2", {"deep": "hunter2hunter2"}], "n": 1.5, "t": True, "z": None}
    assert Redactor(["hunter2"]).value(value) == {
        "***": ["x ***", {"deep": "******"}], "n": 1.5, "t": True, "z": None,
    }  # fmt: skip


def test_the_beginning_of_a_secret_waits_for_its_end() -> None:
    redactor = Redactor(["hunter2"])
    assert redactor.split(b"my hunt") == (b"my ", b"hunt")
    assert redactor.split(b"hunter2 is") == (b"*** is", b"")
    assert redactor.split(b"hunter3") == (b"hunter3", b"")


@pytest.mark.parametrize("secret", ["hunter2-h", "abcabc", "aaaaa", "-----BEGIN KEY-----"])
def test_a_whole_secret_is_masked_though_its_end_looks_like_its_beginning(secret: str) -> None:
    redactor = Redactor([secret])
    said, kept = redactor.split(f"<{secret}".encode())
    assert (said, kept) == (b"<***", b"")


def test_a_whole_secret_is_masked_though_its_end_begins_another() -> None:
    redactor = Redactor(["token-xyz", "xyz-password"])
    assert redactor.split(b"<token-xyz") == (b"<***", b"")
    assert redactor.split(b"<token-xyz-") == (b"<***-", b"")


def test_a_secret_that_begins_a_longer_one_waits_for_it() -> None:
    redactor = Redactor(["hunter", "hunter2000"])
    assert redactor.split(b"<hunter") == (b"<", b"hunter")
    assert streamed(redactor, [b"<hunter", b"2000>", b"<hunter", b">"]) == b"<***><***>"


letters = st.text(alphabet="ab", max_size=8)


@given(secrets=st.lists(letters, max_size=3), parts=st.lists(letters, max_size=12))
def test_however_output_is_cut_the_same_comes_out(secrets: list[str], parts: list[str]) -> None:
    redactor = Redactor(secrets)
    whole = "".join(parts).encode()
    assert streamed(redactor, [part.encode() for part in parts]) == redactor.raw(whole)


@given(secret=st.text(min_size=4, max_size=30), cut=st.integers(min_value=0, max_value=200))
def test_no_secret_comes_out_wherever_it_is_cut(secret: str, cut: int) -> None:
    redactor = Redactor([secret])
    if not redactor.forms:
        return
    whole = secret.encode()
    assert streamed(redactor, [b"<", whole[:cut], whole[cut:], b">"]) == f"<{redactor.mask}>".encode()


def test_a_long_secret_does_not_slow_a_step_down() -> None:
    """A key file of 16 KiB and 16 MiB of output, on a machine of two processors: 0.2 s."""
    redactor = Redactor([base64.b64encode(bytes(range(256)) * 48).decode()])
    chunk = b"2026-01-01 00:00:00 INFO a line like any other A\n" * 1337
    began = time.monotonic()
    for _ in range(256):
        assert redactor.split(chunk) == (chunk, b"")
    assert time.monotonic() - began < 10
