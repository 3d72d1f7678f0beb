"""Contracts for tests: written as files, read as the platform reads them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from orchestrator.contract.catalog import Catalog, load_catalog


def step(name: str, deps: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """Return a step that makes the asset of its name."""
    asset = {"key": name, **({"deps": list(deps)} if deps else {})}
    return {"name": name, "run": ["python", "-m", name], "assets": [asset], **more}


def document(team: str, /, **attributes: Any) -> dict[str, Any]:
    """Return a whole contract file of a team; its one step makes `<team>_data` unless told otherwise."""
    contract = {"team": team, "image": team, "steps": [step(f"{team}_data")], **attributes}
    return {"type": "orchestrator.Workload", "attributes": contract}


def write(root: Path, **files: Mapping[str, Any] | str | bytes) -> Path:
    """Write one `<root>/workloads/<team>/defs.yaml` for each team; return the folder of workloads."""
    for team, content in files.items():
        folder = root / "workloads" / team
        folder.mkdir(parents=True)
        text = yaml.safe_dump(content, sort_keys=False) if isinstance(content, Mapping) else content
        (folder / "defs.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return root / "workloads"


def load(root: Path, *order: str, **files: Mapping[str, Any] | str | bytes) -> Catalog:
    """Write the files and load them; `order` is the order of the teams in workspace.yaml."""
    workspace = root / "workspace.yaml"
    entries = [{"python_module": {"module_name": "orchestrator.definitions", "attribute": team}} for team in order]
    workspace.write_text(yaml.safe_dump({"load_from": entries}), encoding="utf-8")
    return load_catalog(write(root, **files), workspace)


def said(catalog: Catalog) -> dict[str, list[str]]:
    """Return the texts of all problems, by team."""
    return {team: [str(problem) for problem in problems] for team, problems in catalog.problems.items()}
