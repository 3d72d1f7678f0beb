"""A copy of the repository with a history of its own, and the images that are built from it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
BAKE = REPOSITORY / "workload_images" / "docker-bake.hcl"
PATIENCE = 900


@dataclass(frozen=True)
class Tree:
    """What is built here is tagged with `tag`."""

    root: Path
    tag: str

    def git(self, *arguments: str) -> str:
        """Run git here and return what it prints."""
        author = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
        return run(["git", *author, *arguments], self.root).stdout.strip()

    def commit(self, message: str) -> str:
        """Commit everything and return the commit's name."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def replace(self, path: str, old: str, new: str) -> None:
        """Replace a piece of a file that is there once."""
        text = (self.root / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{path} has {old!r} {text.count(old)} times"
        (self.root / path).write_text(text.replace(old, new), encoding="utf-8")

    def script(self, *command: str, check: bool = True, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run one of the shell scripts of this tree."""
        return run(["sh", *command], self.root, check=check, TAG=self.tag, **env)

    def labels(self, **env: str) -> Mapping[str, Any]:
        """Return what labels.sh says of each image."""
        targets: Mapping[str, Any] = json.loads(self.script("workload_images/labels.sh", **env).stdout)["target"]
        return targets

    def build(self, *images: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """Build images as `make -f Makefile_dev.txt build` does."""
        return self.script("workload_images/build.sh", "build", *images, **env)

    def bake(self, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """Build images without labels."""
        command = ["docker", "buildx", "bake", "--file", "workload_images/docker-bake.hcl", "--load", *arguments]
        return run(command, self.root, TAG=self.tag, **env)

    def new_base(self) -> str:
        """Return a base image that no build has started from: nothing is cached for it, and nobody's cache is lost."""
        base = self.script("workload_images/build.sh", "base").stdout.strip()
        recipe = f"FROM {base}\nRUN echo {self.root} > /etc/base-of-a-test\n"
        run(["docker", "build", "--quiet", "--tag", self.name("base"), "-"], input=recipe)
        return self.name("base")

    def name(self, image: str) -> str:
        return f"bulkhead-{image}:{self.tag}"

    def inspect(self, image: str) -> Mapping[str, Any]:
        """Return what the engine knows of an image."""
        found: Mapping[str, Any] = json.loads(docker("image", "inspect", self.name(image)).stdout)[0]
        return found

    def identity(self, image: str) -> str:
        return str(self.inspect(image)["Id"])

    def run(self, image: str, *command: str, options: Sequence[str] = (), check: bool = True) -> str:
        """Run a command in a fresh container and return its stdout."""
        return docker("run", "--rm", *options, self.name(image), *command, check=check).stdout

    def remove_images(self) -> None:
        """Remove the names that carry this tree's tag."""
        names = docker("images", "--filter", f"reference=bulkhead-*:{self.tag}", "--format", "{{.Repository}}:{{.Tag}}")
        for name in names.stdout.split():
            docker("rmi", "--force", name)


def run(
    command: Sequence[str], folder: Path | None = None, check: bool = True, input: str | None = None, **env: str
) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **env},
        input=input,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert not check or done.returncode == 0, f"{command} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def docker(*arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    return run(["docker", *arguments], check=check)


@contextmanager
def copied(root: Path, tag: str) -> Iterator[Tree]:
    """Copy the repository's files, commit them, and remove in the end the images that were built."""
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], REPOSITORY).stdout
    for file in filter(None, listed.split("\0")):
        if (REPOSITORY / file).is_file():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / file, root / file)
    (root / ".venv" / "bin").mkdir(parents=True)
    # Not a link to the interpreter: it would look for its packages beside the link.
    (root / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    (root / ".venv" / "bin" / "python").chmod(0o755)
    tree = Tree(root, f"{tag}-{os.getpid()}")
    tree.git("init", "--quiet")
    tree.commit("Start")
    try:
        yield tree
    finally:
        if shutil.which("docker"):
            tree.remove_images()
