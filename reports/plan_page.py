"""A plan as a page: one file, that needs nothing else, for whoever signs the order."""

import shlex
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from reports import plan_tables
from reports.markup import Html, element, joined
from reports.plan_document import Offer, PlanDocument
from reports.schema import encode
from reports.sections.parts import data, quantity, section
from reports.tables import duration, number, share

PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body>
<header class="top"><div><p class="eyebrow">simctl $version</p><h1>$title</h1><p class="asked">$asked</p></div></header>
<main>
$body
</main>
<footer>Made by simctl $version; nothing on this page is loaded from anywhere.</footer>
$results
</body>
</html>
"""
)


def page(document: PlanDocument) -> str:
    """The whole page; the plan's JSON stands in it too."""
    style = (files("reports") / "assets" / "style.css").read_text(encoding="utf-8")
    asked = _one_line(plan_tables.heading(document))
    question, _, rest = asked.partition("? ")
    return PAGE.substitute(
        version=escape(document.simctl),
        title=escape(f"{question}?"),
        asked=escape(rest),
        style=style,
        body=joined(_offers(document), _refused(document), _repeat(document)),
        results=data(encode(document), for_="plan"),
    )


def _offers(document: PlanDocument) -> Html:
    """The rule of thumb, then everything that carries the load."""
    if not document.offers:
        return section("offers", "Nothing carries it", "", element("p", "Why not stands below."))
    rule = element("p", document.rule, class_="headline") if document.rule else Html("")
    titles = ["$/h", "cards", "engine", "weights", "carries", "free", "in SLO", "TTFT p99", "TPOT p50", "$/Mtok"]
    titles += ["at the load", "pays", "step times"]
    head = element("tr", *(element("th", title, scope="col") for title in titles))
    rows = [_row(place, offer) for place, offer in enumerate(document.offers)]
    table = element("table", element("thead", head), element("tbody", joined(*rows)))
    notes = [element("p", _one_line(note), class_="lead") for note in plan_tables.notes(document)]
    return section("offers", "Cheapest first", "", rule, element("div", table, class_="scroll", tabindex="0"), *notes)


def _row(place: int, offer: Offer) -> Html:
    def cell(shown: str, field: str, value: Any) -> Html:
        return quantity(shown, value, field, "td", offer=place)

    return element(
        "tr",
        quantity(number(offer.usd_per_hour, 2), offer.usd_per_hour, "usd_per_hour", "th", offer=place),
        element("td", f"{offer.cards} × {offer.hardware.gpu}"),
        element("td", offer.serving.label),
        element("td", offer.serving.weights.upper()),
        cell(plan_tables.carried(offer), "carried", offer.capacity_users * offer.replicas),
        cell(share(offer.headroom), "headroom", offer.headroom),
        cell(share(offer.attainment), "attainment", offer.attainment),
        cell(duration(offer.ttft_p99_ms), "ttft_p99_ms", offer.ttft_p99_ms),
        cell(duration(offer.tpot_p50_ms), "tpot_p50_ms", offer.tpot_p50_ms),
        cell(number(offer.usd_per_million, 2), "usd_per_million", offer.usd_per_million),
        cell(number(offer.usd_per_million_at_load, 2), "usd_per_million_at_load", offer.usd_per_million_at_load),
        cell(plan_tables.busy(offer.break_even_share), "break_even_share", offer.break_even_share),
        element("td", offer.trust),
    )


def _refused(document: PlanDocument) -> Html:
    lines = [element("li", _one_line(line)) for line in plan_tables.refusals(document)]
    return section("refused", "What does not, and why", "", element("ul", joined(*lines)) if lines else Html(""))


def _repeat(document: PlanDocument) -> Html:
    """The command that makes the plan again."""
    words = ["simctl plan"]
    for name, value in document.scenario.items():
        items = value if isinstance(value, list | tuple) else [value]
        words += [f"--{name} {shlex.quote(str(item))}" for item in items if item is not None]
    block = element("pre", element("code", " \\\n  ".join(words)))
    return section("repeat", "Make it again", "", element("div", block, class_="command"))


def _one_line(text: str) -> str:
    """Without the line breaks of a terminal."""
    return " ".join(text.split())
