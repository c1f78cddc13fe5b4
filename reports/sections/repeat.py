"""How to get the same numbers again."""

import shlex
from typing import Any

from reports.document import Document
from reports.markup import Html, element
from reports.sections.parts import section

LEAD = (
    "The same version of simctl gives the same numbers, and results.json beside this page holds all of them: "
    "`simctl sweep results.json` runs everything again, `simctl report results.json` only draws this page again."
)


def draw(document: Document) -> Html:
    """The command, to be copied."""
    text = command(document)
    block = element("pre", element("code", text, id="command"))
    copy = element("button", "Copy", type="button", id="copy")
    save = element("button", "Save results.json", type="button", id="save")
    return section("repeat", "Make it again", LEAD, element("div", block, copy, save, class_="command"))


SWITCHES = ("sensitivity",)  # flags without a value; options of engines take true and false


def command(document: Document) -> str:
    """The sweep with every flag resolved; what stands for itself is left out."""
    words = ["simctl compare" if document.comparison else "simctl sweep"]
    for name, value in document.scenario.items():
        if name in SWITCHES:
            words += [f"--{name}"] if value else []
            continue
        words += [f"--{name} {shlex.quote(_text(item))}".rstrip() for item in _items(value)]
    return " \\\n  ".join(words)


def _items(value: Any) -> list[Any]:
    """The values that a flag is given with: none for what was not said, many for a list."""
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
