"""What sections are built from: headed sections, panels with a figure, numbers that say where they come from."""

import json
from collections.abc import Mapping
from typing import Any

from reports.figures.canvas import Figure
from reports.markup import Html, element, joined
from reports.schema import encode

LEAST_HEIGHT = 300
WIDE_HEIGHT = 400


def section(name: str, title: str, lead: str, *content: Html) -> Html:
    """A part of the page with its heading; nothing where it has nothing to show."""
    inner = joined(*content)
    if not inner:
        return Html("")
    words = element("p", *with_commands(lead), class_="lead") if lead else Html("")
    return element("section", element("h2", title), words, inner, id=name)


def with_commands(line: str) -> list[str]:
    """What stands between backticks is to be typed."""
    return [element("code", part) if place % 2 else part for place, part in enumerate(line.split("`"))]


def panel(name: str, title: str, caption: str, drawn: Figure, *, wide: bool = False, legend: str = "own") -> Html:
    """A figure with its title and what to see in it; `legend` says whether the page's chips replace its own."""
    height = drawn["layout"].get("height", WIDE_HEIGHT if wide else LEAST_HEIGHT)
    words = element("figcaption", element("h3", title), element("p", caption) if caption else Html(""))
    plot = element(
        "div", class_="plot", id=name, role="img", aria_label=title, data_legend=legend, style=f"height:{height}px"
    )
    return element("figure", words, plot, data(drawn, for_=name), class_="panel wide" if wide else "panel")


def data(value: Any, **attributes: object) -> Html:
    """Values for the page's script; nothing in them can end the element they stand in."""
    text = json.dumps(encode(value), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return element("script", Html(text), type="application/json", **{f"data_{k}": v for k, v in attributes.items()})


def quantity(shown: str, value: object, field: str, name: str = "span", **keys: object) -> Html:
    """A number for the reader that also carries the exact value and the field of the results it shows."""
    marks = {f"data_{key}": item for key, item in keys.items()}
    return element(name, shown, data_field=field, data_value=json.dumps(encode(value), allow_nan=False), **marks)


def grid(*panels: Html, kind: str = "") -> Html:
    """Panels side by side as far as there is room: `small` ones, or each as high as it needs with `tops`."""
    return element("div", joined(*panels), class_=f"grid {kind}".rstrip()) if panels else Html("")


def swatches(colours: Mapping[str, str], words: Mapping[str, str]) -> Html:
    """One legend for many figures."""
    marks = [element("li", element("i", style=f"background:{colour}"), words[name]) for name, colour in colours.items()]
    return element("ul", joined(*marks), class_="swatches")


def facts(pairs: Mapping[str, Html | str]) -> Html:
    """Terms with what is known about them."""
    rows = [joined(element("dt", term), element("dd", told)) for term, told in pairs.items()]
    return element("dl", joined(*rows), class_="facts") if rows else Html("")
