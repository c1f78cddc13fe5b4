"""Figures that articles quote: what is claimed of which server, without a run to show for it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from sim.errors import BadScenario

FILE = "claims.toml"
TEXTS = {"quoted": True, "gpu": True, "model": True, "weights": False, "notes": False}  # whether needed
COUNTS = ("prompt_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Claim:
    """One claimed rate."""

    table: str
    quoted: str  # where it circulates
    engine: str
    gpu: str
    model: str
    users: int
    output_tps: float | None  # None: the server is claimed to fail
    at_least: bool = False
    weights: str = ""  # not stated: the engine's usual ones, or four bits
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    notes: str = ""


def claims() -> list[Claim]:
    """Every claim that simctl ships."""
    return parse(files("calibration").joinpath("measurements", FILE).read_text(encoding="utf-8"), FILE)


def parse(text: str, where: str) -> list[Claim]:
    """The claims of a TOML text."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadScenario(f"{where}: not valid TOML: {error}") from None
    return [claim for name, table in tables.items() for claim in _claims(name, table, f"{where}: [{name}]")]


def _claims(name: str, table: Mapping[str, Any], where: str) -> list[Claim]:
    for field in table:
        if field not in TEXTS and field not in (*COUNTS, "claims"):
            raise BadScenario(f"{where}: unknown field '{field}'")
    for field, needed in TEXTS.items():
        if not isinstance(table.get(field, None if needed else ""), str):
            raise BadScenario(f"{where}: field '{field}' must be a text")
    rows = table.get("claims")
    if not isinstance(rows, list) or not rows:
        raise BadScenario(f"{where}: field 'claims' must list [engine, users, rate]")
    shared = {field: table[field] for field in (*TEXTS, *COUNTS) if field in table}
    return [Claim(table=name, **shared, **_row(row, f"{where}: claim {row}")) for row in rows]


def _row(row: Any, where: str) -> dict[str, Any]:
    match row:
        case [str() as engine, int() as users, (int() | float() | str()) as rate] if users > 0:
            return {"engine": engine, "users": users, **_rate(rate, where)}
    raise BadScenario(f"{where}: not [engine, users, rate]")


def _rate(rate: float | str, where: str) -> dict[str, Any]:
    if rate == "fails":
        return {"output_tps": None}
    number = str(rate).removesuffix("+")
    if not number.replace(".", "", 1).isdigit() or not float(number) > 0:
        raise BadScenario(f"{where}: the rate is neither a number, as 800 or 800+, nor fails")
    return {"output_tps": float(number), "at_least": str(rate).endswith("+")}
