"""Places that results go to: tried before the work, and written so that no result is lost after it."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sim.errors import SimctlError, UsageError

Formats = Mapping[str, Callable[[Any], str | bytes]]
EVERYTHING = "json"  # the format that holds all there is


class Unwritable(SimctlError):
    """A place that results cannot be written to."""


@dataclass(frozen=True, slots=True)
class Output:
    """One rendering of the results; without a path it goes to stdout."""

    kind: str
    path: Path | None


def check(outputs: Sequence[Output]) -> None:
    """Refuse what cannot be written before any work is done."""
    on_stdout = [output.kind for output in outputs if output.path is None]
    if len(on_stdout) > 1:
        raise UsageError(f"-o {' -o '.join(on_stdout)} both go to stdout: give all but one a path, as -o json=FILE")
    paths = [output.path for output in outputs if output.path is not None]
    for path in paths:
        if paths.count(path) > 1:
            raise UsageError(f"-o names {path} more than once: each rendering needs a file of its own")
        _try(path)


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


def write(document: Any, outputs: Sequence[Output], formats: Formats) -> None:
    """Files first, then stdout; if a file fails the results are kept elsewhere and the error says where."""
    failures = [failure for output in outputs if output.path and (failure := _write(document, output, formats))]
    for output in outputs:
        if output.path is None:
            click.echo(formats[output.kind](document), nl=False)
    if failures:
        raise Unwritable(f"{'; '.join(failures)}; the results are in {_rescue(formats[EVERYTHING](document))}")


def _write(document: Any, output: Output, formats: Formats) -> str | None:
    """Write one file; what went wrong, if something did."""
    assert output.path is not None
    content = _encoded(formats[output.kind](document))
    try:
        if output.path.exists() and not output.path.is_file():  # a pipe or a device
            output.path.write_bytes(content)
        else:
            _replace(output.path, content)
    except OSError as error:
        return f"cannot write {output.path}: {error.strerror or error}"
    return None


def _encoded(made: str | bytes) -> bytes:
    return made.encode() if isinstance(made, str) else made


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


def _rescue(made: str | bytes) -> str:
    """A file in the folder for temporary files that holds everything."""
    with tempfile.NamedTemporaryFile(prefix="simctl-", suffix=".json", delete=False) as kept:
        kept.write(_encoded(made))
    return kept.name
