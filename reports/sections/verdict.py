"""The answer first: which variant carries how many users, what breaks next, and how sure that is."""

from reports.document import Cliff, Document, VariantRow
from reports.figures import capacity
from reports.labels import LIMIT_WORDS, TRUST_WORDS, cliff_of
from reports.markup import Html, element, joined, with_options
from reports.palette import Style, styles
from reports.sections.parts import facts, panel, quantity, section
from reports.wording import verdict


def draw(document: Document) -> Html:
    """A headline, the capacities as bars, and a card for every variant."""
    look = styles(document)
    cards = [_card(document, row, look[row.id]) for row in document.variants]
    bars = Html("")
    if not capacity.is_empty(document):
        caption = capacity.caption(document)
        bars = panel("capacity", "What each variant carries", caption, capacity.draw(document), wide=True)
    content = (_headline(document), bars, element("div", joined(*cards), class_="cards") if cards else Html(""))
    return section("verdict", "Verdict", "", *content)


def _headline(document: Document) -> Html:
    """The best variant in one line, beside the one that comes next."""
    carrying = [(cliff.capacity_users, cliff) for cliff in document.cliffs if cliff.capacity_users]
    if not carrying:
        return Html("")
    (most, best), *others = sorted(carrying, key=lambda pair: pair[0], reverse=True)
    words = [element("b", best.variant), Html(" carries "), _number(best, "capacity_users")]
    more = " and more" if best.status == "not_reached" else ""
    words += [Html(f" {_users(most)}{more} at once"), _crowd(best)]
    for users, other in others[:1]:
        ratio = most / users
        words += [Html(f", {ratio:.1f} × as many as " if ratio >= 1.05 else ", about as many as ")]
        words += [element("b", other.variant), Html(" with "), _number(other, "capacity_users")]
    return element("p", *words, Html("."), class_="headline")


def _crowd(cliff: Cliff) -> Html:
    """The people behind the streams, in brackets."""
    if cliff.people is None or cliff.people == cliff.capacity_users:
        return Html("")
    return Html(f" (about {_number(cliff, 'people')} people)")


def _users(count: int) -> str:
    return "user" if count == 1 else "users"


def _number(cliff: Cliff, field: str) -> Html:
    value = getattr(cliff, field)
    return quantity(f"{value:,}", value, f"cliff.{field}", "strong", variant=cliff.variant)


def _card(document: Document, row: VariantRow, style: Style) -> Html:
    cliff = cliff_of(document, row.id)
    head = element("h3", element("i", class_="dot", style=f"background:{style.colour}"), row.id)
    trust = element("span", row.trust, class_="badge", title=TRUST_WORDS[row.trust]) if row.trust else Html("")
    sentence = with_options(" ".join(verdict(document, row).split()))
    inner = [element("header", head, trust), _big(row, cliff), element("p", sentence), facts(_known(row, cliff))]
    mood = "fits" if row.status == "ok" else "fails"
    colour = f"--colour:{style.colour}"
    return element("article", joined(*inner), class_=f"card {mood}", style=colour, data_variant=row.id)


def _big(row: VariantRow, cliff: Cliff | None) -> Html:
    """The number that one remembers."""
    if row.status != "ok":
        words = "does not fit" if row.status == "does_not_fit" else "not supported"
        return element("p", words, class_="big")
    if cliff is not None and cliff.stability_rate is not None:
        rate = quantity(
            f"{cliff.stability_rate:.3g}", cliff.stability_rate, "cliff.stability_rate", "strong", variant=row.id
        )
        return element("p", rate, Html(" <small>requests per second</small>"), class_="big")
    if cliff is None or cliff.capacity_users is None:
        return element("p", "–", class_="big")
    more = "+" if cliff.status == "not_reached" else ""
    unit = Html(f"{more} <small>{_users(cliff.capacity_users)} at once</small>")
    return element("p", _number(cliff, "capacity_users"), unit, class_="big")


def _known(row: VariantRow, cliff: Cliff | None) -> dict[str, Html | str]:
    """What else the results say about the capacity; what they do not say is left out."""
    known: dict[str, Html | str] = {}
    if row.missing_gib is not None:
        missing = quantity(f"{row.missing_gib:.1f} GiB", row.missing_gib, "variant.missing_gib", variant=row.id)
        known["missing memory"] = missing
    if cliff is None:
        return known
    if cliff.low is not None and cliff.high is not None:
        known["band"] = Html(f"{_number(cliff, 'low')} to {_number(cliff, 'high')}")
    if cliff.people is not None and cliff.people != cliff.capacity_users:
        known["people"] = Html(f"about {_number(cliff, 'people')}")
    if cliff.first_failing_users is not None:
        broken = "requests without an answer" if cliff.breached == "finished" else (cliff.breached or "SLO").upper()
        users = _users(cliff.first_failing_users)
        known["first to fail"] = Html(f"{_number(cliff, 'first_failing_users')} {users}, by {broken}")
    return known | _reasons(cliff)


def _reasons(cliff: Cliff) -> dict[str, Html | str]:
    """Why it breaks there, and what moves it."""
    known: dict[str, Html | str] = {}
    if cliff.cliff is not None:
        rise = cliff.cliff
        known["cliff"] = f"from {rise.from_:,} to {rise.to:,} users p99 TTFT grows {rise.height:.1f} times"
    if cliff.cause is not None:
        known["cause"] = joined(element("code", cliff.cause), element("span", LIMIT_WORDS[cliff.cause]))
    if cliff.knob and cliff.counterfactual is None:
        known["knob"] = element("code", cliff.knob)
    if cliff.counterfactual is not None:
        moved = cliff.counterfactual
        field = "cliff.counterfactual.capacity_users"
        gain = quantity(f"{moved.capacity_users:,}", moved.capacity_users, field, "strong", variant=cliff.variant)
        users = _users(moved.capacity_users)
        known["tried"] = joined(element("code", moved.change), Html(f"<span>carries {gain} {users}</span>"))
    if cliff.memory_cliff_slots is not None:
        slots = cliff.memory_cliff_slots
        field = "cliff.memory_cliff_slots"
        known["slots that fit"] = quantity(f"{slots:,}", slots, field, variant=cliff.variant)
    return known
