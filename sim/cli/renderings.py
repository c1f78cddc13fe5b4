"""One result in several formats, each to stdout or to a file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from sim.cli.outputs import Output, Unwritable, check, parse

Formats = Mapping[str, Callable[[Any], str]]


def parse_outputs(texts: Sequence[str], formats: Formats) -> list[Output]:
    """`json`, `html=page.html` ...; a table on stdout where nothing is asked."""
    outputs = [parse(text, formats) for text in texts] or [Output("table", None)]
    check(outputs)
    return outputs


def write(document: Any, outputs: Sequence[Output], formats: Formats) -> None:
    """Stdout first, so that a full disk does not cost the result."""
    for output in sorted(outputs, key=lambda output: output.path is not None):
        text = formats[output.kind](document)
        if output.path is None:
            click.echo(text, nl=False)
            continue
        try:
            output.path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Unwritable(f"cannot write {output.path}: {error.strerror or error}") from None
