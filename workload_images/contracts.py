"""Print a line `team image hash` for each contract: `tar -c workloads/*/defs.yaml | python contracts.py`.

Runs where the orchestrator is installed: in its environment, or in its image. A contract that does not hold is
reported on stderr and has no line.
"""

import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.contract.catalog import load_catalog
from orchestrator.execution.fingerprints import contract_hash


def main() -> None:
    with TemporaryDirectory() as folder, tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as contracts:
        for member in contracts:
            file = contracts.extractfile(member) if member.isfile() else None
            if file is not None:
                target = Path(folder, member.name)
                target.parent.mkdir(parents=True)
                target.write_bytes(file.read())
        catalog = load_catalog(Path(folder) / "workloads")
        for team, contract in catalog.sound.items():
            print(team, contract.image, contract_hash(contract))
        for team in catalog.problems:
            print(
                f"bulkhead labels: the contract of {team} does not hold, so its image carries no hash of it: "
                f"bulkhead check {team} says why",
                file=sys.stderr,
            )


if __name__ == "__main__":
    main()
