"""What the command line does, for a notebook: flags as keyword arguments, results as the published document."""

from typing import Any

from reports.document import Document
from sim.cli.flags import DECLARED, Flags, typed, unset
from sim.cli.searching import search
from sim.cli.study import study
from sim.cli.terminal import Screen

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
            flags[name] = typed(name, value, name)
    return Flags(**flags, engine_options=tuple(options), users_given="users" in given)
