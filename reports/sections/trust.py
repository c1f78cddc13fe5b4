"""What the results rest on: warnings, how far each variant can be trusted, and where the inputs come from."""

from typing import Any

from reports.document import Document, VariantRow
from reports.labels import TRUST_WORDS
from reports.markup import Html, element, joined
from reports.sections.parts import facts, section, with_commands
from reports.tables import flat

LEAD = "These are predictions of a simulation, not measurements of this machine."


def warnings(document: Document) -> Html:
    """What the reader should know before using the numbers, and what to do."""
    lists = [_list("Warnings", document.warnings, "warnings"), _list("What to do", document.advice, "advice")]
    return joined(*filter(None, lists))


def _list(title: str, lines: tuple[str, ...], name: str) -> Html:
    if not lines:
        return Html("")
    items = joined(*(element("li", *with_commands(line)) for line in lines))
    return element("aside", element("h3", title), element("ul", items), class_=name)


def draw(document: Document) -> Html:
    """Trust by variant, then the origin of every input."""
    rows = [_row(row) for row in document.variants]
    titles = ("variant", "engine", "weights", "GPU", "trust", "profile", "options")
    head = element("tr", *(element("th", title, scope="col") for title in titles))
    table = element("table", element("thead", head), element("tbody", joined(*rows)), class_="words")
    origin = facts({name: _text(value) for name, value in flat(document.provenance).items()})
    meaning = facts({trust: TRUST_WORDS[trust] for trust in TRUST_WORDS if _stands(document, trust)})
    tables = element("div", table, class_="scroll", tabindex="0") if rows else Html("")
    inner = [meaning, tables, _folded("Origin of the inputs and versions", origin)]
    return section("trust", "How far to trust it", LEAD, *filter(None, inner))


def _stands(document: Document, trust: str) -> bool:
    return any(row.trust == trust for row in document.variants)


def _row(row: VariantRow) -> Html:
    gpu = f"{row.gpus} × {row.gpu}" if row.gpus > 1 else row.gpu
    replicas = f", {row.replicas} replicas" if row.replicas > 1 else ""
    cells = (row.id, f"{row.engine} {row.version}", row.weights, gpu + replicas, row.trust or "-", row.profile or "-")
    options = ", ".join(f"{name}={_text(value)}" for name, value in row.options.items() if value is not None)
    return element("tr", *(element("td", cell) for cell in cells), element("td", options, class_="options"))


def _folded(title: str, inner: Html) -> Html:
    return element("details", element("summary", title), inner) if inner else Html("")


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "-" if value is None else str(value)
