"""Frozen dataclasses as JSON and back, and the JSON schema that their type hints amount to."""

import builtins
import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from sim.errors import BadScenario

Value = TypeVar("Value")

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCALARS: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def encode(value: Any) -> Any:
    """Plain JSON values; a number that is not finite becomes null, because JSON has no word for it."""
    if dataclasses.is_dataclass(value):
        kind: Any = type(value)
        return {key: encode(getattr(value, name)) for key, name in _keys(kind).items()}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def decode(kind: type[Value], raw: Any, where: str = "document") -> Value:
    """The dataclass that parsed JSON describes; whatever does not match is named by its place."""
    decoded: Value = _decode(kind, raw, where)
    return decoded


def schema_of(kind: type[Any], title: str) -> dict[str, Any]:
    """The JSON schema of a dataclass, one definition for each dataclass inside it."""
    definitions: dict[str, Any] = {}
    top = _schema(kind, definitions)
    return {"$schema": DIALECT, "title": title, **top, "$defs": dict(sorted(definitions.items()))}


@cache
def _keys(kind: Any) -> dict[str, str]:
    """A dataclass's fields by their JSON keys: `from_` is written `from`, which Python keeps for itself."""
    return {field.name.removesuffix("_"): field.name for field in dataclasses.fields(kind)}


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """The type of every JSON key of a dataclass."""
    hints = typing.get_type_hints(kind)
    return {key: hints[name] for key, name in _keys(kind).items()}


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind is Any or kind in SCALARS:
        return {"type": SCALARS[kind]} if kind in SCALARS else {}
    if dataclasses.is_dataclass(kind):
        return _reference(kind, definitions)
    arguments = typing.get_args(kind)
    match typing.get_origin(kind):
        case typing.Literal:
            return {"enum": list(arguments)}
        case builtins.tuple:
            return {"type": "array", "items": _schema(arguments[0], definitions)}
        case builtins.dict:
            return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    return {"anyOf": [_schema(argument, definitions) for argument in arguments]}


def _reference(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """A pointer to the definition of a dataclass, made on first sight."""
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}
        properties = {name: _schema(hint, definitions) for name, hint in _hints(kind).items()}
        definitions[kind.__name__] = {
            "description": kind.__doc__,
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _decode(kind: Any, raw: Any, where: str) -> Any:
    if kind is Any or kind in SCALARS:
        return _scalar(kind, raw, where) if kind in SCALARS else raw
    if dataclasses.is_dataclass(kind):
        return _instance(kind, raw, where)
    arguments = typing.get_args(kind)
    match typing.get_origin(kind):
        case typing.Literal:
            _require(raw in arguments, where, f"one of {', '.join(map(repr, arguments))}", raw)
            return raw
        case builtins.tuple:
            _require(isinstance(raw, list), where, "a list", raw)
            return tuple(_decode(arguments[0], item, f"{where}[{number}]") for number, item in enumerate(raw))
        case builtins.dict:
            _require(isinstance(raw, dict), where, "an object", raw)
            return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in raw.items()}
    return _optional(arguments, raw, where)


def _optional(arguments: tuple[Any, ...], raw: Any, where: str) -> Any:
    """A value that may also be null."""
    assert types.NoneType in arguments, arguments
    if raw is None:
        return None
    (kind,) = (argument for argument in arguments if argument is not types.NoneType)
    return _decode(kind, raw, where)


def _instance(kind: Any, raw: Any, where: str) -> Any:
    _require(isinstance(raw, dict), where, "an object", raw)
    hints = _hints(kind)
    if wrong := sorted(raw.keys() ^ hints.keys()):
        raise BadScenario(f"{where}: field '{wrong[0]}' is {'unknown' if wrong[0] in raw else 'missing'}")
    keys = _keys(kind)
    return kind(**{keys[key]: _decode(hint, raw[key], f"{where}.{key}") for key, hint in hints.items()})


def _scalar(kind: Any, raw: Any, where: str) -> Any:
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    _require(isinstance(raw, kind) and not (kind is int and isinstance(raw, bool)), where, SCALARS[kind], raw)
    return raw


def _require(holds: bool, where: str, expected: str, raw: Any) -> None:
    if not holds:
        raise BadScenario(f"{where}: expected {expected}, found {raw!r}")
