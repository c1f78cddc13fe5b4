"""Formats as they are asked for: `json`, `html=page.html`."""

from collections.abc import Collection, Sequence
from pathlib import Path

from sim.cli.writing import Output, check
from sim.errors import UnknownName, UsageError


def parse_outputs(texts: Sequence[str], formats: Collection[str]) -> list[Output]:
    """`json`, `html=page.html` ...; a table on stdout where nothing is asked."""
    outputs = [parse(text, formats) for text in texts] or [Output("table", None)]
    check(outputs)
    return outputs


def parse(text: str, formats: Collection[str]) -> Output:
    """One of these formats, with the file it goes to if it names one."""
    kind, equals, path = text.partition("=")
    if kind.lower() not in formats:
        raise UnknownName("output format", kind, list(formats))
    if equals and not path:
        raise UsageError(f"-o {text} names no file: write -o {kind}=FILE, or -o {kind} for stdout")
    return Output(kind.lower(), Path(path) if path else None)
