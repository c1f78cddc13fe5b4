"""A catalogue file turned into the value it describes; every complaint names the file and the field."""

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from typing import Any, TypeVar

from calibration.shape import contradiction
from sim.errors import BadScenario
from sim.hardware import Gpu, Host, Model

Entry = TypeVar("Entry", Gpu, Host, Model)

# What a file may say beyond the fields of its value.
ABOUT = frozenset({"aliases", "sources"})
CHOICES = {"memory_class": ("hbm", "gddr", "unified")}


def parse(text: str, where: str) -> dict[str, Any]:
    """The table that a TOML text holds."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadScenario(f"{where}: not valid TOML: {error}") from None


def build(kind: type[Entry], table: Mapping[str, Any], where: str) -> Entry:
    """The GPU, host or model that a table describes, with every field checked."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(table.keys() - fields.keys() - ABOUT)
    if unknown:
        raise BadScenario(f"{where}: unknown field '{unknown[0]}'; known: {', '.join(fields)}")
    missing = [name for name, field in fields.items() if name not in table and _required(field)]
    if missing:
        raise BadScenario(f"{where}: field '{missing[0]}' is missing")
    values = {name: _value(field, table[name], where) for name, field in fields.items() if name in table}
    entry = kind(**values)
    complaint = contradiction(entry)
    if complaint:
        raise BadScenario(f"{where}: {complaint}")
    return entry


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _value(field: dataclasses.Field[Any], raw: object, where: str) -> Any:
    """One field's value, or an error that says what it should have been."""
    if field.type is str:
        return _text(field.name, raw, where)
    if field.type is bool:
        return _checked(isinstance(raw, bool), field.name, raw, "true or false", where)
    if field.type is int:
        whole = isinstance(raw, int) and not isinstance(raw, bool)
        least = "a whole number, 0 or more" if field.default == 0 else "a whole number above 0"
        return _checked(whole and _positive(field, raw), field.name, raw, least, where)
    if field.type == tuple[str, ...]:
        strings = isinstance(raw, list) and all(isinstance(item, str) for item in raw)
        return tuple(_checked(strings, field.name, raw, "a list of strings", where))
    if field.type == dict[str, float]:
        numbers = isinstance(raw, dict) and all(_positive(field, item) for item in raw.values())
        return dict(_checked(numbers, field.name, raw, "a table of numbers above 0", where))
    return float(_checked(_positive(field, raw), field.name, raw, "a number above 0", where))


def _text(name: str, raw: object, where: str) -> object:
    choices = CHOICES.get(name)
    expected = f"one of {', '.join(choices)}" if choices else "a string"
    return _checked(isinstance(raw, str) and (not choices or raw in choices), name, raw, expected, where)


def _positive(field: dataclasses.Field[Any], raw: object) -> bool:
    """Whether this is a finite number that the field can hold; 0 only where 0 is the field's own default."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        return False
    return raw > 0 or (raw == 0 and field.default == 0)


def _checked(right: bool, name: str, raw: Any, expected: str, where: str) -> Any:
    if not right:
        raise BadScenario(f"{where}: field '{name}' must be {expected}, not {raw!r}")
    return raw
