"""What a comparison found: who wins at which loads, and how far each variant lies from its baseline."""

from reports import comparison_tables
from reports.document import Document
from reports.markup import Html, element, joined
from reports.sections.parts import section
from reports.tables import Table


def draw(document: Document) -> Html:
    """A list of winners and a table of differences for every pair; nothing where nothing was compared."""
    if document.comparison is None:
        return Html("")
    lines = [element("li", _one_line(line)) for line in comparison_tables.wins(document.comparison)]
    wins = [element("h3", comparison_tables.WINS), element("ul", joined(*lines))] if lines else []
    tables = [_folded(table) for table in comparison_tables.tables(document)]
    lead = _one_line(comparison_tables.note(document))
    return section("differences", "Differences", lead, *wins, *tables)


def _folded(table: Table) -> Html:
    head = element("tr", joined(*(element("th", title, scope="col") for title in table.header)))
    rows = [element("tr", element("th", row[0]), *(element("td", cell) for cell in row[1:])) for row in table.rows]
    body = element("table", element("thead", head), element("tbody", joined(*rows)))
    summary = element("summary", _one_line(table.title))
    return element("details", summary, element("div", body, class_="scroll", tabindex="0"), open=True)


def _one_line(text: str) -> str:
    """Without the line breaks of a terminal."""
    return " ".join(text.split())
