"""Images for tests that run steps in containers: built once, and one for each team that a test makes."""

import atexit
import fcntl
import subprocess
import uuid
from functools import cache
from pathlib import Path

from tests.conftest import REPOSITORY, needs_engine

# What the images of tests are made from carries this tag; those of a project one of its own.
TAG = "test"


@cache
def base_images() -> None:
    """Build what all of them are made from; says so where there is no engine."""
    needs_engine()
    build = ["make", "-f", "Makefile_dev.txt", "build", "IMAGE=showcase init", f"TAG={TAG}"]
    with Path(__file__).open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        done = subprocess.run(build, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-4000:]


def docker_settings() -> dict[str, str]:
    """Return the settings of a platform whose steps run in containers, of images with a tag of their own."""
    base_images()
    tag = f"{TAG}-{uuid.uuid4().hex[:12]}"
    docker("tag", f"bulkhead-init:{TAG}", f"bulkhead-init:{tag}")
    atexit.register(remove_images, tag)
    return {"BULKHEAD_BACKEND": "docker", "BULKHEAD_TAG": tag, "BULKHEAD_PULL": "never"}


def build_image(folder: Path, tag: str) -> None:
    """Build a team's image: the environment of `showcase`, with the team's own scripts."""
    (folder / ".dockerignore").write_text(".venv\n", encoding="utf-8")
    recipe = f"FROM bulkhead-showcase:{TAG}\nCOPY . /app/\n"
    build = ["build", "--quiet", "--tag", f"bulkhead-{folder.name}:{tag}", "--file", "-", str(folder)]
    docker(*build, stdin=recipe)


def remove_images(tag: str) -> None:
    """Remove the images of one project."""
    found = docker("image", "ls", "--filter", f"reference=bulkhead-*:{tag}", "--format", "{{.Repository}}:{{.Tag}}")
    if found:
        docker("image", "rm", "--force", *found)


def containers_of(home: Path, *more: str) -> list[str]:
    """Return the ids of the containers of a platform, running or not."""
    return docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label=bulkhead.home={home}", *more)


def docker(*words: str, stdin: str | None = None) -> list[str]:
    """Run a Docker command and return the words that it prints."""
    done = subprocess.run(["docker", *words], input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout.split()
