"""The front door: `type: orchestrator.Workload` in a team's `defs.yaml`."""

import dagster as dg
from pydantic import BaseModel

from orchestrator.contract.model import Contract
from orchestrator.execution.platform import Platform, load_platform
from orchestrator.graph.definitions import build_definitions


class Workload(dg.Component):
    """A team's workload: its contract becomes thin assets, checks, jobs and schedules; its code is never imported.

    `platform` is what the contract was read with; without it, all contracts are read when definitions are built.
    """

    def __init__(self, contract: Contract, platform: Platform | None = None) -> None:
        self.contract = contract
        self.platform = platform

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return Contract

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        return dg.ComponentTypeSpec(
            description="A team's workload, run in isolation and reporting over Dagster Pipes.",
            produces=["asset", "asset_check", "job", "schedule"],
        )

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "Workload":
        if not isinstance(attributes, Contract):
            raise TypeError("a Workload needs attributes: the team's contract")
        return cls(attributes)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the team's definitions.

        Raises:
            ContractError: a rule between contracts does not hold; every problem with file, line and key.
        """
        platform = self.platform or load_platform()
        contract = platform.catalog.contract(self.contract.team)
        return build_definitions(platform, contract, context.resolution_context)
