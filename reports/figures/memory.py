"""Where the memory of one variant goes at every load: weights, scratch, and what the KV cache holds or wastes."""

from reports.document import Document, Memory, Point
from reports.figures.bars import stacked
from reports.figures.canvas import Figure, drawable, even_ticks
from reports.labels import MEMORY_WORDS, cliff_of, points_of
from reports.palette import MEMORY_COLOURS
from reports.tables import number, share


def draw(document: Document, variant: str) -> Figure:
    """A bar for every load; its height is all that the engine takes."""
    memory = next(row.memory for row in document.variants if row.id == variant)
    assert memory is not None
    points = points_of(document, variant)
    split = [parts_gib(memory, point) for point in points]
    names = [name for name in MEMORY_WORDS if any(parts[name] for parts in split)]
    parts = {name: [at[name] for at in split] for name in names}
    told = {name: [_told(at, name) for at in split] for name in names}
    whole = max(drawable([memory.weights_gib + memory.scratch_gib + memory.kv_gib]), default=1.0)
    ticks = even_ticks(whole)
    y = {"title": {"text": "GPU memory, GiB"}, "type": "linear", "range": [0, 1.12 * whole], "tickvals": ticks}
    y["ticktext"] = [f"{tick:g}" for tick in ticks]
    return stacked(points, parts, MEMORY_WORDS, MEMORY_COLOURS, told, y, cliff_of(document, variant))


def parts_gib(memory: Memory, point: Point) -> dict[str, float]:
    """What the engine takes at a load, in GiB; all of the KV cache is free where nothing is known of it."""
    waste = point.kv_waste
    shares = {
        "used": point.kv_used.mean or 0.0,
        "reserved": waste.reserved or 0.0,
        "internal": waste.internal or 0.0,
        "external": waste.external or 0.0,
    }
    held = {name: part * memory.kv_gib for name, part in shares.items()}
    free = max(memory.kv_gib - sum(held.values()), 0.0)
    return {"weights": memory.weights_gib, "scratch": memory.scratch_gib, **held, "free": free}


def _told(parts: dict[str, float], name: str) -> str:
    whole = sum(parts.values())
    of_all = share(parts[name] / whole if whole else None)
    return f"{MEMORY_WORDS[name]}: {number(parts[name], 2)} GiB, {of_all} of {number(whole, 2)} GiB"
