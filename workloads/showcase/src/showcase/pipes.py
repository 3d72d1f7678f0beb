"""Open Pipes as it is, and print the messages where no platform reads them."""

import os
import sys

from dagster_pipes import (
    DAGSTER_PIPES_CONTEXT_ENV_VAR,
    DAGSTER_PIPES_MESSAGES_ENV_VAR,
    PipesContext,
    PipesMappingParamsLoader,
    decode_param,
    encode_param,
    open_dagster_pipes,
)


def open_pipes(step: str) -> PipesContext:
    """Open Pipes for `step`; standalone, every message is printed to stdout as one line of JSON."""
    if DAGSTER_PIPES_CONTEXT_ENV_VAR in os.environ:
        return open_dagster_pipes()
    sys.stdout.reconfigure(line_buffering=True)
    context = {
        "asset_keys": [step],
        "code_version_by_asset_key": None,
        "provenance_by_asset_key": None,
        "partition_key": None,
        "partition_key_range": None,
        "partition_time_window": None,
        "run_id": "standalone",
        "job_name": None,
        "retry_number": 0,
        "extras": {"step": step, "attempt": 1},
    }
    bootstrap = {
        DAGSTER_PIPES_CONTEXT_ENV_VAR: encode_param({"data": context}),
        DAGSTER_PIPES_MESSAGES_ENV_VAR: encode_param({"stdio": "stdout"}),
    }
    return open_dagster_pipes(params_loader=PipesMappingParamsLoader(bootstrap))


def append_line(line: str) -> None:
    """Write `line` where the messages go, past every check of `dagster_pipes`."""
    params = os.environ.get(DAGSTER_PIPES_MESSAGES_ENV_VAR)
    if params is None:
        sys.stdout.write(line + "\n")
        return
    with open(decode_param(params)["path"], "a", encoding="utf-8") as messages:
        messages.write(line + "\n")
