"""A plan's question, resolved, and the way to its answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import click

from calibration import catalog
from reports.plan_document import PlanDocument
from sim import compose
from sim.cli import plan_results
from sim.cli.candidates import CARDS_IN_A_MACHINE, COMMON_CARDS, Tuning, candidates
from sim.cli.engine_options import META_KEY
from sim.cli.flags import Flags, unset
from sim.cli.input_files import digests
from sim.cli.prices import Prices, dollars, parse_prices
from sim.cli.sizing import Sizing
from sim.cli.study import slo_text
from sim.cli.terminal import Screen
from sim.cli.variants import Prepared, asked_variants
from sim.compose import Traffic
from sim.errors import DoesNotFit, UsageError
from sim.metrics import PointMetrics, summarise
from sim.runner import Memory, Runner, cores
from sim.slo import Slo
from sim.variant import Demand, Variant
from workloads.units import MOST_USERS, parse_count

USUAL_PAUSE = "20s"


@dataclass(frozen=True)
class Question:
    """Who is to be carried, by what, and what that may cost."""

    flags: dict[str, Any]
    users: int
    traffic: Traffic
    slo: Slo
    variants: tuple[Variant, ...]
    labels: dict[str, str]
    prices: Prices
    api_usd: float | None

    @property
    def gpus(self) -> Sequence[int]:
        """Numbers of cards that one copy may be spread over."""
        asked = self.flags["gpus"]
        return CARDS_IN_A_MACHINE if asked is None else (asked,)

    @property
    def processes(self) -> int:
        """How many runs go on at a time."""
        return int(self.flags["jobs"] or cores())

    @property
    def decides(self) -> list[Any]:
        """What the runs depend on."""
        return [scenario_table(self), [repr(variant) for variant in self.variants], digests(self.flags.values())]

    def describe(self) -> str:
        """What would be considered."""
        cards = ", ".join(dict.fromkeys(variant.gpu for variant in self.variants))
        engines = ", ".join(dict.fromkeys(self.labels.values()))
        return (
            f"{self.users} users, pausing {self.traffic.think.text}; SLO {slo_text(self.slo)}\n"
            f"cards: {cards}; on {', '.join(map(str, self.gpus))} each\nengines: {engines}, and their slots tuned\n"
        )


def read(given: dict[str, Any]) -> Question:
    """Resolve every word; whatever means nothing is refused here."""
    users, think = _load(given)
    demand = Demand(
        workload=given["workload"],
        prompt_tokens=given["prompt_tokens"],
        output_tokens=given["output_tokens"],
        think=think,
        requests=given["requests"],
    )
    traffic, slo = compose.traffic(demand), compose.slo(given["slo"])
    compose.router(given["router"])
    cards = [catalog.gpu(name).id for name in given["gpu"] or COMMON_CARDS]
    options = click.get_current_context().meta[META_KEY]
    variants: list[Variant] = []
    labels: dict[str, str] = {}
    for card in dict.fromkeys(cards):
        for weights in given["weights"] or (None,):
            kept = {name: given[name] for name in ("engine", "model", "kv_type", "host", "router", "profile")}
            flags = Flags(**{**unset(), **kept, "gpu": card, "weights": weights}, engine_options=options)
            for variant in asked_variants(flags):
                name = " ".join(filter(None, (variant.id, weights, card)))
                labels |= {name: variant.id, f"{name}-tuned": f"{variant.id} tuned"}
                variants.append(replace(variant, id=name))
    api = None if given["api_price"] is None else dollars(given["api_price"], "--api-price")
    prices = parse_prices(given["price"], set(cards))
    return Question(given, users, traffic, slo, tuple(variants), labels, prices, api)


def _load(given: dict[str, Any]) -> tuple[int, str]:
    """The users and their pause: streams without one, people with."""
    if (given["users"] is None) == (given["people"] is None):
        raise UsageError("how many are to be carried? Give either --users 60 or --people 200 --think 20s")
    if given["people"] is not None:
        return int(given["people"]), given["think"] or USUAL_PAUSE
    return parse_count(given["users"], "--users", MOST_USERS), given["think"] or "0s"


def plan(asked: Question, screen: Screen, memory: Memory[PointMetrics] | None) -> PlanDocument:
    """Choose slots, find what one copy carries, then how many copies carry the load."""
    priced = [variant for variant in asked.variants if asked.prices.hardware(variant).usd_per_card_hour is not None]
    tuning = Tuning(asked.traffic, asked.slo, asked.flags["seed"])
    rows = candidates(priced, asked.gpus, tuning, asked.processes)
    _require_one(rows)
    seeds = tuple(range(asked.flags["seed"], asked.flags["seed"] + asked.flags["seeds"]))
    runner = Runner(partial(summarise, slo=asked.slo), asked.processes, screen.report, memory)
    sizing = Sizing(asked.traffic, asked.users, seeds, asked.flags["max_replicas"], runner)
    sized = sizing.search([row for row in rows if row.deployment is not None])
    sizing.check(sized)
    sizing.bound(sized)
    unstarted = [row for row in rows if row.deployment is None]
    unstarted += [Prepared(variant, None) for variant in asked.variants if variant not in priced]
    return plan_results.document(
        sizing, sized, unstarted, asked.prices, asked.api_usd, asked.labels, scenario_table(asked)
    )


def _require_one(rows: Sequence[Prepared]) -> None:
    """Raise when no candidate can be started at all."""
    if not rows:
        raise UsageError("no card has a price: give --price GPU=USD_PER_HOUR for one of them")
    if any(row.deployment is not None for row in rows):
        return
    lacking = [(row.error.missing_bytes, str(row.error)) for row in rows if isinstance(row.error, DoesNotFit)]
    if not lacking:
        raise next(row.error for row in rows if row.error is not None)
    missing_bytes, message = min(lacking)
    raise DoesNotFit(f"nothing fits: {message}", missing_bytes)


def scenario_table(asked: Question) -> dict[str, Any]:
    """Every flag by name, engine options beside them, so that it can be asked again."""
    apart = {"jobs", "output", "resume", "quiet", "dry_run"}
    table = {name.replace("_", "-"): asked.flags[name] for name in sorted(asked.flags) if name not in apart}
    lists = {name: list(value) or None for name, value in table.items() if isinstance(value, tuple)}
    options = {name.replace("_", "-"): value for each in asked.variants for name, value in each.options.items()}
    return {**table, **lists, "think": asked.traffic.think.text, "slo": slo_text(asked.slo), **options}
