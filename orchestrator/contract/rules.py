"""The rules of a contract that no schema can state: within one file, and between teams."""

import warnings
from collections.abc import Iterator, Mapping
from zoneinfo import available_timezones

from dagster_shared.check import CheckError
from dagster_shared.error import DagsterError

from orchestrator.contract.model import Contract
from orchestrator.contract.reading import ContractFile
from orchestrator.errors import Problem, did_you_mean, listed


def own_problems(file: ContractFile) -> Iterator[Problem]:
    """Yield what is wrong within one contract, whatever other teams declare."""
    contract = file.contract
    if contract is None:
        return
    if contract.team != file.team:
        yield file.problem(["team"], f"found {contract.team!r}. Expected {file.team!r}, the name of its folder.")
    yield from _repeated_names(file, contract)
    yield from _checks(file, contract)
    yield from _datasets(file, contract)
    yield from _secrets(file, contract)
    yield from _owners(file, contract)
    yield from _jobs(file, contract)


def shared_problems(file: ContractFile, earlier: Mapping[str, ContractFile]) -> Iterator[Problem]:
    """Yield what a contract claims that an earlier team already has."""
    contract = file.contract
    assert contract is not None
    for team, other_file in earlier.items():
        other = other_file.contract
        assert other is not None
        taken = frozenset(other.asset_keys())
        for i, step in enumerate(contract.steps):
            for j, asset in enumerate(step.assets):
                if asset.key in taken:
                    place: list[str | int] = ["steps", i, "assets", j, "key"]
                    yield file.problem(
                        place, f"asset {asset.key!r} is already made by team {team!r}. Take another key."
                    )
        for i, dataset in enumerate(contract.publishes):
            if dataset in other.publishes:
                message = f"dataset {dataset!r} is already published by team {team!r}. A dataset has one publisher."
                yield file.problem(["publishes", i], message)
        for store in contract.stores:
            if store in other.stores:
                message = f"store {store!r} is private to team {team!r}. Read its datasets, or take another name."
                yield file.problem(["stores", store], message)
        for job in contract.jobs:
            if job in other.jobs:
                yield file.problem(
                    ["jobs", job], f"job {job!r} is already declared by team {team!r}. Take another name."
                )


def unmet_needs(file: ContractFile, sound: Mapping[str, ContractFile], complete: bool) -> Iterator[Problem]:
    """Yield what a contract needs of others and nobody provides.

    With a broken contract about (`complete` is false), a name that no sound contract knows may be one of the
    broken team's: it is let through here, and the gate stays closed for it.
    """
    contract = file.contract
    assert contract is not None
    contracts = {team: other.contract for team, other in sound.items() if other.contract is not None}
    makers = {key: team for team, other in contracts.items() for key in other.asset_keys()}
    publishers = {dataset: team for team, other in contracts.items() for dataset in other.publishes}
    depended = {dep for step in contract.steps for asset in step.assets for dep in asset.deps or []}
    for i, dataset in enumerate(contract.reads):
        if dataset in publishers:
            if dataset not in depended:
                message = (
                    f"no asset depends on dataset {dataset!r}, so no step would be given it. Add it to the `deps` of"
                )
                yield file.problem(["reads", i], f"{message} the asset that is made from it.")
            continue
        if dataset in makers:
            message = f"asset {dataset!r} of team {makers[dataset]!r} is not published, so no other team can read it."
            yield file.problem(["reads", i], f"{message} Datasets: {listed(publishers)}.")
        elif complete:
            hint = did_you_mean(dataset, publishers)
            yield file.problem(
                ["reads", i], f"no workload publishes {dataset!r}. Datasets: {listed(publishers)}.{hint}"
            )
    for i, step in enumerate(contract.steps):
        for j, asset in enumerate(step.assets):
            for k, dep in enumerate(asset.deps or []):
                place: list[str | int] = ["steps", i, "assets", j, "deps", k]
                maker = makers.get(dep)
                if maker is None and complete:
                    yield file.problem(place, f"no workload makes {dep!r}.{did_you_mean(dep, makers)}")
                elif maker not in (None, contract.team) and dep not in publishers:
                    yield file.problem(
                        place,
                        f"asset {dep!r} is private to team {maker!r}. Depend on what it publishes: "
                        f"{listed(contracts[str(maker)].publishes)}.",
                    )


