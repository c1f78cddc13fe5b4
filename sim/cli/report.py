"""`simctl report`: what was found once, rendered again."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sim.errors import BadScenario

if TYPE_CHECKING:
    from reports.document import Document
    from sim.cli.writing import Output


@click.command("report")
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    multiple=True,
    metavar="PAGE.html|FORMAT[=PATH]",
    help="Where to: page.html, html=FILE, md, csv=FILE ...; a page beside the results if left out.",
)
def command(results: Path, output: tuple[str, ...]) -> None:
    """The page that a sweep makes, from its results.json alone."""
    from sim.cli import outputs, writing

    places = [_place(text) for text in output or (str(results.with_suffix(".html")),)]
    writing.check(places)
    outputs.write(read_results(results), places)
    for place in places:
        if place.path is not None:
            click.echo(f"simctl: wrote {place.path}", err=True)


def _place(text: str) -> "Output":
    """A format with or without a path, or just the name of a page."""
    from sim.cli.outputs import parse_output
    from sim.cli.writing import Output

    is_page = Path(text).suffix.lower() in {".html", ".htm"} and "=" not in text
    return Output("html", Path(text)) if is_page else parse_output(text)


def read_results(path: Path) -> "Document":
    """The document in a file; whatever else the file holds is said with its place."""
    from reports.document import from_json

    try:
        raw = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused, parse_float=_finite)
    except OSError as error:
        raise BadScenario(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise BadScenario(f"{path}: not the JSON that simctl writes: {error}") from None
    try:
        return from_json(raw)
    except BadScenario as error:
        raise BadScenario(f"{path}: {error}; make the results again with `simctl sweep -o json=FILE`") from None


def _finite(text: str) -> float:
    value = float(text)
    return value if abs(value) != float("inf") else _refused(text)


def _refused(text: str) -> Any:
    raise ValueError(f"{text} is no number")
