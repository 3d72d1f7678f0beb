"""Set-up compiles the sandbox's starter where it can, and leaves nothing behind where it cannot."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, needs_compiled_starter

SOURCE = "orchestrator/backends/supervision/starter.c"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with what the starter is compiled from, and an empty environment."""
    for folder in (".venv/bin", "deployment", str(Path(SOURCE).parent)):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name in ("deployment/setup.sh", SOURCE):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def made(checkout: Path, **env: str) -> list[str]:
    """Compile the starter; return what the environment then has."""
    done = subprocess.run(
        ["sh", "deployment/setup.sh", "starter"],
        cwd=checkout,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return [path.name for path in (checkout / ".venv" / "bin").iterdir()]


def test_the_starter_is_compiled(checkout: Path) -> None:
    needs_compiled_starter()
    assert made(checkout) == ["bulkhead-starter"]


def test_it_compiles_without_a_warning(checkout: Path) -> None:
    needs_compiled_starter()
    assert made(checkout, CC="cc -Wall -Wextra -Werror") == ["bulkhead-starter"]


@pytest.mark.parametrize("compiler", ["false", "no-such-compiler"])
def test_without_a_compiler_there_is_none_and_no_old_one(checkout: Path, compiler: str) -> None:
    (checkout / ".venv" / "bin" / "bulkhead-starter").touch()
    assert made(checkout, CC=compiler) == []
