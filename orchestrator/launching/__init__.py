"""From a click to a run worker. `deployment/dagster.yaml` names the coordinator and the launcher."""
