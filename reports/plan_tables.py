"""A plan for the eye and for other programs: offers by price, refusals, and the rule of thumb."""

import csv
import io
import json
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from reports.markdown import table as table_lines
from reports.plan_document import Hardware, Offer, PlanDocument, Refused
from reports.schema import encode
from reports.tables import Table, aligned, duration, flat, number, share
from reports.traffic import traffic
from reports.wording import WIDTH, wrapped

MOST_SHOWN = 12
HEADER = ("$/h", "cards", "engine", "weights", "carries", "free", "TTFT p99", "TPOT", "$/Mtok")


def named(hardware: Hardware, catalogue: Mapping[str, Any]) -> str:
    """The cards of one copy by their full name."""
    entry = catalogue.get("catalogue", {}).get(hardware.gpu, {})
    name = str(entry.get("name", hardware.gpu))
    return f"{hardware.gpus} × {name}" if hardware.gpus > 1 else f"one {name}"


def heading(document: PlanDocument) -> str:
    """What is to be carried."""
    scenario, load = document.scenario, document.load
    who = f"{load.users} users" if not load.think_s else f"{load.users} people pausing {load.think_s:g} s"
    flying = f" (about {load.in_flight:.0f} requests at once)" if load.think_s and load.in_flight else ""
    what = f"{scenario['model']}, {traffic(scenario)}, SLO {scenario['slo']} for 95% of requests"
    return wrapped(f"Who carries {who}{flying}? {what}", "")


def offers(document: PlanDocument) -> Table:
    """The cheapest deployments that carry the load."""
    header = HEADER if document.api_usd_per_million is None else (*HEADER, "pays")
    rows = tuple(_offer(offer, api=document.api_usd_per_million is not None) for offer in document.offers[:MOST_SHOWN])
    left = len(document.offers) - len(rows)
    more = f" ({left} dearer ones are in -o json)" if left else ""
    return Table(f"Cheapest first{more}", header, rows)


def _offer(offer: Offer, *, api: bool) -> tuple[str, ...]:
    cells = (
        number(offer.usd_per_hour, 2),
        f"{offer.cards} × {offer.hardware.gpu}",
        offer.serving.label,
        offer.serving.weights,
        carried(offer),
        f"{100 * offer.headroom:.0f}%",
        duration(offer.ttft_p99_ms),
        duration(offer.tpot_p50_ms),
        number(offer.usd_per_million, 2),
    )
    return (*cells, busy(offer.break_even_share)) if api else cells


def carried(offer: Offer) -> str:
    """The users of all copies: a plus where nobody looked beyond, else the ends of the band where they are known."""
    users = f"{offer.capacity_users * offer.replicas:,}{'+' if offer.capacity_is_more else ''}"
    if offer.capacity_low is None or offer.capacity_high is None:
        return users
    return f"{users} ({offer.capacity_low * offer.replicas:,}-{offer.capacity_high * offer.replicas:,})"


def busy(part: float | None) -> str:
    """How much of the time the load must last for the cards to cost no more than the API."""
    if part is None:
        return "-"
    return "never" if part > 1 else share(part)


def refusals(document: PlanDocument) -> list[str]:
    """A line for every reason that an engine is refused for, with the cards it holds on."""
    order = sorted(document.refused, key=lambda each: (each.why, each.label, _reason(each)))
    return [
        wrapped(f"{', '.join(dict.fromkeys(_cards(each) for each in alike))}: {what}")
        for what, alike in groupby(order, key=lambda each: f"{_called(each)}: {_reason(each)}")
    ]


def _called(each: Refused) -> str:
    return f"{each.label} {each.weights.upper()}" if each.weights else each.label


def _cards(each: Refused) -> str:
    return f"{each.hardware.gpus} × {each.hardware.gpu}" if each.hardware.gpus > 1 else each.hardware.gpu


def _reason(each: Refused) -> str:
    return f"{each.missing_gib:.1f} GiB missing" if each.missing_gib is not None else each.told


def notes(document: PlanDocument) -> list[str]:
    """What the columns mean, and where the prices are from."""
    columns = "carries: all copies together (and at both ends of the 80% band of step times); "
    columns += "free: what the load leaves of that (20% for busy minutes); "
    told = [f"{columns}$/Mtok: a million output tokens with every copy at its capacity"]
    if document.api_usd_per_million is not None:
        told.append(
            f"pays: the share of the time that this load must last for the cards to cost no more than an API "
            f"at ${document.api_usd_per_million:g} a million output tokens"
        )
    by_trust: dict[str, dict[str, None]] = {}
    for offer in document.offers:
        by_trust.setdefault(offer.trust, {})[
            f"{offer.serving.label.removesuffix(' tuned')} on {offer.hardware.gpu}"
        ] = None
    told += [f"step times {trust}: {', '.join(where)}" for trust, where in by_trust.items()]
    cards = {offer.hardware.gpu: offer.hardware for offer in document.offers}
    prices = [f"{gpu} {card.usd_per_card_hour} ({card.price_date or 'undated'})" for gpu, card in cards.items()]
    return [wrapped(text) for text in (*told, f"$/h of a card: {', '.join(prices)}; --price GPU=USD for yours")]


def plain(document: PlanDocument) -> str:
    """Offers, refusals and the rule, within 100 columns."""
    blocks = [heading(document)]
    blocks += [_narrow(offers(document)), "\n".join(notes(document))] if document.offers else ["Nothing carries it."]
    blocks += ["\n".join(("Refused", *refusals(document)))] if document.refused else []
    return "\n\n".join([*blocks, *([wrapped(document.rule)] if document.rule else [])]) + "\n"


def _narrow(table: Table) -> str:
    """With less space between the columns where the terminal would be too narrow otherwise."""
    text = aligned(table)
    return text if max(map(len, text.splitlines())) <= WIDTH else aligned(table, " ")


def markdown(document: PlanDocument) -> str:
    """The same as a Markdown page."""
    table = offers(document)
    lines = [heading(document), "", *table_lines(table.header, table.rows)]
    lines += [line for note in notes(document) for line in ("", note)] if document.offers else []
    lines += ["", "### Refused", "", *(f"* {line}" for line in refusals(document))] if document.refused else []
    return "\n".join([*lines, *(["", document.rule] if document.rule else [])]) + "\n"


def comma_separated(document: PlanDocument) -> str:
    """A line for every offer, a column for every figure."""
    rows = [flat(encode(offer)) for offer in document.offers]
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["usd_per_hour"]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def json_lines(document: PlanDocument) -> str:
    """A JSON object on a line for every offer."""
    return "".join(json.dumps(encode(offer), allow_nan=False) + "\n" for offer in document.offers)
