"""Single runs and whole sweeps of variants under a demand."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from sim.compose.demands import Traffic, traffic
from sim.compose.deployments import deploy
from sim.compose.names import router
from sim.compose.step_times import step_cost
from sim.engine import Deployment
from sim.errors import UsageError
from sim.scenario import Patience, Scenario
from sim.slo import SLO_PRESETS, Slo
from sim.variant import Demand, Variant
from workloads.units import parse_user_grid


def scenario(
    variant: Variant, deployment: Deployment, traffic: Traffic, users: int | None, seed: int, factor: float = 1.0
) -> Scenario:
    """One run, complete; its steps take `factor` times as long as they are thought to."""
    demand = traffic.demand
    return Scenario(
        deployment,
        step_cost(variant, deployment, factor),
        traffic.workload(users),
        router(variant.router),
        variant.replicas,
        seed,
        Patience(demand.timeout_s, demand.retries),
    )


def sweep(
    variants: Sequence[Variant],
    demand: Demand | None = None,
    users: str = "1..128",
    asked: Slo = SLO_PRESETS["chat"],
    seeds: int = 3,
    processes: int = 1,
) -> list[dict[str, Any]]:
    """Every variant at every number of users, refined around the cliffs: a flat row for each load, its seeds merged.

    `keeps` says whether the load surely keeps the SLO; latencies are in milliseconds.
    """
    from reports.schema import encode
    from reports.tables import flat
    from sim.judging import Judgement
    from sim.merging import judge, merge
    from sim.metrics import summarise
    from sim.runner import Runner
    from sim.sweep import Plan
    from sim.sweep import sweep as visit

    def run(name: str, count: int | None, seed: int) -> Scenario:
        variant, deployment = ready[name]
        return scenario(variant, deployment, wanted, count, seed)

    wanted, grid = traffic(demand or Demand()), parse_user_grid(users)
    _require_loads_by_users(wanted)
    _require_own_ids(variants)
    ready = {variant.id: (variant, deploy(variant)) for variant in variants}
    plan = Plan(tuple(ready), grid.users, tuple(range(seeds)), run, grid.refine)
    points = visit(plan, Runner(partial(summarise, slo=asked), processes), judge).points
    return [
        {"variant": key.variant, "users": key.users, "keeps": judge(measured) is Judgement.PASS}
        | {name: figure for name, figure in flat(encode(merge(measured).value)).items() if not isinstance(figure, list)}
        for key, measured in sorted(points.items())
    ]


def _require_loads_by_users(wanted: Traffic) -> None:
    if wanted.by_users:
        return
    named = "a trace" if wanted.trace is not None else f"load '{wanted.demand.load}'"
    raise UsageError(
        f"{named} states its own size, and this sweep goes from users to users: write closed, burst or offline without "
        "a number, or call sim.cli.library.sweep"
    )


def _require_own_ids(variants: Sequence[Variant]) -> None:
    ids = [variant.id for variant in variants]
    for name in ids:
        if ids.count(name) > 1:
            raise UsageError(f"two variants are called '{name}': give each an id of its own")
