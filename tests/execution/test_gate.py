"""The gate between runs: what must stand on record upstream before anything is launched."""

import dagster as dg
import pytest

from tests.conftest import REPORT, Project, one_step, wait_for, workload

REFUSED = """gate closed: {reason}
  nothing was launched

step       reader of team readers (owned by team:readers)"""
TOUCHES = "Path(os.environ['BULKHEAD_STORE_SEEN'], 'was_started').touch()\n"
PASSES = "pipes.report_asset_check(check_name='good', passed=True)"


def two_teams(project: Project, maker: str, blocking: tuple[str, ...] = ("good",)) -> None:
    """Make team `makers`, which publishes `numbers`, and team `readers`, whose one step builds on it."""
    step = one_step("numbers", maker, blocking=blocking)
    project.team("makers", [step], publishes=["numbers"], env=["MODE"])
    readers(project)


def readers(project: Project) -> None:
    step = one_step("reader", workload(TOUCHES + REPORT), deps=["numbers"])
    project.team("readers", [step], reads=["numbers"], stores={"seen": "rw"})


def was_started(project: Project) -> bool:
    return (project.home / "stores" / "readers" / "seen" / "was_started").exists()


WRITES = "Path(os.environ['BULKHEAD_PUBLISH_NUMBERS'], 'n.txt').write_text(os.environ.get('MODE', '1'))\n"


def test_an_upstream_asset_that_was_never_materialized_closes_the_gate_and_nothing_is_started(
    project: Project,
) -> None:
    two_teams(project, workload(WRITES + REPORT), blocking=())
    ran = project.run("readers_job")
    assert ran.code == 1
    reason = "numbers has never been materialized: run makers_job"
    assert ran.error("reader") == REFUSED.format(reason=reason)
    assert [e["category"] for e in ran.named("STEP_FAILURE")] == ["gate closed"]
    assert not was_started(project)


def test_an_upstream_asset_that_failed_its_blocking_check_in_another_job_closes_the_gate(project: Project) -> None:
    two_teams(project, workload(f"{WRITES}{REPORT}\n{PASSES.replace('True', 'False')}"))
    assert project.run("makers_job").named("STEP_FAILURE", category="check failed")
    ran = project.run("readers_job")
    reason = "numbers failed its blocking check 'good': mend the data and run makers_job"
    assert ran.error("reader") == REFUSED.format(reason=reason)
    assert not was_started(project)


def test_a_green_upstream_opens_the_gate(project: Project) -> None:
    two_teams(project, workload(f"{WRITES}{REPORT}\n{PASSES}"))
    ran = project.run("makers_job", "readers_job")
    assert (ran.code, ran.stderr) == (0, "")
    assert was_started(project)


def test_a_check_that_passes_later_without_a_new_materialization_is_judged_on_the_one_it_looked_at(
    project: Project,
) -> None:
    """A step that reports a passing check and no asset in its next run fails, and opens no gate."""
    mode = "first = os.environ['MODE'] == 'first'\n"
    body = f"{mode}{WRITES}if first: {REPORT}\npipes.report_asset_check(check_name='good', passed=not first)"
    two_teams(project, workload(body))
    assert project.run("makers_job", MODE="first").code == 1
    later = project.run("makers_job", MODE="later")
    assert later.error("numbers").splitlines()[0] == "contract violated: asset 'numbers' was not reported"
    assert [e["passed"] for e in later.named("ASSET_CHECK_EVALUATION")] == [True]
    ran = project.run("readers_job")
    reason = "numbers failed its blocking check 'good': mend the data and run makers_job"
    assert ran.error("reader") == REFUSED.format(reason=reason)
    assert not was_started(project)


def test_a_blocking_check_that_never_came_counts_as_failed_whatever_an_earlier_run_said(project: Project) -> None:
    body = f"{WRITES}{REPORT}\nif os.environ['MODE'] == 'second': os.kill(os.getpid(), signal.SIGKILL)\n{PASSES}"
    two_teams(project, workload(body))
    assert project.run("makers_job", MODE="first").code == 0
    assert project.run("makers_job", MODE="second").named("STEP_FAILURE", category="killed by signal")
    ran = project.run("readers_job")
    reason = "numbers failed its blocking check 'good': mend the data and run makers_job"
    assert ran.error("reader") == REFUSED.format(reason=reason)
    assert not was_started(project)


def on_record(project: Project, asset: str) -> bool:
    with project.instance() as instance:
        return instance.get_latest_materialization_event(dg.AssetKey(asset)) is not None


def test_a_materialization_whose_platform_died_before_the_check_came_closes_the_gate(project: Project) -> None:
    two_teams(project, workload(f"{WRITES}{REPORT}\ntime.sleep(600)\n{PASSES}"))
    dying = project.start("makers_job")
    dying.until("ASSET_MATERIALIZATION", asset="numbers")
    wait_for(lambda: on_record(project, "numbers"), "the materialization was on record")
    dying.process.kill()
    dying.end()
    ran = project.run("readers_job")
    reason = "numbers was materialized, and its blocking check 'good' has no result on it: run makers_job"
    assert ran.error("reader") == REFUSED.format(reason=reason)
    assert not was_started(project)


