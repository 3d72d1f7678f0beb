"""What the contract says is what the code does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from etl import checks
from etl.source import Source

CONTRACT = (Path(__file__).parents[1] / "defs.yaml").read_text(encoding="utf-8")


def test_the_contract_names_every_parameter():
    (names,) = re.findall(r"^  env: \[(.*)\]$", CONTRACT, re.MULTILINE)
    assert names.split(", ") == [f"ETL_{field.name.upper()}" for field in fields(Source)]


def test_the_contract_declares_every_check_as_blocking():
    declared = re.findall(r"- \{name: (\w+), asset: measurements, blocking: true", CONTRACT)
    assert declared == list(checks.CHECKS)
