"""Under the platform: what is sent, what is skipped, where files go."""

from __future__ import annotations

import pytest

TWO = """
    from bulkhead_sdk import open_step
    with open_step("things") as step:
        step.log("starting", level="warning")
        step.report("things")
        step.report("others")
        step.check("good", passed=True, asset="things")
        step.check("fine", passed=False, asset="others", blocking=False)
        print(step.asked_for("things"), step.asked_for("others"), step.standalone)
"""
GOOD = {"asset": "things", "name": "good", "blocking": True}
FINE = {"asset": "others", "name": "fine", "blocking": False}
DECLARED = {"assets": ["things", "others"], "checks": [GOOD, FINE]}


def sent(ended) -> tuple[list[str], list[str]]:
    assert ended.code == 0, ended.stderr
    assets = [message["asset_key"] for message in ended.of("report_asset_materialization")]
    return assets, [message["check_name"] for message in ended.of("report_asset_check")]


def test_everything_asked_for_is_sent(piped):
    ended = piped(TWO, assets=["things", "others"], checks=[GOOD, FINE])
    assert sent(ended) == (["things", "others"], ["good", "fine"])
    assert (
        ended.stdout == "asset things\nasset others\nPASS  things.good\nWARN  others.fine\nTrue True False\n"
    )
    assert [check["severity"] for check in ended.of("report_asset_check")] == ["ERROR", "WARN"]
    assert ended.of("log") == [{"message": "starting", "level": "WARNING"}]


def test_a_subset_run_sends_its_part_alone(piped):
    ended = piped(TWO, assets=["things"], checks=[GOOD], declared=DECLARED)
    assert sent(ended) == (["things"], ["good"])
    assert ended.stdout == "asset things\nPASS  things.good\nTrue False False\n"
    assert [log["message"] for log in ended.of("log") if log["level"] == "DEBUG"] == [
        "asset 'others' was not asked for in this run: skipped",
        "check 'fine' of 'others' was not asked for in this run: skipped",
    ]


def test_a_checks_only_run_sends_checks_alone(piped):
    assert sent(piped(TWO, assets=[], checks=[GOOD])) == ([], ["good"])


def test_a_run_without_its_checks_sends_assets_alone(piped):
    assert sent(piped(TWO, assets=["things", "others"], checks=[])) == (["things", "others"], [])


@pytest.mark.parametrize("declared", [None, {"assets": ["things"], "checks": [GOOD]}])
def test_what_nobody_declared_is_passed_on_to_be_judged(piped, declared):
    code = TWO + '        step.check("surplus", passed=True, asset="things")\n'
    extras = {} if declared is None else {"declared": declared}
    assets, checks = sent(piped(code, assets=["things"], checks=[GOOD], **extras))
    assert assets == ["things", "others"]
    assert "surplus" in checks


def test_a_stock_client_that_sends_no_checks_gets_everything(piped):
    assert sent(piped(TWO, assets=["things", "others"])) == (["things", "others"], ["good", "fine"])


FAILS = """
    from bulkhead_sdk import open_step
    with open_step("things") as step:
        step.report("things")
        step.check("good", passed=False, asset="things", blocking={said})
"""


@pytest.mark.parametrize(
    ("said", "declared", "code", "severity"), [(True, False, 0, "WARN"), (False, True, 65, "ERROR")]
)
def test_whether_a_check_blocks_is_the_contracts_word(piped, said, declared, code, severity):
    ended = piped(FAILS.format(said=said), checks=[{**GOOD, "blocking": declared}])
    assert ended.code == code
    assert ended.of("report_asset_check")[0]["severity"] == severity


def test_a_failing_check_that_was_not_asked_for_counts_for_nothing(piped):
    ended = piped(FAILS.format(said=True), checks=[])
    assert ended.code == 0
    assert ended.of("report_asset_check") == []


FOLDERS = """
    from bulkhead_sdk import open_step
    with open_step("things") as step:
        (step.new_version("things") / "a.parquet").write_text("x")
        data = step.dataset("input")
        step.report("things", metadata={"version": data.version, "store": step.store("db").name})
"""


def folders(tmp_path) -> dict[str, str]:
    named = {"PUBLISH_THINGS": "new", "DATASET_INPUT": "abc123", "STORE_DB": "db"}
    for name in named.values():
        (tmp_path / name).mkdir()
    return {f"BULKHEAD_{key}": str(tmp_path / name) for key, name in named.items()}


def test_folders_come_from_the_platform(piped, tmp_path):
    ended = piped(FOLDERS, env=folders(tmp_path))
    metadata = ended.of("report_asset_materialization")[0]["metadata"]
    assert {name: value["raw_value"] for name, value in metadata.items()} == {
        "version": "abc123",
        "store": "db",
    }
    assert (tmp_path / "new/a.parquet").read_text() == "x"
    assert not (tmp_path / ".standalone").exists()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        (
            "BULKHEAD_PUBLISH_THINGS",
            "no new version of 'things' was handed to this step (BULKHEAD_PUBLISH_THINGS):"
            " add `things` to `publishes` in defs.yaml",
        ),
        (
            "BULKHEAD_DATASET_INPUT",
            "no dataset 'input' was handed to this step (BULKHEAD_DATASET_INPUT):"
            " add `input` to `reads` and to its asset's `deps` in defs.yaml",
        ),
        (
            "BULKHEAD_STORE_DB",
            "no store 'db' was handed to this step (BULKHEAD_STORE_DB):"
            " add `db: rw` to `stores` in defs.yaml",
        ),
    ],
)
def test_a_folder_that_the_contract_does_not_give_ends_with_66(piped, tmp_path, variable, text):
    env = folders(tmp_path)
    del env[variable]
    ended = piped(FOLDERS, env=env)
    assert (ended.code, ended.stderr) == (66, f"things: {text}\n")
    assert ended.closed_with == f"bulkhead_sdk.errors.MissingInput: {text}"
