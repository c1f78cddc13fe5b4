"""HTML that is safe by construction: plain text is escaped on its way in, markup is not escaped twice."""

import re
from html import escape

OPTION = re.compile(r"--[a-z][a-z-]*")


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: object) -> Html:
    """One element; an attribute `data_value` is written `data-value`, `class_` is written `class`."""
    inner = "".join(child if isinstance(child, Html) else escape(child) for child in children)
    return Html(f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>{inner}</{name}>")


def with_options(text: str) -> Html:
    """Plain text in which no command-line option is torn apart at the end of a line."""
    return Html(OPTION.sub(lambda found: element("span", found[0], class_="option"), escape(text)))


def joined(*pieces: Html) -> Html:
    """Elements one after the other."""
    return Html("\n".join(piece for piece in pieces if piece))


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.removesuffix("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
