"""Asset specs and check specs of a contract."""

import re
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster.components.resolved.core_models import resolve_asset_check_spec, resolve_asset_spec
from pydantic import BaseModel

from orchestrator.contract.model import Contract, Step

# Dagster takes every text for a template, and its result for a Python literal if it is one. This text is neither.
PLAIN = re.compile(r"(?!(?:None|True|False)\b)[A-Za-z_][A-Za-z0-9_ /.,:;=@+-]*", re.ASCII)
PLAIN_ASSET: Mapping[str, Any] = {
    "key": str,
    "deps": tuple,
    "description": str,
    "group_name": str,
    "code_version": str,
    "owners": list,
    "tags": Mapping,
    "kinds": list,
}
OWN = ("group_name", "owners", "description", "code_version")
PLAIN_CHECK: Mapping[str, Any] = {"name": str, "asset": str, "description": str, "blocking": bool}


def asset_spec(
    contract: Contract, step: Step, asset: Any, resolution: dg.ResolutionContext, version: str | None
) -> dg.AssetSpec:
    """Return the spec of an asset, with its team's values where it has none of its own.

    `version` is the code version of an asset without one.
    """
    plain = plain_values(asset, PLAIN_ASSET)
    spec: Any = None if plain is not None else resolve_asset_spec(resolution, asset)
    given = plain if plain is not None else {name: getattr(spec, name) for name in ("metadata", *OWN)}
    values: dict[str, Any] = {
        "group_name": given.get("group_name") or contract.team,
        "owners": given.get("owners") or contract.owners or [f"team:{contract.team}"],
        "description": given.get("description") or step.description,
        "skippable": True,
        "code_version": given.get("code_version") or version,
        "metadata": {
            **given.get("metadata", {}),
            "bulkhead/team": contract.team,
            "bulkhead/command": " ".join(step.run),
        },
    }
    if plain is None:
        replaced: dg.AssetSpec = spec.replace_attributes(**values)
        return replaced
    deps = [dg.AssetKey.from_user_string(dep) for dep in plain.get("deps", ())]
    return dg.AssetSpec(**{**plain, **values, "key": dg.AssetKey.from_user_string(plain["key"]), "deps": deps})


def check_spec(check: Any, resolution: dg.ResolutionContext) -> dg.AssetCheckSpec:
    """Return the spec of a check."""
    plain = plain_values(check, PLAIN_CHECK)
    if plain is None:
        resolved: dg.AssetCheckSpec = resolve_asset_check_spec(resolution, check)
        return resolved
    return dg.AssetCheckSpec(**{**plain, "asset": dg.AssetKey.from_user_string(plain["asset"])})


def plain_values(model: BaseModel, kinds: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what is set in a part of a contract, or None if Dagster has to resolve any of it."""
    values = {}
    for name in model.model_fields_set:
        value = getattr(model, name)
        if not isinstance(value, kinds.get(name, ())) or not _is_plain(value):
            return None
        values[name] = value
    return values


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return PLAIN.fullmatch(value) is not None
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return all(isinstance(part, str) and _is_plain(part) for part in parts)
