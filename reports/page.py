"""The page that one sends to one's boss: a single file, made from the results alone, that needs nothing else."""

import re
from html import escape
from importlib.resources import files
from string import Template

from plotly.offline import get_plotlyjs

from reports import tables
from reports.document import Document, to_json
from reports.markup import Html, element, joined
from reports.sections import closeups, curves, definitions, moved, points, repeat, spending, trust, verdict
from reports.sections.parts import data

SECTIONS = (
    verdict.draw,
    trust.warnings,
    curves.draw,
    spending.time,
    spending.space,
    closeups.draw,
    moved.draw,
    points.draw,
    trust.draw,
    definitions.draw,
    repeat.draw,
)
_HEADING = re.compile(r'<section id="([\w-]+)"><h2>([^<]*)</h2>')


def page(document: Document) -> str:
    """The whole page; plotly's own script stands in it once."""
    body = joined(*(draw(document) for draw in SECTIONS))
    assets = files("reports") / "assets"
    return Template((assets / "page.html").read_text(encoding="utf-8")).substitute(
        version=escape(document.simctl),
        title=escape(title(document)),
        asked=escape(" ".join(tables.heading(document).split())),
        style=(assets / "style.css").read_text(encoding="utf-8"),
        links=joined(*(element("a", Html(words), href=f"#{name}") for name, words in _HEADING.findall(body))),
        body=body,
        results=data(to_json(document), for_="results"),
        plotly=_plotly_script(),
        script=(assets / "page.js").read_text(encoding="utf-8"),
    )


def title(document: Document) -> str:
    """What the page is about."""
    return f"How many users does {document.scenario.get('gpu', 'it')} carry?"


def _plotly_script() -> str:
    """Plotly's script as its package ships it."""
    text: str = get_plotlyjs()
    return text