def test_an_upstream_step_that_exited_3_after_it_had_reported_everything_closes_the_gate(project: Project) -> None:
    two_teams(project, workload(f"{WRITES}{REPORT}\n{PASSES}") + "sys.exit(3)\n")
    made = project.run("makers_job")
    assert [e["passed"] for e in made.named("ASSET_CHECK_EVALUATION")] == [True]
    ran = project.run("readers_job")
    reason = "numbers was last materialized by a step that failed: run makers_job"
    assert ran.error("reader") == REFUSED.format(reason=reason)
    assert not was_started(project)


def test_an_upstream_team_whose_contract_is_broken_closes_the_gate_for_its_assets_and_no_others(
    project: Project,
) -> None:
    two_teams(project, workload(f"{WRITES}{REPORT}\n{PASSES}"))
    project.team("others", [one_step("other", workload())])
    assert project.run("makers_job").code == 0
    contract = project.root / "workloads" / "makers" / "defs.yaml"
    contract.write_text(contract.read_text().replace("blocking:", "blokcing:"))
    ran = project.run("readers_job")
    reason = "numbers has no owner: no valid contract makes it (broken contracts: makers): mend the contract"
    assert ran.error("reader") == REFUSED.format(reason=reason)
    assert not was_started(project)
    assert project.run("others_job").code == 0


@pytest.mark.parametrize("upstream_is_good", [True, False])
def test_inside_a_run_the_step_itself_is_the_gate(project: Project, upstream_is_good: bool) -> None:
    upstream = one_step("first", workload(f"{REPORT}\n{PASSES.replace('True', str(upstream_is_good))}"), (), ["good"])
    project.team("team", [upstream, one_step("second", workload(), deps=["first"])])
    ran = project.run("team_job")
    assert ran.steps("STEP_SUCCESS") == (["first", "second"] if upstream_is_good else [])
    assert ran.steps("STEP_NOT_RUN") == ([] if upstream_is_good else ["second"])


def test_a_run_of_some_assets_holds_the_gate_for_those_it_leaves_out(project: Project) -> None:
    project.team("team", [one_step("first", workload()), one_step("second", workload(), deps=["first"])])
    closed = project.launch("team", "team_job", assets=["second"])
    first_line = "gate closed: first has never been materialized: run team_job"
    assert closed.error("second").splitlines()[0] == first_line
    assert project.launch("team", "team_job", assets=["first"]).steps("STEP_SUCCESS") == ["first"]
    assert project.launch("team", "team_job", assets=["second"]).steps("STEP_SUCCESS") == ["second"]


def test_a_subset_of_a_step_is_owed_alone_and_its_blocking_check_with_it(project: Project) -> None:
    source = """
        for key in pipes.asset_keys:
            pipes.report_asset_materialization(asset_key=key)
        for check in pipes.get_extra('checks'):
            pipes.report_asset_check(asset_key=check['asset'], check_name=check['name'], passed=True)
    """
    both = one_step("both", workload(source))
    both["assets"] = [{"key": "left"}, {"key": "right"}]
    both["checks"] = [{"name": "good", "asset": "left", "blocking": True}]
    project.team("team", [both])
    right = project.launch("team", "team_job", assets=["right"], checks=[])
    assert [e["asset"] for e in right.named("ASSET_MATERIALIZATION")] == ["right"]
    assert (right.code, right.named("ASSET_CHECK_EVALUATION")) == (0, [])
    left = project.launch("team", "team_job", assets=["left"], checks=[])
    assert [e["asset"] for e in left.named("ASSET_MATERIALIZATION")] == ["left"]
    assert [e["check"] for e in left.named("ASSET_CHECK_EVALUATION")] == ["good"]


def test_a_run_of_checks_alone_judges_what_is_there_and_opens_the_gate_again(project: Project) -> None:
    body = f"""
        if pipes.asset_keys:
            Path(os.environ['BULKHEAD_PUBLISH_NUMBERS'], 'n.txt').write_text('1')
            {REPORT}
        pipes.report_asset_check(asset_key='numbers', check_name='good', passed=os.environ['MODE'] == 'lenient')
    """
    two_teams(project, workload(body))
    project.environment["MODE"] = "strict"
    assert project.run("makers_job").code == 1
    project.environment["MODE"] = "lenient"
    ran = project.launch("makers", "makers_job", assets=[], checks=[["numbers", "good"]])
    assert (ran.code, ran.named("ASSET_MATERIALIZATION")) == (0, [])
    assert [e["passed"] for e in ran.named("ASSET_CHECK_EVALUATION")] == [True]
