"""What users write for an engine's options, read by the engine's own table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sim.errors import NotSupported, UnknownName, UsageError
from sim.naming import fold

OF_THE_SCENARIO = ("version", "weights", "weight_bits", "kv_type")
ON, OFF = ("true", "1", "on", "yes"), ("false", "0", "off", "no")


@dataclass(frozen=True, slots=True)
class OptionTable:
    """The options that an engine takes, under all their names, and those that it refuses."""

    engine: str  # as messages call it
    options: Mapping[str, str]
    aliases: Mapping[str, str]
    not_modelled: Sequence[str]
    prefix: str = ""  # that a name may carry, as variables of the environment do

    def chosen(self, written: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """The options that were set, under the engine's names; what the scenario says for every engine is left out."""
        names = {fold(name): name for name in (*self.options, *OF_THE_SCENARIO)}
        names |= {fold(alias): name for alias, name in self.aliases.items()}
        refused = {fold(name): name for name in self.not_modelled}
        for spelling, value in written.items():
            key = fold(spelling).removeprefix(self.prefix)
            if key in refused:
                raise NotSupported(f"{self.engine}'s {refused[key]} is not modelled; leave it out")
            if key not in names:
                said = f"{self.engine} has no option '{spelling}'"
                raise UnknownName("option", spelling, list(self.options), said)
            if names[key] not in OF_THE_SCENARIO and value is not None:
                yield names[key], value

    def switch(self, name: str, value: Any) -> bool:
        """On or off."""
        word = str(value).lower()
        if word not in ON + OFF:
            raise self._refusal(name, value, "on or off")
        return word in ON

    def count(self, name: str, value: Any, least: int) -> int:
        """A whole number; `10_000` is one too."""
        try:
            count = int(str(value).replace("_", ""))
        except ValueError:
            count = least - 1
        if isinstance(value, bool) or count < least:
            raise self._refusal(name, value, f"a whole number of {least} or more")
        return count

    def share(self, name: str, value: Any) -> float:
        """A number between 0 and 1."""
        try:
            share = float(value)
        except (TypeError, ValueError):
            share = -1.0
        if not 0 <= share <= 1:
            raise self._refusal(name, value, "a share between 0 and 1")
        return share

    def word(self, name: str, value: Any, words: Sequence[str]) -> str:
        """One of a few words."""
        if str(value).lower() not in words:
            raise self._refusal(name, value, " or ".join(words))
        return str(value).lower()

    def _refusal(self, name: str, value: Any, wanted: str) -> UsageError:
        return UsageError(f"{self.engine} option {name} is {wanted}, not {value!r}")
