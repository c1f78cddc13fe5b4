"""How far the capacity moves when one thing about the scenario changes."""

from reports.document import Document
from reports.figures import sensitivity
from reports.markup import Html
from reports.sections.parts import grid, panel, section

LEAD = "The search for the capacity repeated with one parameter moved and everything else as it was."


def draw(document: Document) -> Html:
    """A figure for every parameter that was moved."""
    panels = [
        panel(f"sensitivity-{place}", f"Capacity against {sensitivity.named(name)}", "", drawn, legend="shared")
        for place, name in enumerate(sensitivity.parameters(document))
        if (drawn := sensitivity.draw(document, name))
    ]
    return section("sensitivity", "What would move it", LEAD, grid(*panels))
