"""Where results go: formats and places, tried before the work and never losing it after."""

import os
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click

from reports.document import Document, to_text
from sim.cli.formats import FORMATS
from sim.errors import SimctlError, UnknownName, UsageError

RESULTS = "results.json"


class Unwritable(SimctlError):
    """A place that results cannot be written to."""


@dataclass(frozen=True, slots=True)
class Output:
    """One rendering of the results; without a path it goes to stdout."""

    kind: str
    path: Path | None


def parse_outputs(texts: Sequence[str]) -> list[Output]:
    """`json`, `csv=points.csv` ...; a table on stdout where nothing is asked; a page's results lie beside it."""
    outputs = _with_results([parse_output(text) for text in texts]) or [Output("table", None)]
    check(outputs)
    return outputs


def check(outputs: Sequence[Output]) -> None:
    """Refuse what cannot be written before any work is done."""
    on_stdout = [output.kind for output in outputs if output.path is None]
    if len(on_stdout) > 1:
        raise UsageError(f"-o {' -o '.join(on_stdout)} both go to stdout: give all but one a path, as -o json=FILE")
    for output in outputs:
        if output.path is not None:
            _try(output.path)


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


def parse(text: str, formats: Collection[str]) -> Output:
    """One of these formats, with the file it goes to if it names one."""
    kind, equals, path = text.partition("=")
    if kind.lower() not in formats:
        raise UnknownName("output format", kind, list(formats))
    if equals and not path:
        raise UsageError(f"-o {text} names no file: write -o {kind}=FILE, or -o {kind} for stdout")
    return Output(kind.lower(), Path(path) if path else None)


def _check_parquet(path: Path | None) -> None:
    """It is a file for programs, and needs more than the rest of simctl does."""
    if path is None:
        raise UsageError("-o parquet is not for the eye: write -o parquet=points.parquet")
    if find_spec("pyarrow") is None or find_spec("pandas") is None:
        raise UsageError("-o parquet needs pandas and pyarrow: pip install 'simctl[parquet]', or write -o csv=FILE")


def _try(path: Path) -> None:
    """Say now, and not after the work, that a file cannot be written."""
    folder = path.parent
    if path.is_dir():
        raise Unwritable(f"cannot write {path}: it is a folder; name a file in it")
    if not folder.is_dir():
        raise Unwritable(f"cannot write {path}: there is no folder {folder}; make it first")
    if path.exists() and not path.is_file():  # a pipe or a device
        return
    beside = _beside(path)
    try:
        beside.touch()
        beside.unlink()
    except OSError as error:
        raise Unwritable(f"cannot write {path}: {error.strerror or error}; choose another place") from None


def write(document: Document, outputs: Sequence[Output]) -> None:
    """Files first; if one fails the results are kept elsewhere and the error says where."""
    failures = [failure for output in outputs if output.path and (failure := _write_file(document, output))]
    for output in outputs:
        if output.path is None:
            _print(document, output.kind)
    if failures:
        raise Unwritable(f"{'; '.join(failures)}; the results are in {_rescue(document)}")


def _write_file(document: Document, output: Output) -> str | None:
    """Write one file; what went wrong, if something did."""
    assert output.path is not None
    made = FORMATS[output.kind](document)
    content = made.encode() if isinstance(made, str) else made
    try:
        if output.path.exists() and not output.path.is_file():  # a pipe or a device
            output.path.write_bytes(content)
        else:
            _replace(output.path, content)
    except OSError as error:
        return f"cannot write {output.path}: {error.strerror or error}"
    return None


def _replace(path: Path, content: bytes) -> None:
    """Write beside the place and move there, so that nobody ever sees half a file."""
    beside = _beside(path)
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _rescue(document: Document) -> str:
    """A file in the folder for temporary files that holds everything."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="simctl-", suffix=".json", delete=False) as kept:
        kept.write(to_text(document))
    return kept.name


def _print(document: Document, kind: str) -> None:
    if kind == "table" and sys.stdout.isatty() and document.comparison is None:
        from sim.cli.terminal import show

        show(document)
    else:
        click.echo(FORMATS[kind](document), nl=False)