def _repeated_names(file: ContractFile, contract: Contract) -> Iterator[Problem]:
    steps: dict[str, int] = {}
    assets: dict[str, str] = {}
    for i, step in enumerate(contract.steps):
        if step.name in steps:
            yield file.problem(["steps", i, "name"], f"step {step.name!r} is declared twice. Step names are unique.")
        steps[step.name] = i
        for j, asset in enumerate(step.assets):
            place: list[str | int] = ["steps", i, "assets", j, "key"]
            if "{{" in asset.key or not asset.key:
                yield file.problem(place, f"found {asset.key!r}. Expected a literal asset key.")
            if asset.key in assets:
                yield file.problem(place, f"asset {asset.key!r} is already made by step {assets[asset.key]!r}.")
            assets[asset.key] = step.name
            if isinstance(asset.deps, str):
                yield file.problem(["steps", i, "assets", j, "deps"], "expected a list of asset keys.")
        checks: set[tuple[str, str]] = set()
        for j, check in enumerate(step.checks):
            if (check.asset, check.name) in checks:
                yield file.problem(
                    ["steps", i, "checks", j, "name"], f"check {check.name!r} on {check.asset!r} is declared twice."
                )
            checks.add((check.asset, check.name))


def _checks(file: ContractFile, contract: Contract) -> Iterator[Problem]:
    for i, step in enumerate(contract.steps):
        own = [asset.key for asset in step.assets]
        for j, check in enumerate(step.checks):
            place: list[str | int] = ["steps", i, "checks", j, "asset"]
            if isinstance(check.blocking, str):
                yield file.problem([*place[:-1], "blocking"], f"found {check.blocking!r}. Expected true or false.")
            if check.asset in own:
                continue
            maker = contract.step_of(check.asset)
            if maker is not None:
                message = f"asset {check.asset!r} is made by step {maker.name!r}. Declare check {check.name!r} there."
            else:
                message = (
                    f"check {check.name!r} is on {check.asset!r}, which team {contract.team!r} does not make. A team "
                    f"checks its own assets only. Assets of this step: {listed(own)}.{did_you_mean(check.asset, own)}"
                )
            yield file.problem(place, message)


def _datasets(file: ContractFile, contract: Contract) -> Iterator[Problem]:
    keys = dict.fromkeys(contract.asset_keys())
    for i, dataset in enumerate(contract.publishes):
        if dataset not in keys:
            message = f"no asset of this team is called {dataset!r}. A dataset carries its asset's key."
            yield file.problem(["publishes", i], f"{message}{did_you_mean(dataset, keys)}")
        if not dataset.replace("_", "").isalnum():
            yield file.problem(["publishes", i], f"found {dataset!r}. Expected letters, digits and underscores.")


def _secrets(file: ContractFile, contract: Contract) -> Iterator[Problem]:
    for i, name in enumerate(contract.secret_variables):
        if name not in contract.secrets:
            message = f"{name!r} is not among the secrets of this contract: {listed(contract.secrets)}."
            yield file.problem(["secret_variables", i], f"{message}{did_you_mean(name, contract.secrets)}")
    for i, name in enumerate(contract.env):
        if name in contract.secrets:
            yield file.problem(["env", i], f"{name!r} is a secret. Name it under `secret_variables` instead.")


def _owners(file: ContractFile, contract: Contract) -> Iterator[Problem]:
    for i, owner in enumerate(contract.owners):
        name = owner.removeprefix("team:")
        if not ("@" in owner[1:-1] or (owner.startswith("team:") and name.replace("_", "").replace("-", "").isalnum())):
            yield file.problem(["owners", i], f"found {owner!r}. Expected an e-mail address or 'team:<name>'.")


def _jobs(file: ContractFile, contract: Contract) -> Iterator[Problem]:
    from dagster import AssetSelection, BetaWarning
    from dagster._utils.schedules import is_valid_cron_string

    for name, job in contract.jobs.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", BetaWarning)
                AssetSelection.from_string(job.selection)
        except (DagsterError, CheckError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            yield file.problem(["jobs", name, "selection"], f"{job.selection!r} is no asset selection: {reason}")
    for name, schedule in contract.schedules.items():
        if schedule.job not in contract.jobs:
            hint = did_you_mean(schedule.job, contract.jobs)
            message = f"no job {schedule.job!r} in this contract. Jobs: {listed(contract.jobs)}.{hint}"
            yield file.problem(["schedules", name, "job"], message)
        if name in contract.jobs:
            yield file.problem(["schedules", name], f"a job is called {name!r} too. Take another name.")
        if not is_valid_cron_string(schedule.cron):
            message = f"{schedule.cron!r} is not a cron schedule. Expected five fields such as '0 2 * * *'."
            yield file.problem(["schedules", name, "cron"], message)
        if schedule.timezone not in available_timezones():
            hint = did_you_mean(schedule.timezone, available_timezones())
            yield file.problem(["schedules", name, "timezone"], f"{schedule.timezone!r} is not a time zone.{hint}")
