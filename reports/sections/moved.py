"""How far the capacity moves when one thing about the scenario changes."""

from reports.document import Document
from reports.figures import sensitivity
from reports.markup import Html
from reports.palette import styles
from reports.sections.parts import grid, panel, section, swatches

LEAD = "The search for the capacity repeated with one parameter moved and everything else as it was."


def draw(document: Document) -> Html:
    """A figure for every parameter that was moved."""
    panels = [
        panel(f"sensitivity-{place}", f"Capacity against {sensitivity.named(name)}", "", drawn, legend="shared")
        for place, name in enumerate(sensitivity.parameters(document))
        if (drawn := sensitivity.draw(document, name))
    ]
    if not panels:
        return Html("")
    moved = {row.variant for row in document.sensitivity}
    colours = {name: style.colour for name, style in styles(document).items() if name in moved}
    legend = swatches(colours, {name: name for name in colours})
    return section("sensitivity", "What would move it", LEAD, legend, grid(*panels))
