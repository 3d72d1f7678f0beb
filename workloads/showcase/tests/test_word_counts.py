"""The step that is a shell script: what it prints by hand, and the file that it leaves."""

import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def run(**env: str) -> "subprocess.CompletedProcess[str]":
    variables = {"PATH": "/usr/local/bin:/usr/bin:/bin", **env}
    return subprocess.run(
        ["sh", "word_counts.sh"], cwd=ROOT, env=variables, capture_output=True, text=True, check=True
    )


def counted() -> dict[str, Any]:
    lines = [
        line for path in (ROOT / "src" / "showcase").glob("*.py") for line in path.read_text().splitlines()
    ]
    metadata = {"lines": len(lines), "words": sum(len(line.split()) for line in lines)}
    check = {"asset": "word_counts", "name": "some_words", "passed": True}
    return {"assets": {"word_counts": {"metadata": metadata}}, "checks": [check]}


def test_by_hand_it_prints_its_result() -> None:
    assert json.loads(run().stdout) == counted()


def test_on_the_platform_it_leaves_its_result_in_the_file_it_is_given(tmp_path: Path) -> None:
    done = run(BULKHEAD_RESULT=str(tmp_path / "result.json"))
    assert (done.stdout, json.loads((tmp_path / "result.json").read_text())) == ("", counted())
