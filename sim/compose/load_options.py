"""Which options each kind of load uses; the others are refused, for nobody should wonder why they change nothing."""

from collections.abc import Iterable, Mapping

from sim.errors import UsageError
from sim.variant import Demand
from workloads.arrivals import RATED, TRACE

USED: Mapping[str, tuple[str, ...]] = {
    "closed": ("users", "requests", "think"),
    "burst": ("users",),
    "offline": ("users",),
    "single": (),
    TRACE: (),
    **dict.fromkeys(RATED, ("requests",)),
}
WHY = {
    "users": "it states its own size",
    "requests": "its own size says how many are sent",
    "think": "only the users of --load closed pause",
}


def used(demand: Demand) -> list[str]:
    """The options that the load uses; of the users only one that does not state its own size."""
    stated = ":" in demand.load
    return [option for option in USED.get(_kind(demand), ()) if not (stated and option == "users")]


def refuse_unused(demand: Demand, given: Iterable[str]) -> None:
    """Raise for an option that somebody gave and this load does not use; unknown loads are refused elsewhere."""
    shown = "--trace" if demand.trace is not None else f"--load {demand.load}"
    for option in given:
        if _kind(demand) in USED and option not in used(demand):
            raise UsageError(f"{shown} does not use --{option}, {WHY[option]}: leave --{option} out")


def _kind(demand: Demand) -> str:
    return TRACE if demand.trace is not None else demand.load.partition(":")[0].strip().lower()
