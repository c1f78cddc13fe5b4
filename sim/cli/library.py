"""What the command line does, for a notebook: flags as keyword arguments, results as the published document."""

from typing import Any

import click

from reports.document import Document
from sim.cli.flags import DECLARED, Flags, unset
from sim.cli.searching import search
from sim.cli.study import study
from sim.cli.terminal import Screen
from sim.errors import UsageError

SILENT = Screen(lambda _: None, lambda _: None)


def sweep(gpu: str, **flags: Any) -> Document:
    """`simctl sweep` with the same words: `sweep("a100-40g", engine=["vllm"], users="1..64", max_num_seqs=128)`."""
    asked = study(flags_of(gpu=gpu, **flags))
    asked.require_one()
    found, interrupted = search(asked, SILENT, None)
    if interrupted:
        raise KeyboardInterrupt
    return found


def flags_of(**given: Any) -> Flags:
    """Keyword arguments as if they had been typed; those that no flag has are options of an engine."""
    flags = unset()
    options: list[tuple[str, str | None]] = []
    for name, value in given.items():
        if name not in DECLARED:
            options.append((name.replace("_", "-"), str(value).lower() if isinstance(value, bool) else str(value)))
        elif value is not None:
            flags[name] = _typed(name, value)
    return Flags(**flags, engine_options=tuple(options), users_given="users" in given)


def _typed(name: str, value: Any) -> Any:
    """The value as the flag itself would read it."""
    declared = DECLARED[name]
    if declared.get("multiple"):
        return (value,) if isinstance(value, str) else tuple(value)
    kind = declared.get("type")
    try:
        return kind.convert(value, None, None) if kind else value if isinstance(value, bool) else str(value)
    except click.BadParameter as error:
        raise UsageError(f"{name}: {error.message}") from None
