"""A plan's candidates as the published document: offers by price, refusals with reasons, and the rule of thumb."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, cast

from reports.document import Trust
from reports.plan_document import SCHEMA_VERSION, Load, Offer, PlanDocument, Refused, Serving
from sim import compose
from sim.cli.explained import most_broken
from sim.cli.notices import cut_prompts
from sim.cli.plan_rule import ladder, rule
from sim.cli.prices import Prices, break_even_share, usd_per_million
from sim.cli.provenance import provenance, simctl_version
from sim.cli.results import memory
from sim.cli.sizing import Sized, Sizing
from sim.cli.variants import Prepared
from sim.errors import DoesNotFit
from sim.hardware import GIB


def document(
    sizing: Sizing,
    sized: Sequence[Sized],
    unstarted: Sequence[Prepared],
    prices: Prices,
    api_usd: float | None,
    labels: Mapping[str, str],
    scenario: dict[str, Any],
) -> PlanDocument:
    """Everything that was found; `labels` says what a variant is called without its card."""
    offers = sorted(
        (found for one in sized if (found := _offer(sizing, one, prices, api_usd, labels)) is not None),
        key=lambda offer: (offer.usd_per_hour, -offer.headroom),
    )
    refused = [_unstarted(row, prices, labels) for row in unstarted]
    refused += [_too_low(sizing, one, prices, labels) for one in sized if one.checked is None]
    steps = tuple(ladder(offers[0], sized, labels)) if offers else ()
    rows = [one.row for one in sized] + list(unstarted)
    catalogue = provenance([compose.machine(row.variant) for row in rows])
    think_s = sizing.traffic.think.mean_s
    return PlanDocument(
        schema_version=SCHEMA_VERSION,
        simctl=simctl_version(),
        kind="plan",
        scenario=scenario,
        load=Load(sizing.users, think_s, _in_flight(sizing, sized)),
        api_usd_per_million=api_usd,
        offers=tuple(offers),
        refused=tuple(refused),
        ladder=steps,
        rule=rule(offers[0], steps, catalogue) if offers else "",
        warnings=tuple(_warnings(sizing, sized)),
        provenance=catalogue,
    )


def _offer(
    sizing: Sizing, one: Sized, prices: Prices, api_usd: float | None, labels: Mapping[str, str]
) -> Offer | None:
    variant, deployment, checked = one.row.variant, one.row.deployment, one.checked
    hardware = prices.hardware(variant)
    if checked is None or deployment is None or hardware.usd_per_card_hour is None:
        return None
    per_copy = hardware.usd_per_card_hour * hardware.gpus
    usd = per_copy * one.replicas
    at_load = usd_per_million(usd, checked.output_tps)
    return Offer(
        hardware=hardware,
        serving=Serving(
            labels[variant.id],
            variant.engine,
            deployment.version,
            deployment.traits.weights,
            dict(variant.options),
        ),
        replicas=one.replicas,
        cards=one.replicas * variant.gpus,
        usd_per_hour=usd,
        capacity_users=one.capacity,
        capacity_is_more=one.open_ended,
        capacity_low=one.band[0] if one.band else None,
        capacity_high=one.band[1] if one.band else None,
        headroom=1 - sizing.users / (one.replicas * one.capacity),
        attainment=checked.attainment or 0.0,
        ttft_p99_ms=checked.ttft.p99 if checked.ttft else None,
        tpot_p50_ms=checked.tpot.p50 if checked.tpot else None,
        output_tps=checked.output_tps,
        usd_per_million=usd_per_million(per_copy, one.seen[one.capacity].output_tps),
        usd_per_million_at_load=at_load,
        break_even_share=break_even_share(at_load, api_usd),
        memory=memory(deployment.memory),
        trust=cast(Trust, compose.step_trust(variant, deployment)),
    )


def _in_flight(sizing: Sizing, sized: Sequence[Sized]) -> float | None:
    """Of the people who think or wait, those who wait, on average over what carries them."""
    answers_s = [one.checked.e2e.mean / 1000 for one in sized if one.checked is not None and one.checked.e2e]
    if not answers_s:
        return None
    answer_s = sum(answers_s) / len(answers_s)
    return sizing.users * answer_s / (answer_s + sizing.traffic.think.mean_s)


# -- refusals


def unpriced(row: Prepared, prices: Prices, label: str) -> Refused:
    """A card that nobody knows the price of cannot be ranked."""
    hardware = prices.hardware(row.variant)
    told = f"its price is not known: --price {hardware.gpu}=USD_PER_HOUR"
    return Refused(hardware, label, row.variant.weights, "no_price", told, None, None)


def _unstarted(row: Prepared, prices: Prices, labels: Mapping[str, str]) -> Refused:
    hardware, label = prices.hardware(row.variant), labels[row.variant.id]
    if hardware.usd_per_card_hour is None:
        return unpriced(row, prices, label)
    lack = row.error.missing_bytes / GIB if isinstance(row.error, DoesNotFit) else None
    why = "does_not_fit" if isinstance(row.error, DoesNotFit) else "not_supported"
    weights = row.variant.weights or compose.default_weights(row.variant.engine, compose.machine(row.variant)[2])
    return Refused(hardware, label, weights, cast(Any, why), str(row.error), lack, None)


def _too_low(sizing: Sizing, one: Sized, prices: Prices, labels: Mapping[str, str]) -> Refused:
    variant, deployment = one.row.variant, one.row.deployment
    assert deployment is not None
    if one.capacity:
        needed = max(one.replicas, -(-sizing.users // one.capacity))
        told = f"carries {one.capacity} a copy: {sizing.users} users need {needed} copies, more than "
        told += f"{sizing.max_replicas}"
    else:
        broken = most_broken(one.seen[min(one.seen)])
        told = f"does not carry a single user: {broken.upper() if broken else 'the SLO'} breaks"
    weights = deployment.traits.weights
    return Refused(prices.hardware(variant), labels[variant.id], weights, "too_low", told, None, one.capacity)


def _warnings(sizing: Sizing, sized: Sequence[Sized]) -> list[str]:
    rows = [one.row for one in sized if one.checked]
    started = (text for row in rows if row.deployment for text in row.deployment.warnings)
    cut = (text for row in rows for text in cut_prompts(row, sizing.traffic))
    return list(dict.fromkeys(chain(started, cut)))
