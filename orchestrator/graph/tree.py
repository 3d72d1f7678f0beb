"""Dagster's component tree of one team, given the contract that the platform has read already."""

from pathlib import Path
from types import ModuleType

import dagster as dg

from orchestrator.contract.catalog import CONTRACT_NAME
from orchestrator.contract.reading import ContractFile, positions_of
from orchestrator.execution.dagster_internals import (
    ComponentPath,
    LineCol,
    SourcePosition,
    SourcePositionTree,
    ValueAndSourcePositionTree,
    YamlDecl,
    YamlFileDecl,
)
from orchestrator.execution.platform import Platform
from orchestrator.graph.component import Workload


def component_tree(platform: Platform, team: str) -> dg.ComponentTree:
    """Return the tree of a sound team's folder alone: no YAML is parsed again, and no package is imported."""
    path = platform.settings.workloads / team
    folder = ModuleType(f"workloads.{team}")
    folder.__path__, folder.__file__ = [str(path)], None
    tree = dg.ComponentTree(defs_module=folder, project_root=platform.settings.project)
    outer, inner = ComponentPath.from_path(path), ComponentPath.from_path(path, 0)
    context = tree.decl_load_context.for_component_loc(outer)
    source = _source(platform.catalog.files[team], path / CONTRACT_NAME)
    document = YamlDecl.from_source_tree(context.for_component_loc(inner), source, inner)
    position = source.source_position_tree.position
    file = YamlFileDecl(context=context, loc=outer, decls=[document], source_positions=[position])
    # What stands in the cache is neither parsed nor loaded.
    tree.state_tracker.set_cache_data(outer, component_decl=file)
    workload = Workload(platform.catalog.contract(team), platform)
    tree.state_tracker.set_cache_data(inner, component=workload, component_decl=document)
    return tree


def _source(file: ContractFile, path: Path) -> ValueAndSourcePositionTree:
    """Return the file without its contract, and where its keys stand if Dagster reads more of them than `type`."""
    start = LineCol(file.line, 1)
    tree = SourcePositionTree(SourcePosition(str(path), start, start), {})
    if file.document.keys() != {"type"} and (found := positions_of(file.text, path)) is not None:
        tree = found._replace(children={key: below for key, below in found.children.items() if key in file.document})
    return ValueAndSourcePositionTree(file.document, tree)
