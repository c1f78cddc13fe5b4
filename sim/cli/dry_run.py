"""What a sweep would do: the answer to --dry-run."""

from reports.tables import Table, aligned
from sim.cli.sensitivity import SEARCH_RUNS, planned
from sim.cli.study import Study, slo_text
from sim.cli.variants import Prepared
from sim.hardware import GIB


def describe(study: Study) -> str:
    """Memory of every variant, the loads, and the number of runs."""
    plan = study.plan
    runs = len(plan.variants) * len(plan.users) * len(plan.seeds)
    requests = len(plan.variants) * len(plan.seeds) * sum(_requests(study, users) for users in plan.users)
    loads = ", ".join(study.traffic.load(users).text for users in plan.users)
    more = ", and bisection around each cliff" if plan.refine else ""
    lengths = f"{study.traffic.prompt.mean:,.0f} prompt and {study.traffic.output.mean:,.0f} answer tokens on average"
    lines = [
        aligned(Table("Memory at start, GiB", HEADER, tuple(_memory(row) for row in study.rows))),
        "",
        *(f"{row.variant.id}: {row.error}" for row in study.rows if row.error),
        f"SLO {slo_text(study.slo)}; {lengths}",
        f"Loads: {loads}{more}",
        f"{runs:,} runs of {requests:,} requests in all, seeds {plan.seeds[0]} to {plan.seeds[-1]}",
    ]
    if study.flags.sensitivity:
        lines.append(_sensitivity(study))
    return "\n".join(lines) + "\n"


HEADER = ("variant", "weights", "KV", "scratch", "KV tokens", "slots", "blocks", "context", "layers on host")


def _memory(row: Prepared) -> tuple[str, ...]:
    if row.deployment is None:
        return (row.variant.id, *["-"] * (len(HEADER) - 1))
    plan = row.deployment.memory
    gib = (f"{size / GIB:.1f}" for size in (plan.weight_bytes, plan.kv_bytes, plan.scratch_bytes))
    counts = (plan.kv_tokens, plan.slots, plan.blocks, plan.context, plan.layers_on_host)
    return (row.variant.id, *gib, *("-" if count is None else f"{count:,}" for count in counts))


def _requests(study: Study, users: int | None) -> int:
    return study.traffic.budget(study.traffic.load(users)).total


def _sensitivity(study: Study) -> str:
    searches = planned(study)
    return f"Sensitivity: {searches:,} searches more, about {SEARCH_RUNS * searches:,} runs"
