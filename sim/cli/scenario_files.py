"""A scenario file: flags by name in TOML, or the scenario in a results file, as the words that one would type."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sim.errors import BadScenario, SimctlError, UnknownName

ELSEWHERE = {"vary": "compare", "people": "plan", "price": "plan", "api-price": "plan", "max-replicas": "plan"}
JOINED = "users"  # a list of loads is one value
_SCALARS = (str, int, float, bool)


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """What a file says, with its keys spelled as flags are."""

    path: Path
    text: str
    table: Mapping[str, Any]

    def where(self, key: str) -> str:
        """The file, and the line of a key where that can be found."""
        spelling = "[-_]".join(map(re.escape, key.split("-")))
        pattern = re.compile(rf"""\s*["']?{spelling}["']?\s*[=:]""")
        lines = [number for number, line in enumerate(self.text.splitlines(), 1) if pattern.match(line)]
        return f"{self.path}:{lines[0]}: {key}" if lines else f"{self.path}: {key}"

    def blamed(self, error: SimctlError) -> str | None:
        """The key whose name or value an error speaks of."""
        said = re.findall(r"'([^']+)'", str(error))
        named = [key for key in self.table if f"--{key}" in str(error)]
        quoted = [key for key, value in self.table.items() if any(word in str(value) for word in said)]
        return next(iter([*named, *quoted]), None)


def read(path: Path) -> ScenarioFile:
    """The table of a TOML file, or of a JSON file whose `scenario` it is; keys with dashes."""
    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise BadScenario(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise BadScenario(f"{path}: neither TOML nor the JSON that simctl writes: {error}") from None
    table = raw.get("scenario", raw) if isinstance(raw, dict) else None
    if not isinstance(table, dict):
        raise BadScenario(f"{path}: holds no table of flags: write lines as gpu = 'a100-40g'")
    return ScenarioFile(path, text, {str(key).replace("_", "-"): value for key, value in table.items()})


def flag_words(ctx: click.Context, file: ScenarioFile, key: str, value: Any, option: click.Option) -> list[str]:
    """One of the command's own flags with its values, each checked as if it were typed."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise BadScenario(f"{file.where(key)}: expected true or false, found {value!r}")
        return [option.opts[0]] if value else list(option.secondary_opts[:1])
    values = value if isinstance(value, list) else [value]
    if len(values) != 1 and key == JOINED:
        values = [",".join(map(str, values))]
    if not all(isinstance(each, _SCALARS) for each in values) or (len(values) != 1 and not option.multiple):
        raise BadScenario(
            f"{file.where(key)}: expected {'values' if option.multiple else 'one value'}, found {value!r}"
        )
    for each in values:
        try:
            option.type.convert(str(each), option, ctx)
        except click.BadParameter as error:
            raise BadScenario(f"{file.where(key)}: {error.message}") from None
    return [f"--{key}={each}" for each in values]


def engine_value(file: ScenarioFile, key: str, value: Any, flags: list[str]) -> str:
    """The value of an engine's option as one types it; a key that no engine has either is refused here."""
    if not isinstance(value, _SCALARS):
        raise BadScenario(f"{file.where(key)}: expected one value, found {value!r}")
    if key in ELSEWHERE:
        raise BadScenario(f"{file.where(key)}: belongs to `simctl {ELSEWHERE[key]}`")
    _require_engine_option(file, key, value, flags)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _require_engine_option(file: ScenarioFile, key: str, value: Any, flags: list[str]) -> None:
    from sim import compose
    from sim.cli.option_owners import option_owners
    from sim.variant import Variant

    engines = compose.engine_names()
    anywhere = [Variant(name, name, "h100-80g-sxm", compose.DEFAULT_MODEL) for name in engines]
    try:
        option_owners(key, value, anywhere)
    except UnknownName:
        options = {option.replace("_", "-") for name in engines for option in compose.engine(name).OPTIONS}
        told = UnknownName("key", key, [*flags, *sorted(options)])
        raise BadScenario(f"{file.where(key)}: {told}") from None
