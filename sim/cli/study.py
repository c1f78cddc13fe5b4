"""A study: the flags resolved into what is run, before anything is."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sim import compose
from sim.cli.flags import Flags
from sim.cli.tuning import with_tuned
from sim.cli.variants import Prepared, asked_variants, prepare
from sim.compose import Traffic
from sim.errors import DoesNotFit, UsageError
from sim.metrics import PointMetrics, summarise
from sim.runner import Memory, Progress, Runner, cores
from sim.scenario import Scenario
from sim.slo import Slo
from sim.sweep import Plan
from sim.variant import Demand
from workloads.units import UserGrid, parse_duration, parse_user_grid


@dataclass(frozen=True)
class Study:
    """Variants on their machines, the traffic, the loads and seeds to visit, and what counts as served well."""

    flags: Flags
    rows: tuple[Prepared, ...]
    traffic: Traffic
    grid: UserGrid
    slo: Slo

    @property
    def by_users(self) -> bool:
        """Whether the load takes its size from the number of users."""
        return self.traffic.by_users

    @property
    def plan(self) -> Plan:
        """What a sweep of this study visits."""
        ready = tuple(row.variant.id for row in self.rows if row.deployment is not None)
        users: tuple[int | None, ...] = self.grid.users if self.by_users else (None,)
        seeds = tuple(range(self.flags.seed, self.flags.seed + self.flags.seeds))
        return Plan(ready, users, seeds, self.scenario, self.grid.refine and self.by_users)

    def row(self, variant: str) -> Prepared:
        """The row of that id."""
        return next(row for row in self.rows if row.variant.id == variant)

    def scenario(self, variant: str, users: int | None, seed: int) -> Scenario:
        """One run of a variant."""
        row = self.row(variant)
        assert row.deployment is not None
        return compose.scenario(row.variant, row.deployment, self.traffic, users, seed)

    def runner(
        self, report: Callable[[Progress], None], memory: Memory[PointMetrics] | None = None
    ) -> Runner[PointMetrics]:
        """What runs it on as many processes as asked."""
        return Runner(partial(summarise, slo=self.slo), self.flags.jobs or cores(), report, memory)

    def require_one(self) -> None:
        """Raise when no variant can be run at all, with how much is missing for the one that comes nearest."""
        errors = [row.error for row in self.rows if row.error is not None]
        if len(errors) < len(self.rows):
            return
        lacking = [(error.missing_bytes, str(error)) for error in errors if isinstance(error, DoesNotFit)]
        if not lacking:
            raise errors[0]
        missing_bytes, message = min(lacking)
        raise DoesNotFit(f"nothing fits: {message}", missing_bytes)


def study(flags: Flags) -> Study:
    """Resolve every word of the flags; whatever means nothing is refused here."""
    timeout_s = None if flags.timeout is None else parse_duration(flags.timeout, "--timeout")
    if timeout_s == 0:
        raise UsageError("--timeout 0 would end every request at once: leave it out for endless patience")
    demand = Demand(
        flags.load,
        flags.workload,
        flags.prompt_tokens,
        flags.output_tokens,
        flags.think,
        flags.requests,
        timeout_s,
        flags.retries,
        flags.trace,
    )
    grid = parse_user_grid(flags.users)
    traffic = compose.traffic(demand)
    traffic.load(grid.users[0])
    if flags.users_given:
        compose.refuse_unused(demand, ["users"])
    compose.router(flags.router)
    slo = compose.slo(flags.slo)
    rows = prepare(flags)
    if not flags.engine:
        rows = with_tuned(rows, traffic, slo, range(flags.seed, flags.seed + flags.seeds))
    return Study(flags, tuple(rows), traffic, grid, slo)


def hopeless(seeds: list[PointMetrics]) -> bool:
    """Whether not a single request keeps the SLO: no other seed will change that."""
    return all(point.met == 0 for point in seeds)


def scenario_table(study: Study) -> dict[str, Any]:
    """Every flag by name with its resolved value; engine options stand beside them."""
    flags, load = study.flags, study.traffic
    card, host, model = compose.machine(study.rows[0].variant)
    table = {name.replace("_", "-"): getattr(flags, name) for name in SCENARIO_FLAGS}
    table |= {"engine": list(flags.engine) or None, "users": study.grid.text if study.by_users else None}
    table |= {"think": load.think.text if "think" in compose.used(load.demand) else None}
    table |= {"prompt-tokens": load.prompt.text, "output-tokens": load.output.text}
    table |= {"slo": slo_text(study.slo)}
    if flags.trace is not None:  # which has the lengths in it
        table |= {"trace": flags.trace, "prompt-tokens": None, "output-tokens": None}
    if flags.sensitivity:
        table["sensitivity"] = True
    table |= {"gpu": card.id, "model": model.id, "host": host.id}
    for variant in asked_variants(flags):
        table |= {name.replace("_", "-"): value for name, value in variant.options.items()}
    return table


SCENARIO_FLAGS = (
    "gpu",
    "gpus",
    "replicas",
    "router",
    "host",
    "vram",
    "model",
    "engine",
    "weights",
    "kv_type",
    "scheduler",
    "profile",
    "step_table",
    "users",
    "load",
    "workload",
    "prompt_tokens",
    "output_tokens",
    "think",
    "requests",
    "timeout",
    "retries",
    "seeds",
    "seed",
    "slo",
)


def slo_text(slo: Slo) -> str:
    """The bounds as one would type them."""
    bounds = {"ttft": slo.ttft_s, "tpot": slo.tpot_s, "e2e": slo.e2e_s, "stall": slo.stall_s}
    return ",".join(f"{name}={limit * 1000:g}ms" for name, limit in bounds.items() if limit is not None)
