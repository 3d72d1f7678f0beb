"""Removes folders that a workload could write to."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path


def remove_tree(path: Path) -> None:
    """Remove a folder, whatever a workload made of it: closed folders, a thousand levels, a link in its place."""
    with contextlib.suppress(OSError, RecursionError):
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path)
    if os.path.lexists(path) and not path.is_symlink():
        # These go down any depth, and never through a link.
        subprocess.run(["chmod", "-R", "u+rwx", "--", path], capture_output=True)
        subprocess.run(["rm", "-rf", "--", path], capture_output=True)
