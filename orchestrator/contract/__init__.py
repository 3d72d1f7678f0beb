"""The contract: what a team writes in `defs.yaml`, read, checked, and held against every other team's."""
