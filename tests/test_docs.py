"""What the documents name exists: targets, commands, links, paths, keys, categories, variables."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from orchestrator.cli import main
from orchestrator.contract.model import Contract, Job, Resources, Retries, Schedule, Step, Strict
from orchestrator.contract.reading import read_contract
from orchestrator.contract.rules import own_problems
from orchestrator.execution.verdict import Category

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "workload_images" / "README.md",
    ROOT / "deployment" / "offline" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FOLDERS = ("orchestrator", "workloads", "workload_images", "deployment", "docs", "tests")
FILE_NAME = re.compile(r"(Makefile|Makefile_dev\.txt|LICENSE|pyproject\.toml|uv\.lock|[A-Z]+\.md|docker-compose\.yml)")
# Where each part of the contract stands in the table, and the model that describes it.
PARTS: dict[str, type[BaseModel]] = {
    "": Contract,
    "resources.": Resources,
    "steps[].": Step,
    "steps[].retries.": Retries,
    "jobs.<job>.": Job,
    "schedules.<schedule>.": Schedule,
}
every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def code_of(document: Path) -> Iterator[str]:
    """Yield each piece of code of a document: inline, indented and fenced."""
    fenced = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
    text = text_of(document)
    for block in fenced.findall(text):
        yield from block.splitlines()[1:-1]
    rest = fenced.sub("", text)
    yield from (line.strip() for line in rest.splitlines() if line.startswith("    "))
    yield from inline_code(document)


def inline_code(document: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", text_of(document), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", text)


def table_below(document: Path, heading: str, first_cell: str) -> list[list[str]]:
    """Return the rows of the table under a heading whose first column has this title."""
    section = text_of(document).split(f"\n{heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = section.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_cell} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return rows


def targets_of(makefile: str) -> set[str]:
    path = ROOT / makefile
    return (
        set(re.findall(r"^([a-z][a-z-]*):", path.read_text(encoding="utf-8"), re.MULTILINE)) if path.exists() else set()
    )


def anchors_of(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text_of(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def default_of(field: Any) -> str:
    """Return a field's default as the table writes it."""
    default = field.get_default(call_default_factory=True)
    if field.is_required() or default is PydanticUndefined:
        return "required"
    if default is None or default == Resources():
        return "none"
    return f"`{default}`" if default else "empty"


@every_document
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    operate = targets_of("Makefile")
    develop = operate | targets_of("Makefile_dev.txt")
    for code in code_of(document):
        for options, target in re.findall(r"\bmake((?: -f \S+)?) ([a-z][a-z-]*)\b", code):
            known = develop if "Makefile_dev.txt" in options else operate
            assert target in known, f"{code!r} names no target of its Makefile"


@every_document
def test_every_subcommand_of_bulkhead_that_is_named_exists(document: Path) -> None:
    for code in code_of(document):
        for command in re.findall(r"(?:^|bin/)bulkhead ([a-z]+)", code):
            assert command in main.commands, f"{code!r} names no command of bulkhead"


@every_document
def test_every_option_of_bulkhead_that_is_named_exists(document: Path) -> None:
    for code in code_of(document):
        for command, rest in re.findall(r"(?:^|bin/)bulkhead ([a-z]+)(.*)", code):
            known = {option for parameter in main.commands[command].params for option in parameter.opts}
            assert set(re.findall(r"(?<= )--[a-z]+", rest)) <= known, f"{code!r} has an unknown option"


@every_document
def test_every_job_that_is_run_in_an_example_is_declared(document: Path) -> None:
    contracts = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in ROOT.glob("workloads/*/defs.yaml")]
    jobs = {job for contract in contracts for job in contract["attributes"].get("jobs", {})}
    for code in code_of(document):
        for job in re.findall(r"bulkhead run ([a-z]\w*)", code):
            assert job in jobs, f"{code!r} runs a job that no contract declares"


@every_document
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(document)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), f"{document.name} links to {target}, which does not exist"
        assert not anchor or anchor in anchors_of(linked), f"{document.name} links to {target}: no such heading"


@every_document
def test_every_path_in_backticks_exists(document: Path) -> None:
    for code in inline_code(document):
        in_folder = code.startswith(tuple(f"{folder}/" for folder in FOLDERS))
        if (in_folder or FILE_NAME.fullmatch(code)) and not re.search(r"[<*$\s]", code):
            assert (ROOT / code).exists(), f"{document.name} names {code}, which does not exist"


@every_document
def test_no_document_names_a_path_of_one_machine(document: Path) -> None:
    assert not re.findall(r"(?<![\w.:/])/(?:home|root|work|Users|mnt|private)/\S*", text_of(document))


@every_document
def test_every_variable_of_the_platform_that_is_named_is_used_by_it(document: Path) -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "orchestrator").rglob("*.py"))
    for name in re.findall(r"\bBULKHEAD_[A-Z_]*[A-Z]\b", text_of(document)):
        known = re.search(rf"\b{name}\b", source)
        assert known or name.removeprefix("BULKHEAD_") in ("STORE", "DATASET", "PUBLISH"), f"nothing reads {name}"


def test_every_setting_that_the_platform_reads_is_documented() -> None:
    settings = (ROOT / "orchestrator" / "settings.py").read_text(encoding="utf-8")
    documented = text_of(ROOT / "docs" / "ARCHITECTURE.md")
    for name in sorted(set(re.findall(r"\"(BULKHEAD_[A-Z_]+)\"", settings))):
        assert f"`{name}`" in documented


def test_the_readme_is_under_150_lines() -> None:
    assert len(text_of(ROOT / "README.md").splitlines()) < 150


def test_the_contract_in_the_readme_is_sound(tmp_path: Path) -> None:
    example = re.findall(r"```yaml\n(.*?)```", text_of(ROOT / "README.md"), re.DOTALL)
    path = tmp_path / "prices" / "defs.yaml"
    path.parent.mkdir()
    path.write_text(example[0], encoding="utf-8")
    file = read_contract(path, path)
    assert [*file.problems, *own_problems(file)] == []


def test_the_contract_table_covers_every_part_of_the_model() -> None:
    assert set(PARTS.values()) == set(Strict.__subclasses__())


def test_the_contract_table_and_the_model_have_the_same_keys_and_defaults() -> None:
    rows = table_below(ROOT / "docs" / "ARCHITECTURE.md", "## The contract", "key")
    written = {row[0].strip("`"): row[-1] for row in rows}
    modelled = {
        f"{place}{name}": default_of(field)
        for place, model in PARTS.items()
        for name, field in model.model_fields.items()
    }
    assert len(rows) == len(written), "a key stands twice"
    assert written == modelled


def test_the_verdict_table_has_every_category_and_no_other() -> None:
    rows = table_below(ROOT / "docs" / "ARCHITECTURE.md", "## The verdict", "category")
    assert [row[0].strip("`") for row in rows] == [str(category) for category in Category]
