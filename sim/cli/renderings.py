"""One result in several formats, each to stdout or to a file."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from sim.cli.outputs import Output, Unwritable
from sim.errors import UnknownName, UsageError

Formats = Mapping[str, Callable[[Any], str]]


def parse_outputs(texts: Sequence[str], formats: Formats) -> list[Output]:
    """`json`, `html=page.html` ...; a table on stdout where nothing is asked."""
    outputs = [_parse(text, formats) for text in texts] or [Output("table", None)]
    on_stdout = [output.kind for output in outputs if output.path is None]
    if len(on_stdout) > 1:
        raise UsageError(f"-o {' -o '.join(on_stdout)} both go to stdout: give all but one a path, as -o json=FILE")
    for output in outputs:
        if output.path is not None and (output.path.is_dir() or not output.path.parent.is_dir()):
            raise Unwritable(f"cannot write {output.path}: name a file in a folder that is there")
    return outputs


def _parse(text: str, formats: Formats) -> Output:
    kind, equals, path = text.partition("=")
    if kind.lower() not in formats:
        raise UnknownName("output format", kind, list(formats))
    if equals and not path:
        raise UsageError(f"-o {text} names no file: write -o {kind}=FILE, or -o {kind} for stdout")
    return Output(kind.lower(), Path(path) if path else None)


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
