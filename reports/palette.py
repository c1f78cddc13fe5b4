"""Colours that readers with any colour vision tell apart, on white and on black; a variant keeps its own everywhere."""

from dataclasses import dataclass

from reports.document import Document

# Paul Tol's "vibrant" scheme: neighbours are an engine as installed and tuned.
_VARIANT_COLOURS = ("#0077BB", "#33BBEE", "#EE7733", "#CC3311", "#009988", "#EE3377", "#AA8800", "#8866CC")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "cross", "pentagon", "triangle-down")
_DASHES = ("solid", "dash", "dashdot")

NEUTRAL = "#858B93"

# Paul Tol's "bright" scheme.
BREAKDOWN_COLOURS = {
    "front_door": "#CCBB44",
    "queue": "#EE6677",
    "own_prefill": "#4477AA",
    "others_prefill": "#66CCEE",
    "decode": "#228833",
    "preemption": "#AA3377",
    "spill": "#BBBBBB",
}
MEMORY_COLOURS = {
    "weights": "#4477AA",
    "scratch": "#AA3377",
    "used": "#228833",
    "reserved": "#CCBB44",
    "internal": "#EE6677",
    "external": "#66CCEE",
    "free": "rgba(133,139,147,0.28)",
}
PHASE_COLOURS = {"queue": "#EE6677", "prompt": "#4477AA", "decode": "#228833"}
RUNNING_COLOUR = "#4477AA"


@dataclass(frozen=True, slots=True)
class Style:
    """How a variant looks in every figure: colour, marker and dash, so that none rests on colour alone."""

    colour: str
    symbol: str
    dash: str


def styles(document: Document) -> dict[str, Style]:
    """The style of every variant, by its place in the document."""
    count = len(_VARIANT_COLOURS)
    return {
        row.id: Style(_VARIANT_COLOURS[place % count], _SYMBOLS[place % count], _DASHES[place // count % len(_DASHES)])
        for place, row in enumerate(document.variants)
    }


def faded(colour: str, opacity: float) -> str:
    """The same colour, seen through."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"
