"""Which of the chosen engines an option on the command line belongs to."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sim import compose
from sim.errors import DoesNotFit, NotSupported, UnknownName, UsageError
from sim.variant import Variant


def option_owners(name: str, value: Any, variants: Sequence[Variant]) -> dict[str, str]:
    """The engines that have an option, each with its own spelling; refused where none has it."""
    chosen = list(dict.fromkeys(variant.engine for variant in variants))
    owners = {known: spelling for known in chosen if (spelling := _spelling(known, name))}
    owners = owners or {variant.engine: name for variant in variants if _takes(variant, name, value)}
    if owners:
        return owners
    others = [known for known in compose.engine_names() if known not in chosen and _spelling(known, name)]
    if others:
        raise UsageError(f"option --{name} belongs to {', '.join(others)}, not to {', '.join(chosen)}")
    options = {option for known in chosen for option in compose.engine(known).OPTIONS}
    raise UnknownName("option", f"--{name}", sorted(f"--{option.replace('_', '-')}" for option in options))


def _spelling(engine_id: str, name: str) -> str | None:
    return next(
        (option for option in compose.engine(engine_id).OPTIONS if compose.fold(option) == compose.fold(name)), None
    )


def _takes(variant: Variant, name: str, value: Any) -> bool:
    """Whether an engine takes an option under a name that it does not list, as `np` for `parallel`.

    An engine that has the option without modelling it refuses it itself.
    """
    try:
        compose.deploy(replace(variant, options={name: value}))
    except NotSupported as error:
        if compose.fold(name) in compose.fold(str(error)):
            raise
    except DoesNotFit:
        return True
    except UsageError:
        return False
    return True
