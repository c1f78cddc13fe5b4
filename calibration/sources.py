"""The committed measurements: where each came from, under which licence, and its rows."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from calibration.points import Point
from calibration.readers import points_csv
from sim.errors import BadScenario, UnknownName

INDEX = "sources.toml"
OPTIONAL = (
    "repo",
    "url",
    "not_in_catalogue",
    "held_out",
    "engine_version",
    "engine_options",
    "lengths",
    "clock",
    "timed",
    "endpoint",
)
ENGINE = "engine"
PRODUCTS = "products"
CHAT = "chat"
ONLY_VALUES = {"clock": ENGINE, "timed": PRODUCTS, "endpoint": CHAT}  # of fields that are blank otherwise
EQUAL = "equal"
SHARES = re.compile(r"(\d*\.?\d+) to (\d*\.?\d+)")


@dataclass(frozen=True, slots=True)
class Source:
    """Who measured what, where it was published, what its licence asks for and what one has to know about it."""

    source_id: str
    title: str
    path: str  # in the repository, or on the page
    commit: str  # or the date of a page
    licence: str
    trust: str  # A raw files and method, B tables, C a known defect
    laboratory: str  # who ran it: rows of one laboratory share its habits
    attribution: str
    caveats: tuple[str, ...]
    repo: str = ""
    url: str = ""
    not_in_catalogue: tuple[str, ...] = ()  # GPUs and models that may have no entry
    engine_version: str = ""  # the release of its days, where rows state none
    engine_options: str = ""  # what held for all its rows, where they state none
    lengths: str = ""  # of single requests: "equal", or between which shares of the stated ones, as "0.8 to 1"
    timed: str = ""  # "products": matrix products and attention alone, nothing between them
    clock: str = ""  # "engine": latencies count from the arrival in the engine, not from the client
    endpoint: str = ""  # "chat": conversations were sent, for the server to make prompts of; else prompts
    held_out: str = ""  # why the fit leaves it out, so that it serves as a check; empty: it is fitted

    @property
    def shares(self) -> tuple[float, float] | None:
        """The shortest and the longest request as shares of the stated length; None where the source does not say."""
        if not self.lengths:
            return None
        found = SHARES.fullmatch(self.lengths)
        return (float(found.group(1)), float(found.group(2))) if found else (1.0, 1.0)


@cache
def sources() -> Mapping[str, Source]:
    """Every source by its id, in the order of the index."""
    try:
        tables = tomllib.loads(_folder().joinpath(INDEX).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise BadScenario(f"{INDEX}: not valid TOML: {error}") from None
    return {name: _source(name, table) for name, table in tables.items()}


def products_only(source_id: str) -> bool:
    """Whether a source's times leave out what lies between the matrix products."""
    source = sources().get(source_id)
    return source is not None and source.timed == PRODUCTS


@cache
def load(source_id: str) -> tuple[Point, ...]:
    """The rows of one source; a row that cannot be read is an error, for these files are our own."""
    if source_id not in sources():
        raise UnknownName("source", source_id, list(sources()))
    name = f"{source_id}.csv"
    try:
        text = _folder().joinpath("points", name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadScenario(f"points/{name}: {INDEX} names it, but it is not there") from None
    reading = points_csv.read(text, source_id, Path("points") / name)
    if reading.rejected:
        raise BadScenario(str(reading.rejected[0]))
    return reading.points


def fitted_points() -> tuple[Point, ...]:
    """The rows of every source that is not kept as a check."""
    return tuple(point for source_id in sources() if not is_check(source_id) for point in load(source_id))


def is_check(source_id: str) -> bool:
    """Whether a source is kept out of every fit, to check with."""
    known = sources().get(source_id)
    return known is not None and bool(known.held_out)


def laboratory(source_id: str) -> str:
    """Who ran a source's measurements, where that is known."""
    known = sources().get(source_id)
    return source_id if known is None else known.laboratory


def digest(source_id: str) -> str:
    """The SHA-256 of a source's rows as they are committed."""
    return sha256(_folder().joinpath("points", f"{source_id}.csv").read_bytes()).hexdigest()


def all_points() -> tuple[Point, ...]:
    """The rows of every source."""
    return tuple(point for source_id in sources() for point in load(source_id))


def _folder() -> Traversable:
    return files("calibration").joinpath("measurements")


def _source(name: str, table: Mapping[str, object]) -> Source:
    known = {field.name: field for field in fields(Source) if field.name != "source_id"}
    for field in table:
        if field not in known:
            raise BadScenario(f"{INDEX}: [{name}]: {UnknownName('field', field, list(known))}")
    for field in known:
        if field not in table and field not in OPTIONAL:
            raise BadScenario(f"{INDEX}: [{name}]: field '{field}' is missing")
    values = {field: _value(name, field, raw) for field, raw in table.items()}
    source = Source(source_id=name, **values)  # type: ignore[arg-type]
    _require_known_words(source)
    return source


def _require_known_words(source: Source) -> None:
    """The fields that say one of a few things must say one of them."""
    place = f"{INDEX}: [{source.source_id}]"
    if source.lengths not in ("", EQUAL) and not SHARES.fullmatch(source.lengths):
        raise BadScenario(f"{place}: field 'lengths' is neither '{EQUAL}' nor as '0.8 to 1'")
    for field, only in ONLY_VALUES.items():
        if getattr(source, field) not in ("", only):
            raise BadScenario(f"{place}: field '{field}' may only be '{only}'")


def _value(name: str, field: str, raw: object) -> str | tuple[str, ...]:
    if field in ("caveats", "not_in_catalogue"):
        if isinstance(raw, list) and all(isinstance(item, str) for item in raw):
            return tuple(raw)
        raise BadScenario(f"{INDEX}: [{name}]: field '{field}' must be a list of texts")
    if isinstance(raw, str) and raw:
        return raw
    raise BadScenario(f"{INDEX}: [{name}]: field '{field}' must be a text")
