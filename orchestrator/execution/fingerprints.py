"""What a result was made from: the contract, and the environment that ran it."""

import hashlib
import json
from pathlib import Path

from orchestrator.contract.model import Contract
from orchestrator.settings import Settings

LENGTH = 16
LOCK = "uv.lock"


def contract_hash(contract: Contract) -> str:
    """Return the first 16 hex digits of a SHA-256 over a contract's values; comments and order of keys do not count."""
    return _digest(json.dumps(json.loads(contract.model_dump_json()), sort_keys=True).encode())


def code_version(settings: Settings, contract: Contract) -> str | None:
    """Return what tells versions of a workload apart: its image's id if it is known, else its lock file's hash."""
    return settings.images.get(contract.image) or environment_hash(settings.workloads / contract.team)


def environment_hash(folder: Path) -> str | None:
    """Return the first 16 hex digits of a SHA-256 over a workload's lock file; None if it has none."""
    try:
        return _digest((folder / LOCK).read_bytes())
    except OSError:
        return None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:LENGTH]
