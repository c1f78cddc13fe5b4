"""The formats of a sweep's results, and what each of them needs."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from reports.document import Document
from sim.cli import writing
from sim.cli.formats import FORMATS
from sim.cli.renderings import parse
from sim.cli.writing import Output, check
from sim.errors import UsageError

RESULTS = "results.json"


def parse_outputs(texts: Sequence[str]) -> list[Output]:
    """`json`, `csv=points.csv` ...; a table on stdout where nothing is asked; a page's results lie beside it."""
    outputs = _with_results([parse_output(text) for text in texts]) or [Output("table", None)]
    check(outputs)
    return outputs


def _with_results(outputs: list[Output]) -> list[Output]:
    """Before a page its results are written: a page can be made again from them, but not they from a page."""
    ordered = sorted(outputs, key=lambda output: output.kind == "html")
    if any(output.kind == "json" and output.path for output in outputs):
        return ordered
    pages = [output.path for output in outputs if output.kind == "html" and output.path]
    return [*(Output("json", path.parent / RESULTS) for path in pages[:1]), *ordered]


def parse_output(text: str) -> Output:
    """One format of a sweep's results, with the file it goes to if it names one."""
    output = parse(text, FORMATS)
    if output.kind == "html" and output.path is None and sys.stdout.isatty():
        raise UsageError("-o html is a whole page, too long for a terminal: write -o html=page.html")
    if output.kind == "parquet":
        _check_parquet(output.path)
    return output


def _check_parquet(path: Path | None) -> None:
    """It is a file for programs, and needs more than the rest of simctl does."""
    if path is None:
        raise UsageError("-o parquet is not for the eye: write -o parquet=points.parquet")
    if find_spec("pyarrow") is None or find_spec("pandas") is None:
        raise UsageError("-o parquet needs pandas and pyarrow: pip install 'simctl[parquet]', or write -o csv=FILE")


def write(document: Document, outputs: Sequence[Output]) -> None:
    """All of them; a terminal gets its table in colour."""
    in_colour = Output("table", None) in outputs and sys.stdout.isatty() and document.comparison is None
    try:
        writing.write(document, [each for each in outputs if not in_colour or each.path], FORMATS)
    finally:
        if in_colour:
            from sim.cli.terminal import show

            show(document)
