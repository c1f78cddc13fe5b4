"""What time and memory are spent on, one small figure for every variant."""

from reports.document import Document, VariantRow
from reports.figures import breakdown, memory
from reports.figures.canvas import Figure
from reports.labels import BREAKDOWN_WORDS, MEMORY_WORDS, drawn_variants
from reports.markup import Html
from reports.palette import BREAKDOWN_COLOURS, MEMORY_COLOURS
from reports.sections.parts import grid, panel, section, swatches

TIME_LEAD = (
    "The mean time to the first token, split by what a request waited for, up to twice the first load that fails. "
    "Each figure has its own scale."
)
MEMORY_LEAD = "What the engine takes of the GPU's memory at each load, averaged over time."


def time(document: Document) -> Html:
    """Time to the first token by what it was spent on."""
    panels = []
    for place, row in enumerate(drawn_variants(document)):
        drawn = breakdown.draw(document, row.id)
        if drawn["data"]:
            panels.append(panel(f"breakdown-{place}", row.id, "", drawn, legend="shared"))
    used = _used(BREAKDOWN_COLOURS, [breakdown.draw(document, row.id) for row in drawn_variants(document)])
    return section(
        "breakdown",
        "What the wait is made of",
        TIME_LEAD if panels else "",
        _legend(used, BREAKDOWN_WORDS),
        grid(*panels, kind="small"),
    )


def space(document: Document) -> Html:
    """GPU memory by what it holds."""
    rows = [row for row in drawn_variants(document) if row.memory is not None]
    drawn = [memory.draw(document, row.id) for row in rows]
    panels = [
        panel(f"memory-{place}", row.id, _nature(row), figure, legend="shared")
        for place, (row, figure) in enumerate(zip(rows, drawn, strict=True))
    ]
    legend = _legend(_used(MEMORY_COLOURS, drawn), MEMORY_WORDS)
    return section("memory", "Where the memory goes", MEMORY_LEAD, legend, grid(*panels, kind="small"))


def _used(colours: dict[str, str], figures: list[Figure]) -> dict[str, str]:
    """The colours that some figure uses."""
    used = {trace["meta"]["curve"] for figure in figures for trace in figure["data"]}
    return {name: colour for name, colour in colours.items() if name in used}


def _legend(colours: dict[str, str], words: dict[str, str]) -> Html:
    return swatches(colours, words) if colours else Html("")


def _nature(row: VariantRow) -> str:
    """What the memory was planned for."""
    assert row.memory is not None
    plan = row.memory
    parts = [row.weights.upper(), f"{plan.weights_gib:.1f} GiB of weights", f"room for {plan.kv_tokens:,} tokens"]
    if plan.slots is not None:
        parts.append(f"{plan.slots} slot{'s' * (plan.slots != 1)} of {plan.context:,}")
    if plan.layers_on_host:
        parts.append(f"{plan.layers_on_host} layers on the host")
    return ", ".join(parts)
