"""The page that one sends to one's boss: a single file, made from the results alone, that needs nothing else."""

import base64
import gzip
import re
from html import escape
from importlib.resources import files
from string import Template

from plotly.offline import get_plotlyjs

from reports.document import Document, to_json
from reports.labels import bounds_ms, by_rate, short_duration
from reports.markup import Html, element, joined
from reports.sections import closeups, curves, definitions, differences, moved, points, repeat, spending, trust, verdict
from reports.sections.parts import data
from reports.traffic import traffic

SECTIONS = (
    verdict.draw,
    differences.draw,
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


def content(document: Document) -> Html:
    """Everything between the heading and the foot."""
    return joined(*(draw(document) for draw in SECTIONS))


def page(document: Document) -> str:
    """The whole page; plotly's own script stands in it once."""
    body = content(document)
    assets = files("reports") / "assets"
    return Template((assets / "page.html").read_text(encoding="utf-8")).substitute(
        version=escape(document.simctl),
        title=escape(title(document)),
        asked=escape(asked(document)),
        style=(assets / "style.css").read_text(encoding="utf-8"),
        links=joined(*(element("a", Html(words), href=f"#{name}") for name, words in _HEADING.findall(body))),
        body=body,
        results=data(to_json(document), for_="results"),
        plotly=packed_plotly(),
        script=(assets / "page.js").read_text(encoding="utf-8"),
    )


def title(document: Document) -> str:
    """What the page is about."""
    if document.comparison is not None:
        return f"What changes with {', '.join(document.comparison.varied)}?"
    gpus = document.scenario.get("gpus", 1)
    which = f"does one {named(document, 'gpu')}" if gpus == 1 else f"do {gpus} × {named(document, 'gpu')}"
    what = "requests a second" if by_rate(document) else "users"
    return f"How many {what} {which} carry?"


def asked(document: Document) -> str:
    """The question in full: what is served, to whom, and what counts as served."""
    bounds = [f"{name.upper()} ≤ {short_duration(bound)}" for name, bound in bounds_ms(document).items()]
    kept = f"A request counts as served well at {' and '.join(bounds)}; " if bounds else ""
    words = f"{named(document, 'model')}, {traffic(document.scenario)}"
    return (
        f"{words}, {document.scenario.get('load', 'unnamed')} load. {kept}a load is carried when 95% of requests are."
    )


def named(document: Document, key: str) -> str:
    """The catalogue's name of what the scenario names."""
    name = str(document.scenario.get(key, f"unnamed {key}"))
    entry = document.provenance.get("catalogue", {}).get(name, {})
    return str(entry.get("name", name))


def packed_plotly() -> str:
    """Plotly's script as its package ships it, packed to a third, in letters."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode("ascii")
