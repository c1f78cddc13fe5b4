"""The memory cliff of static slots: one slot more, and layers spill to the host for everybody."""

from dataclasses import replace

from sim import compose
from sim.cli.tuning import MOST_SLOTS, TUNABLE
from sim.cli.variants import Prepared
from sim.errors import SimctlError


def memory_cliff_slots(row: Prepared) -> int | None:
    """The most slots, each as long as the variant's are now, beside which every layer stays on the GPU.

    0 where not even one fits; None for engines without static slots, and where the engine takes no more slots at all.
    """
    if row.deployment is None or row.variant.engine not in TUNABLE or not row.deployment.memory.slots:
        return None
    lane = row.deployment.memory.kv_tokens // row.deployment.memory.slots
    fitting, spilling = 0, MOST_SLOTS + 1
    while spilling - fitting > 1:
        middle = (fitting + spilling) // 2
        if _fits(row, middle, lane):
            fitting = middle
        else:
            spilling = middle
    return fitting if fitting < MOST_SLOTS else None


def _fits(row: Prepared, slots: int, lane: int) -> bool:
    settings = TUNABLE[row.variant.engine].settings(slots, lane)
    try:
        memory = compose.deploy(replace(row.variant, options={**row.variant.options, **settings})).memory
    except SimctlError:
        return False
    return memory.layers_on_host == 0 and memory.slots == slots
