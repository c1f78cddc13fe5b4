"""What every metric means: formula, weighting and window."""

from reports.document import Document
from reports.markup import Html, element, joined
from reports.sections.parts import section


def draw(document: Document) -> Html:
    """A table to be unfolded."""
    if not document.metric_definitions:
        return Html("")
    rows = [
        element(
            "tr",
            element("th", name, scope="row"),
            *(element("td", part) for part in (at.formula, at.weighting, at.window)),
        )
        for name, at in document.metric_definitions.items()
    ]
    head = element("tr", *(element("th", title, scope="col") for title in ("metric", "formula", "weighting", "window")))
    table = element("table", element("thead", head), element("tbody", joined(*rows)), class_="words")
    folded = element("details", element("summary", "Formulas"), element("div", table, class_="scroll", tabindex="0"))
    return section("definitions", "What the metrics mean", "", folded)
