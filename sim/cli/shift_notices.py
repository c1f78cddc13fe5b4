"""What changes the worth of capacities with a parameter moved: messages that outgrow the context of a server."""

from collections.abc import Iterator, Sequence

from sim.cli.notices import flag
from sim.cli.shifts import Shift, shifts
from sim.cli.study import Study
from sim.cli.tuning import TUNABLE, context_for

LENGTHS = ("prompt-tokens", "output-tokens")


def outgrown(study: Study) -> Iterator[str]:
    """For every variant the least length at which messages no longer fit, unless they do not where nothing is moved."""
    for row in study.rows:
        moved = shifts(study, row)
        for parameter in LENGTHS:
            first = _first_too_long(moved.get(parameter, ()))
            if first is not None and not first.as_asked:
                yield _told(first)


def _first_too_long(moved: Sequence[Shift]) -> Shift | None:
    fits = {
        shift.value: shift.deployment is not None and shift.traffic.longest_tokens() <= shift.deployment.memory.context
        for shift in moved
    }
    return next((shift for shift in moved if not fits[shift.value]), None)


def _told(shift: Shift) -> str:
    assert shift.deployment is not None
    memory, engine = shift.deployment.memory, shift.variant.engine
    context = context_for(shift.traffic.longest_tokens())
    options = {"max_model_len": context} if engine == "vllm" else {}
    if engine in TUNABLE and memory.slots:
        options = TUNABLE[engine].settings(memory.slots, context)
    words = " ".join(f"{flag(name)} {value}" for name, value in options.items())
    told = f"{shift.variant.id}: from --{shift.parameter} {shift.value:,g} on some messages outgrow its context of "
    return f"{told}{memory.context:,} and are cut or refused" + (f": {words}" if words else "")
