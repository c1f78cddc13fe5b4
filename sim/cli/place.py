"""Where a knob is moved: a variant as it runs, and the variant that one change makes of it."""

from dataclasses import dataclass, replace
from typing import Any

from sim.cause import Bound
from sim.cli.tuning import context_for
from sim.engine import Deployment
from sim.variant import Variant


@dataclass(frozen=True, slots=True)
class Move:
    """A change in the words of the command line, and the variant that it makes."""

    change: str
    variant: Variant


@dataclass(frozen=True, slots=True)
class Place:
    """What a knob may look at: the variant as it runs, the bound that broke, and the context that requests need."""

    variant: Variant
    deployment: Deployment
    bound: Bound
    longest_tokens: int

    def option(self, name: str, default: Any = None) -> Any:
        """The value that an engine option has."""
        return self.deployment.options.get(name, default)

    def set(self, **options: Any) -> Move:
        """Engine options moved."""
        words = " ".join(_words(name, value) for name, value in options.items())
        return Move(words, replace(self.variant, options={**self.variant.options, **options}))

    @property
    def lane(self) -> int:
        """The context of a slot that is long enough, and no longer than it is now."""
        return min(self.deployment.memory.context, context_for(self.longest_tokens))


def _words(name: str, value: Any) -> str:
    flag = f"--{name.replace('_', '-')}"
    return flag if value is True else f"{flag} {value}"
