"""What the values of a policy's options may be; any other is an error that names policy, option, value and choice."""

from collections.abc import Sequence
from math import inf
from typing import Never

from sim.errors import UsageError
from sim.scheduler import Scheduler


def counts(policy: Scheduler, *names: str, least: int = 1) -> None:
    """Whole numbers."""
    for name in names:
        value = getattr(policy, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            refuse(policy, name, f"a whole number of {least} or more")


def numbers(policy: Scheduler, *names: str, most: float = inf) -> None:
    """Finite numbers that are not negative."""
    for name in names:
        value = getattr(policy, name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most or value == inf:
            refuse(policy, name, "a finite number that is not negative" if most == inf else f"from 0 to {most:g}")


def switches(policy: Scheduler, *names: str) -> None:
    """True or false."""
    for name in names:
        if not isinstance(getattr(policy, name), bool):
            refuse(policy, name, "true or false")


def word(policy: Scheduler, name: str, words: Sequence[str]) -> None:
    """One of a few words."""
    if getattr(policy, name) not in words:
        refuse(policy, name, f"one of {', '.join(words)}")


def refuse(policy: Scheduler, name: str, allowed: str) -> Never:
    """Say what the option has to be."""
    scheduler = type(policy).__module__.rpartition(".")[2]
    raise UsageError(f"scheduler {scheduler}: {name} has to be {allowed}, not {getattr(policy, name)!r}")
