"""The rule of thumb of a plan: at how many users the engine that one begins with stops being enough."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports.plan_document import Offer, Step
from reports.plan_tables import named
from sim import compose
from sim.cli.sizing import Sized


def ladder(cheapest: Offer, sized: Sequence[Sized], labels: Mapping[str, str]) -> Iterator[Step]:
    """In the order in which engines are named, those that carry more than all before them, on the cheapest hardware."""
    most = 0
    for one in sized:
        same = compose.machine(one.row.variant)[0].id == cheapest.hardware.gpu
        if same and one.row.variant.gpus == cheapest.hardware.gpus and one.capacity > most:
            most = one.capacity
            yield Step(labels[one.row.variant.id], most)


def rule(cheapest: Offer, steps: Sequence[Step], catalogue: Mapping[str, Any]) -> str:
    """From how many users on the engine one begins with is no longer enough."""
    where = named(cheapest.hardware, catalogue)
    if len(steps) == 1:
        return f"On {where}, {steps[0].label} carries {steps[0].carries} users a copy, and no other engine more."
    first, *others = steps
    installed = "" if first.label.endswith(" tuned") else " as installed"
    parts, enough = [f"{first.label}{installed} carries {first.carries}"], first.carries
    for step in others:
        parts.append(f"from {enough + 1} users on take {step.label} ({step.carries})")
        enough = step.carries
    return f"On {where}, {'; '.join(parts)}; beyond {enough}, copies."
