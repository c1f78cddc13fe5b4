"""Everything against the number of users: what the machine gives and what each user waits."""

from reports.document import Document
from reports.figures import attainment, latency, throughput
from reports.labels import by_rate, drawn_variants
from reports.markup import Html, element, joined
from reports.palette import styles
from reports.sections.parts import grid, panel, section

LEAD = (
    "Bold lines are p99, thin dotted lines the median; bands reach from the lowest to the highest seed; shaded is the "
    "cliff of each variant. Tap a name to hide or show it."
)
CAPTIONS = {
    "ttft": "How long until the first token, all waiting included.",
    "tpot": "How fast an answer streams, averaged over each request.",
    "itl": "Every single gap between two tokens, pooled.",
}


def draw(document: Document) -> Html:
    """One legend for all of the figures."""
    if not drawn_variants(document):
        return Html("")
    panels = [
        panel(
            f"curve-{metric}",
            f"{metric.upper()}: {latency.NAMES[metric]}",
            caption,
            latency.draw(document, metric),
            wide=metric == "ttft",
            legend="shared",
        )
        for metric, caption in CAPTIONS.items()
    ]
    made = "What the whole machine gives, all users together."
    panels.insert(1, panel("curve-throughput", "Throughput", made, throughput.draw(document), legend="shared"))
    kept = "The share of requests that meet every bound; capacity ends where it falls below the target."
    panels.append(panel("curve-slo", "Requests within the SLO", kept, attainment.draw(document), legend="shared"))
    title = "As more arrives" if by_rate(document) else "As users are added"
    return section("curves", title, LEAD, _chips(document), grid(*panels))


def _chips(document: Document) -> Html:
    """The variants' names, to be switched off and on."""
    look = styles(document)
    chips = [
        element(
            "button",
            element("i", class_="dot", style=f"background:{look[row.id].colour}"),
            row.id,
            type="button",
            aria_pressed="true",
            data_variant=row.id,
        )
        for row in drawn_variants(document)
    ]
    return element("div", joined(*chips), class_="chips")
