"""What `dagster.multi_asset` makes of a step, without looking each time at a function whose signature is known."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dagster as dg

from orchestrator.execution.dagster_internals import DecoratedOpFunction, stringify_asset_key_to_input_name


def _body(context: dg.AssetExecutionContext) -> Iterator[Any]:
    """Have the signature of every thin asset's body; nobody calls it."""
    yield from ()


SIGNATURE = inspect.signature(_body)
NOTHING_IN = dg.In(dg.Nothing)
CHECK_OUT = dg.Out(None, is_required=False)
# Metadata under it may say what passes between steps.
DAGSTERS_OWN = "dagster/"


def thin_definition(
    body: Callable[[dg.AssetExecutionContext], Iterator[Any]],
    *,
    name: str,
    specs: Sequence[dg.AssetSpec],
    check_specs: Sequence[dg.AssetCheckSpec],
    backfill_policy: dg.BackfillPolicy | None,
    **of_op: Any,
) -> dg.AssetsDefinition:
    """Return a step's assets and checks, each of which may be selected alone.

    `of_op` is passed on: `description`, `config_schema`, `retry_policy`, `pool`, and the tags as `op_tags`.
    """
    own = {spec.key for spec in specs}
    upstream = list(dict.fromkeys(dep.asset_key for spec in specs for dep in spec.deps))
    inputs = {stringify_asset_key_to_input_name(key): key for key in upstream}
    outputs = {spec.key.to_python_identifier(): spec for spec in specs}
    checks = {check.get_python_identifier(): check for check in check_specs}
    if (
        not own.isdisjoint(upstream)
        or len(inputs) < len(upstream)
        or len({*outputs, *checks}) < len(specs) + len(check_specs)
        or any(name.startswith(DAGSTERS_OWN) for spec in specs for name in spec.metadata)
    ):
        decorate = dg.multi_asset(
            name=name, specs=specs, check_specs=check_specs, backfill_policy=backfill_policy, can_subset=True, **of_op
        )
        return decorate(body)
    # Dagster asks for it eight times a function.
    body.__signature__ = SIGNATURE  # type: ignore[attr-defined]
    outs = {output: _asset_out(spec) for output, spec in outputs.items()}
    op = dg.OpDefinition(
        compute_fn=DecoratedOpFunction(body),
        name=name,
        ins=dict.fromkeys(inputs, NOTHING_IN),
        outs={**outs, **dict.fromkeys(checks, CHECK_OUT)},
        tags=of_op.pop("op_tags"),
        **of_op,
    )
    return dg.AssetsDefinition(
        keys_by_input_name=inputs,
        keys_by_output_name={output: spec.key for output, spec in outputs.items()},
        node_def=op,
        can_subset=True,
        backfill_policy=backfill_policy,
        check_specs_by_output_name=checks,
        specs=specs,
    )


def _asset_out(spec: dg.AssetSpec) -> dg.Out:
    return dg.Out(
        dg.Nothing,
        is_required=False,
        description=spec.description,
        code_version=spec.code_version,
        metadata=spec.metadata,
    )
