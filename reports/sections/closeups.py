"""A stretch of a run near each variant's cliff: who holds which slot, how full the cache is, who waits how long."""

from reports.closeup import CloseUp
from reports.document import Document
from reports.figures import blocks, slots, waterfall
from reports.markup import Html, element, joined
from reports.sections.parts import grid, panel, section

LEAD = (
    "One run of each variant around its cliff, request by request; engines with slots show who holds them. The middle "
    "of the run is in view: with a mouse, double-click to see all of it and drag to look closer."
)


def draw(document: Document) -> Html:
    """Slots or blocks of every close-up, then one waterfall of the reader's choice."""
    named = list(enumerate(document.details))
    panels = [_occupancy(document, place, closeup) for place, closeup in named]
    falls = [(place, closeup) for place, closeup in named if closeup.waterfall]
    return section("closeups", "Around the cliff", LEAD, grid(*filter(None, panels), kind="tops"), _waterfalls(falls))


def _occupancy(document: Document, place: int, closeup: CloseUp) -> Html:
    """Slots where the engine has them, else how full its cache is."""
    title, seed = f"{closeup.variant} at {closeup.users} users", f"seed {closeup.seed}"
    if _has_slots(document, closeup.variant) and closeup.gantt:
        return panel(f"slots-{place}", title, f"Slots over time, {seed}", slots.draw(closeup))
    if closeup.occupancy:
        return panel(f"blocks-{place}", title, f"KV cache over time, {seed}", blocks.draw(closeup))
    return Html("")


def _has_slots(document: Document, variant: str) -> bool:
    """Whether the variant hands out slots; else it hands out blocks."""
    return any(
        row.memory is not None and row.memory.slots is not None for row in document.variants if row.id == variant
    )


def _waterfalls(falls: list[tuple[int, CloseUp]]) -> Html:
    if not falls:
        return Html("")
    options = [
        element("option", f"{closeup.variant} at {closeup.users} users", value=f"waterfall-{place}")
        for place, closeup in falls
    ]
    chooser = element(
        "label", Html("Requests of "), element("select", *options, id="waterfall-choice"), class_="choice"
    )
    panels = [
        panel(
            f"waterfall-{place}",
            f"Requests: {closeup.variant} at {closeup.users} users",
            "Each row is a request: it waits, its prompt is computed, it answers.",
            waterfall.draw(closeup),
            wide=True,
        )
        for place, closeup in falls
    ]
    return element("div", chooser, joined(*panels), class_="chosen")
