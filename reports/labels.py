"""The words and numbers that figures and page share."""

import re
from html import escape

from reports.document import Cliff, Document, Limit, Point, Trust, VariantRow

LIMIT_WORDS: dict[Limit, str] = {
    "context": "prompts are longer than the context",
    "kv_blocks": "the KV cache is full",
    "seq_slots": "every slot is taken",
    "prefill_budget": "prompts arrive faster than they are computed",
    "decode_rate": "a step of decoding takes too long",
    "spill": "layers run on the host",
    "host_overhead": "the host cannot keep the GPU busy",
    "queue": "more arrives than the server lets in",
}

TRUST_WORDS: dict[Trust, str] = {
    "measured": "this GPU, engine, weight format and model were measured; the load may still lie outside",
    "interpolated": "GPU and engine were measured, the model or the weight format was not",
    "extrapolated": "the GPU was not measured, its link is not the usual one, or a step lies outside the step table",
    "datasheet": "computed from data sheets alone; no measurement stands behind it",
}

BREAKDOWN_WORDS = {
    "front_door": "front door",
    "queue": "engine's queue",
    "own_prefill": "own prompt",
    "others_prefill": "others' prompts",
    "decode": "others' decoding",
    "preemption": "preempted",
    "spill": "layers on the host",
}

MEMORY_WORDS = {
    "weights": "weights",
    "scratch": "scratch",
    "used": "KV: holds tokens",
    "reserved": "KV: reserved for tokens to come",
    "internal": "KV: owned, never filled",
    "external": "KV: lost between allocations",
    "free": "KV: free",
}

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def shown(name: str) -> str:
    """A name as text of a figure, where angle brackets would be read as markup."""
    return escape(name, quote=False)


def load_of(point: Point) -> float | None:
    """The size of the load: users, or requests per second where they arrive by themselves."""
    return point.users if point.users is not None else point.rate


def load_text(point: Point) -> str:
    """The load with its unit."""
    if point.users is None:
        return f"{point.rate:g} requests/s" if point.rate is not None else "the whole load"
    return f"{point.users:,} user{'s' * (point.users != 1)}"


def by_rate(document: Document) -> bool:
    """Whether the loads are rates of arrival and not numbers of users."""
    return all(point.users is None for point in document.points) and bool(document.points)


def points_of(document: Document, variant: str) -> list[Point]:
    """The loads of a variant that have a size, in rising order."""
    points = [point for point in document.points if point.variant == variant and load_of(point) is not None]
    return sorted(points, key=lambda point: load_of(point) or 0)


def cliff_of(document: Document, variant: str) -> Cliff | None:
    """What was found about a variant's capacity."""
    return next((cliff for cliff in document.cliffs if cliff.variant == variant), None)


def drawn_variants(document: Document) -> list[VariantRow]:
    """The variants that have points."""
    return [row for row in document.variants if points_of(document, row.id)]


def bounds_ms(document: Document) -> dict[str, float]:
    """The SLO's bounds in milliseconds by metric."""
    text = str(document.scenario.get("slo") or "")
    found = re.findall(r"(\w+)=([\d.]+(?:e[+-]?\d+)?)(us|ms|s|min|m|h)\b", text)
    return {name: float(size) * _SECONDS[unit] * 1000 for name, size, unit in found}


def short_duration(milliseconds: float) -> str:
    """A duration as it stands at an axis: `50 ms`, `2 s`."""
    if milliseconds < 1000:
        return f"{milliseconds:g} ms"
    return f"{milliseconds / 1000:g} s"
