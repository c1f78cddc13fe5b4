"""A file of measurements read whatever its format: the readers are asked which of them knows its content."""

import gzip
import zlib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol, cast

from calibration import naming
from calibration.parsing.pitfalls import Pitfall
from calibration.parsing.rows import BadField, Row
from calibration.points import Point, Reading, noted
from calibration.readers import _unread
from calibration.readers._several import joined
from calibration.readers._unsaid import asked_for, assumed_weights, with_usual_weights
from sim.errors import BadScenario, UnknownName, UsageError

HEAD = 256 * 1024  # characters by which a format is recognised
LARGEST = 1 << 29  # bytes, unpacked
GZIP = b"\x1f\x8b"
UNSTATED = ("", "unstated", None)


class Reader(Protocol):
    """What a module of `calibration/readers` holds; a new format is one new file there."""

    FORMAT: str  # as the tool that writes it is called
    PITFALLS: tuple[str | Pitfall, ...]  # what its figures do not mean, for whoever reads them
    # and ASSUMED: Mapping[str, str] where its tool is all but always used in one way: columns, for blanks nobody fills
    # and finished(reading) where something of a point follows from what was given for its blanks

    def recognises(self, head: str) -> bool:
        """Whether the beginning of a file is this format's."""

    def read(self, text: str, source: str, path: Path) -> Reading:
        """The rows of a file that are this format's; `path` is for messages and for files that stand beside it."""


def read(path: Path | str, given: Mapping[str, str] | None = None) -> Reading:
    """What a file measured; `given` names columns of a point, for the blanks that the file leaves."""
    path, given = Path(path), dict(given or {})
    text = text_of(path)
    # an answer that was streamed says what it is at its end
    found = _recognising(text[:HEAD]) or _recognising(text[-HEAD:])
    if not found:
        unknown = f"not a format that is known; known: {', '.join(known_formats())}"
        raise BadScenario(f"{path}: {_unread.recognised(text[:HEAD]) or unknown}")
    source = given.pop("source_id", Path(path.name.removesuffix(".gz")).stem)
    values = _values(given)
    return joined([_read(reader, text, source, path, values) for reader in found])


def known_formats() -> list[str]:
    """Every format that can be read."""
    return [reader.FORMAT for reader in _readers()]


def text_of(path: Path) -> str:
    """A file as text, unpacked where it is compressed; bytes that are no text become marks of replacement."""
    try:
        with path.open("rb") as file:
            packed = file.read(len(GZIP)) == GZIP
        with gzip.open(path) if packed else path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise BadScenario(f"{path}: cannot be read: {error}") from None
    if len(raw) > LARGEST:
        raise BadScenario(f"{path}: larger than {LARGEST >> 20} MiB: split it, or leave the requests' own records out")
    # PowerShell's redirection writes UTF-16
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return raw.decode(encoding, errors="replace")


def _recognising(part: str) -> list[Reader]:
    return [reader for reader in _readers() if reader.recognises(part)]


@cache
def _readers() -> tuple[Reader, ...]:
    names = (path.name.removesuffix(".py") for path in files("calibration").joinpath("readers").iterdir())
    known = sorted(name for name in names if name.isidentifier() and not name.startswith("_"))
    return tuple(cast(Reader, import_module(f"calibration.readers.{name}")) for name in known)


def _read(reader: Reader, text: str, source: str, path: Path, given: Mapping[str, object]) -> Reading:
    """What one reader finds, its blanks filled with what is given, then with what the format lets one assume."""
    try:
        reading = reader.read(text, source, path)
    except BadField as bad:
        raise BadScenario(f"{path}: {bad}") from None
    except RecursionError:
        raise BadScenario(f"{path}: nested too deeply") from None
    assumed: dict[str, str] = getattr(reader, "ASSUMED", {})
    blank = [name for name in assumed if any(getattr(point, name) in UNSTATED for point in reading.points)]
    doubts = [f"no {name} is stated: {assumed[name]} is assumed" for name in blank if name not in given]
    if not reading.points and not reading.rejected:
        doubts.append("nothing that was measured stands in it")
    stated = [_filled(point, {**assumed, **given}) for point in reading.points]
    points = tuple(map(with_usual_weights, stated))
    lacking = [*asked_for(points), *assumed_weights(stated, points)]
    found = replace(reading, points=points, warnings=(*lacking, *reading.warnings, *doubts))
    finished: Callable[[Reading], Reading] | None = getattr(reader, "finished", None)
    return finished(found) if finished else found


def _values(given: Mapping[str, str]) -> dict[str, object]:
    """What is given, as the columns hold it."""
    types = {field.name: field.type for field in fields(Point)}
    for name in given:
        if name not in types:
            raise UnknownName("column", name, list(types))
    return {name: _value(name, types[name], text) for name, text in given.items()}


def _value(name: str, kind: object, text: str) -> object:
    try:
        row = Row({name: text})
        return text if kind is str else row.whole(name) if kind in (int, int | None) else row.amount(name)
    except BadField as bad:
        raise UsageError(f"'{name}' is given as '{text}': {bad.reason}") from None


def _filled(point: Point, values: Mapping[str, object]) -> Point:
    """The point with its blanks filled; a name that the catalogue does not know gives way to one that is given."""
    point = _as_catalogued(point)
    blank = {name for name in values if getattr(point, name) in UNSTATED}
    if "gpu" in values and not naming.is_card(point.gpu):
        blank |= {"gpu", "gpu_count"} & values.keys()
    if "model" in values and not naming.is_model(point.model):
        blank.add("model")
    if "weights" in values and not naming.is_format(point.weights, point.model):
        blank.add("weights")
    changed: dict[str, Any] = {name: values[name] for name in blank}
    replaced = [getattr(point, name) for name in ("gpu", "model", "weights") if name in blank]
    said = [f"called '{name}'" for name in replaced if name not in UNSTATED]
    return replace(point, **changed, notes=noted(point.notes, *said))


def _as_catalogued(point: Point) -> Point:
    """The point with the catalogue's names for its card and its model, where it has them."""
    model, weights = naming.model_and_format(point.model)
    return replace(point, gpu=naming.card(point.gpu), model=model, weights=point.weights or weights)
