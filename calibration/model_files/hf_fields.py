"""The fields of a model's config.json, under whichever name its family gives them; a complaint names file and field."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.errors import BadScenario

LARGEST_FILE_BYTES = 4 * 1024**2
LARGEST_NUMBER = 10**9
# Where models that also see or hear keep the part that reads and writes text.
TEXT_PARTS = ("text_config", "llm_config", "language_config")


class Fields:
    """A config's table; what a family leaves out comes from its defaults."""

    def __init__(self, table: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> None:
        self._table = {**defaults, **{name: value for name, value in table.items() if value is not None}}
        self.where = where

    def __contains__(self, name: str) -> bool:
        return name in self._table

    def whole(self, *names: str, default: int | None = None) -> int:
        """A whole number above 0 under the first of the names that is there."""
        value = self._first(names, default)
        return self._bounded(value, names[0], least=1)

    def count(self, *names: str) -> int:
        """A whole number, 0 where it is left out."""
        return self._bounded(self._first(names, 0), names[0], least=0)

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self._table.get(name, default)
        if not isinstance(value, bool):
            raise BadScenario(f"{self.where}: field '{name}' must be true or false, not {value!r:.80}")
        return value

    def names(self, name: str) -> list[str]:
        """A list of strings, empty where it is left out."""
        value = self._table.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise BadScenario(f"{self.where}: field '{name}' must be a list of strings, not {value!r:.80}")
        return value

    def items(self, name: str) -> list[Any]:
        """A list of anything, empty where there is none under that name."""
        value = self._table.get(name)
        return value if isinstance(value, list) else []

    def counted_like(self, word: str) -> str | None:
        """A field whose name holds the word and whose value is a number above 1."""
        for name, value in self._table.items():
            if word in name and isinstance(value, int) and not isinstance(value, bool) and value > 1:
                return name
        return None

    def table(self, name: str) -> dict[str, Any]:
        """A table, empty where there is none under that name."""
        value = self._table.get(name)
        return value if isinstance(value, dict) else {}

    def marker(self, names: tuple[str, ...]) -> str | None:
        """The first of these fields that is there."""
        return next((name for name in names if name in self._table), None)

    def refuse(self, name: str, reason: str) -> BadScenario:
        """The error for a field whose value cannot be."""
        return BadScenario(f"{self.where}: field '{name}' {reason}")

    def _first(self, names: tuple[str, ...], default: int | None) -> object:
        for name in names:
            if name in self._table:
                return self._table[name]
        if default is None:
            others = f" (or {', '.join(names[1:])})" if names[1:] else ""
            raise BadScenario(f"{self.where}: field '{names[0]}'{others} is missing")
        return default

    def _bounded(self, value: object, name: str, least: int) -> int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not least <= value <= LARGEST_NUMBER:  # type: ignore[operator]
            wanted = f"a whole number from {least} to {LARGEST_NUMBER:,}"
            raise BadScenario(f"{self.where}: field '{name}' must be {wanted}, not {value!r:.80}")
        return value  # type: ignore[return-value]


def read_table(path: Path) -> dict[str, Any]:
    """The file's text part, with what its outer table says of the whole model."""
    table = _parsed(path)
    for part in TEXT_PARTS:
        inner = table.get(part)
        if inner is not None:
            if not isinstance(inner, dict):
                raise BadScenario(f"{path}: field '{part}' must be a table, not {inner!r:.80}")
            return {**_outer(table), **inner}
    return table


def _outer(table: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside the text part and holds for it."""
    return {name: table[name] for name in ("model_type", "tie_word_embeddings", "quantization_config") if name in table}


def _parsed(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE_BYTES + 1)
        if len(raw) > LARGEST_FILE_BYTES:
            raise BadScenario(f"{path}: more than {LARGEST_FILE_BYTES // 1024**2} MiB: that is no config.json")
        table = json.loads(raw)
    except OSError as error:
        raise BadScenario(f"{path}: cannot be read: {error}") from None
    except (ValueError, RecursionError) as error:
        raise BadScenario(f"{path}: not valid JSON: {error}") from None
    if not isinstance(table, dict):
        raise BadScenario(f"{path}: a config.json is a table, this is not one")
    return table
