"""An engine's releases: a version behaves as the last listed one that is not newer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from sim.errors import NotSupported, UnknownName

Known = TypeVar("Known")


@dataclass(frozen=True, slots=True)
class Releases(Generic[Known]):
    """What an engine does from each listed release on, the oldest first; the newest is as far as anybody looked."""

    engine: str  # as messages call it
    listed: Mapping[str, Known]
    prefix: str = "v"  # that a version may carry
    too_old: str = "is too old"  # why nothing before the first is modelled

    def number(self, version: str) -> tuple[int, ...]:
        """A version as three numbers that compare."""
        try:
            parts = [int(part) for part in version.lower().removeprefix(self.prefix).split(".")]
        except ValueError:
            raise UnknownName(f"{self.engine} version", version, list(self.listed)) from None
        return (*parts, 0, 0)[:3]

    def of(self, version: str) -> Known:
        """What a version does."""
        asked, oldest = self.number(version), next(iter(self.listed))
        if asked < self.number(oldest):
            raise NotSupported(f"{self.engine} {version} {self.too_old}; modelled from {oldest} on")
        return [known for listed, known in self.listed.items() if self.number(listed) <= asked][-1]

    def warnings(self, version: str) -> tuple[str, ...]:
        """Whether a version is beyond what is known; a patch of the newest release is not."""
        newest = list(self.listed)[-1]
        if self.number(version)[:2] <= self.number(newest)[:2]:
            return ()
        return (f"{self.engine} {version} is newer than what is known here: it behaves as {newest}",)
