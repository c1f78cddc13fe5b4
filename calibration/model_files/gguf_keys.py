"""The keys of a GGUF header, those of its architecture by their short names; a complaint names file and key."""

from collections.abc import Mapping
from pathlib import Path

from calibration.model_files.gguf_header import Array, Scalar
from sim.errors import BadScenario

LARGEST_NUMBER = 10**9
LONGEST_TEXT = 100


class Keys:
    """What the header says, one figure at a time."""

    def __init__(self, path: Path, metadata: Mapping[str, Scalar | Array]) -> None:
        self.path, self.metadata = path, metadata
        self.architecture = self.text("general.architecture")
        if not self.architecture:
            raise self.wrong("general.architecture", "must be a string")

    def name(self, short: str) -> str:
        """The key of this architecture."""
        return f"{self.architecture}.{short}"

    def has(self, short: str) -> bool:
        return self.name(short) in self.metadata

    def text(self, key: str) -> str:
        """A string under a full key as one can print it, empty where there is none."""
        value = self.metadata.get(key)
        return "".join(filter(str.isprintable, value))[:LONGEST_TEXT] if isinstance(value, str) else ""

    def count(self, short: str) -> int:
        """A whole number, the largest of a list, or 0 where it is left out."""
        value = self.metadata.get(self.name(short), 0)
        if isinstance(value, Array):
            value = max((each for each in value.values if isinstance(each, int)), default=0)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_NUMBER:
            raise self.wrong(self.name(short), f"must be a whole number up to {LARGEST_NUMBER:,}, not {value!r:.80}")
        return value

    def whole(self, short: str, default: int | None = None) -> int:
        """A whole number above 0."""
        value = self.count(short) or default
        if not value:
            raise self.wrong(self.name(short), "is missing")
        return value

    def wrong(self, field: str, complaint: str) -> BadScenario:
        """The error about a field."""
        return BadScenario(f"{self.path}: field '{field:.80}' {complaint}")
