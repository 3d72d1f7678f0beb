"""One contract file: a contract, or every problem in it with the line it stands on."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.contract.catalog import load_catalog
from orchestrator.contract.reading import dotted, read_contract
from tests.contract.contracts import document, write

SOUND = """\
type: orchestrator.Workload
attributes:
  team: etl
  image: etl
  steps:
    - name: load
      run: [python, -m, etl]
      assets:
        - key: raw
"""
TOP_KEYS = (
    "description, env, image, jobs, network, owners, publishes, reads, resources, schedules, secret_variables, secrets, "
    "steps, stores, team"
)
ASSET_KEYS = (
    "automation_condition, code_version, deps, description, freshness_policy, group_name, key, kinds, metadata, "
    "owners, partitions_def, skippable, tags"
)
RESERVED = "is set by the platform and cannot be passed on. Take another name."


def problems(tmp_path: Path, content: str | bytes) -> list[str]:
    """Return what is said about one file of team etl."""
    path = write(tmp_path, etl=content) / "etl" / "defs.yaml"
    read = read_contract(path, Path("workloads/etl/defs.yaml"))
    assert (read.contract is None) == bool(read.problems)
    return [str(problem) for problem in read.problems]


def test_a_sound_file_is_a_contract_without_problems(tmp_path: Path) -> None:
    path = write(tmp_path, etl=SOUND) / "etl" / "defs.yaml"
    read = read_contract(path, path)
    assert read.problems == ()
    assert read.contract is not None
    assert (read.team, read.contract.team, read.contract.asset_keys()) == ("etl", "etl", ["raw"])
    assert (read.contract.network, read.contract.reads, read.contract.resources.memory) == ("none", [], None)


def test_a_steps_own_limits_stand_over_those_of_the_team(tmp_path: Path) -> None:
    text = SOUND.replace("      assets", "      resources: {memory: 1Gi}\n      timeout: 5m\n      assets")
    path = write(tmp_path, etl=text + "  resources: {cpu: 2, memory: 4Gi}\n") / "etl" / "defs.yaml"
    contract = read_contract(path, path).contract
    assert contract is not None
    limits = contract.resources_of(contract.steps[0])
    assert (limits.cpu, limits.memory, limits.pids, contract.steps[0].timeout) == (2, 2**30, None, 300)


@pytest.mark.parametrize(
    ("change", "to", "text"),
    [
        ("  image:", "  imagee:", [
            "2: image: missing key 'image'.",
            f"4: imagee: unknown key 'imagee'. Expected one of: {TOP_KEYS}. Did you mean 'image'?",
        ]),
        ("  image: etl\n", "  image: etl\n  zzz: 1\n", [f"5: zzz: unknown key 'zzz'. Expected one of: {TOP_KEYS}."]),
        ("        - key: raw", "        - key: raw\n          dep: [x]", [
            f"10: steps[0].assets[0].dep: unknown key 'dep'. Expected one of: {ASSET_KEYS}. Did you mean 'deps'?"
        ]),
        ("      run:", "      retries: {max: 1, backof: linear}\n      run:", [
            "7: steps[0].retries.backof: unknown key 'backof'. Expected one of: backoff, delay, max. "
            "Did you mean 'backoff'?"
        ]),
        ("  image: etl\n", "", ["2: image: missing key 'image'."]),
        ("      run: [python, -m, etl]\n", "", ["6: steps[0].run: missing key 'run'."]),
        ("      run:", "      timeout: 5 minutes\n      run:", [
            "7: steps[0].timeout: '5 minutes' is not a duration. Expected a number with a unit: 30s, 5m, 1h30m."
        ]),
        ("      run:", "      timeout: 300\n      run:", [
            "7: steps[0].timeout: a duration needs a unit: write '300s', '300m' or '300h'."
        ]),
        ("  image: etl\n", "  image: etl\n  resources: {memory: 1GB}\n", [
            "5: resources.memory: '1GB' is not a memory size. Expected a number with a unit: 256Mi, 1Gi."
        ]),
        ("  image: etl\n", f"  image: etl\n  resources: {{memory: {'9' * 400}Ti}}\n", [
            f"5: resources.memory: '{'9' * 400}Ti' is more than any machine holds. Expected 256Mi, 1Gi or the like."
        ]),
        ("  image: etl\n", "  image: etl\n  resources: {cpu: .inf}\n", [
            "5: resources.cpu: found inf. Expected a finite number."
        ]),
        ("  image: etl\n", f"  image: 0x{'f' * 9000}\n", [
            "4: image: found a int too large to show. Expected a valid string."
        ]),
        ("  image: etl\n", "  image: etl\n  stores: {etl: rwx}\n", [
            "5: stores.etl: found 'rwx'. Expected 'rw' or 'ro'. Did you mean 'rw'?"
        ]),
        ("  team: etl", "  team: 1etl", [
            "3: team: '1etl' is not a name. Expected letters, digits and underscores, a letter first."
        ]),
        ("  team: etl", '  team: "{{ env.TEAM }}"', [
            "3: team: '{{ env.TEAM }}' is not a name. Expected letters, digits and underscores, a letter first."
        ]),
        ("  image: etl\n", "  image: etl\n  env: [A, DAGSTER_HOME]\n", [f"5: env[1]: 'DAGSTER_HOME' {RESERVED}"]),
        ("  image: etl\n", "  image: etl\n  env: [BULKHEAD_HOME]\n", [f"5: env[0]: 'BULKHEAD_HOME' {RESERVED}"]),
        ("  image: etl\n", "  image: etl\n  env: [LD_PRELOAD]\n", [f"5: env[0]: 'LD_PRELOAD' {RESERVED}"]),
        ("  image: etl\n", "  image: etl\n  secrets: [PATH]\n", [f"5: secrets[0]: 'PATH' {RESERVED}"]),
        ("  image: etl\n", "  image: etl\n  env: [A=1]\n", [
            "5: env[0]: 'A=1' is not the name of an environment variable. Expected a name such as ETL_ROWS."
        ]),
        ("  image: etl\n", "  image: etl\n  image: other\n", ["5: image: this key stands twice. Keep one."]),
        ("attributes:", "attribute:", [
            "2: attribute: unknown key. Expected one of: attributes, post_processing, requirements, "
            "template_vars_module, type. Did you mean 'attributes'?",
            "1: attributes: expected a mapping: the team's contract.",
        ]),
        ("Workload", "Workloads", ["1: type: expected 'orchestrator.Workload', found 'orchestrator.Workloads'."]),
        ("[python, -m, etl]", "[python, -m, etl", ["8: this is not YAML: did not find expected ',' or ']'."]),
        ("  image: etl", "  image: !shell rm", [
            "4: this is not YAML: could not determine a constructor for the tag '!shell'."
        ]),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_line_its_key_and_what_was_expected(
    tmp_path: Path, change: str, to: str, text: list[str]
) -> None:
    assert change in SOUND
    assert problems(tmp_path, SOUND.replace(change, to, 1)) == [f"workloads/etl/defs.yaml:{line}" for line in text]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "expected one YAML document, a mapping with the keys 'type' and 'attributes'; found 0."),
        (b"# nothing\n", "expected one YAML document, a mapping with the keys 'type' and 'attributes'; found 0."),
        (b"a: 1\n---\nb: 1\n", "expected one YAML document, a mapping with the keys 'type' and 'attributes'; found 2."),
        (b"- 1\n", "expected a mapping with the keys 'type' and 'attributes'."),
        (b"\xff\xfe\x00", "cannot be read: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b"a\0b", "this is not YAML: unacceptable character #x0000: control characters are not allowed."),
        (b"&a [*a]", "this is not YAML: found unconstructable recursive node."),
    ],
)
def test_a_file_that_is_no_mapping_at_all_is_one_problem(tmp_path: Path, content: bytes, text: str) -> None:
    assert problems(tmp_path, content) == [f"workloads/etl/defs.yaml:1: {text}"]


def test_a_file_nested_too_deeply_is_one_problem(tmp_path: Path) -> None:
    (text,) = problems(tmp_path, "[" * 800 + "]" * 800)
    assert text.startswith("workloads/etl/defs.yaml:1: this is not YAML: it is nested more than 100 levels deep")


def test_every_fault_of_a_file_is_found_at_once_in_the_order_of_its_lines(tmp_path: Path) -> None:
    text = SOUND.replace("etl", "1etl", 1).replace("      run:", "      timeout: soon\n      run:") + "  network: all\n"
    assert problems(tmp_path, text) == [
        "workloads/etl/defs.yaml:3: team: '1etl' is not a name. Expected letters, digits and underscores, "
        "a letter first.",
        "workloads/etl/defs.yaml:7: steps[0].timeout: 'soon' is not a duration. Expected a number with a unit: "
        "30s, 5m, 1h30m.",
        "workloads/etl/defs.yaml:11: network: found 'all'. Expected 'none' or 'data'.",
    ]


def test_a_folder_in_the_place_of_the_file_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "etl" / "defs.yaml"
    path.mkdir(parents=True)
    (problem,) = read_contract(path, Path("defs.yaml")).problems
    assert str(problem) == f"defs.yaml:1: cannot be read: [Errno 21] Is a directory: {str(path)!r}"


def test_a_key_path_is_written_as_people_write_it() -> None:
    assert dotted(["steps", 1, "assets", 0, "key"]) == "steps[1].assets[0].key"


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary(max_size=4)
)
WORDS = st.sampled_from(
    ["team", "image", "steps", "name", "run", "assets", "key", "deps", "jobs", "{{ x }}", "1Gi", "5m"]
)
TREES = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS | SCALARS, inner, max_size=4)),
    max_leaves=12,
)
KEYS = TOP_KEYS.split(", ")
CHANGED = st.dictionaries(st.sampled_from(KEYS), TREES, max_size=4).map(lambda changes: document("etl", **changes))
STEPS = st.lists(
    st.fixed_dictionaries(
        {
            "name": WORDS,
            "run": st.just(["x"]),
            "assets": st.lists(st.fixed_dictionaries({"key": WORDS, "deps": TREES})),
        },
        optional={"checks": TREES, "timeout": TREES, "retries": TREES, "resources": TREES, "backfill_policy": TREES},
    ),
    max_size=3,
).map(lambda steps: document("etl", steps=steps))


def dump(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=False))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text() | st.binary() | TREES.map(dump) | CHANGED.map(dump) | STEPS.map(dump))
def test_any_file_is_a_contract_or_problems_with_a_file_and_a_line(tmp_path: Path, content: str | bytes) -> None:
    folder = tmp_path / "workloads" / "etl"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "defs.yaml").write_bytes(
        content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    )
    catalog = load_catalog(tmp_path / "workloads")
    assert ("etl" in catalog.sound) != ("etl" in catalog.problems)
    for problem in catalog.problems.get("etl", ()):
        assert problem.path == Path("workloads/etl/defs.yaml")
        assert problem.line >= 1
        assert problem.message
