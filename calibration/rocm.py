"""Attention on AMD cards in vLLM's first engine: beyond so many heads in a step another kernel took over.

That one goes over a sequence's cells in one piece, for every query head anew, at a fifth of the other's rate or less.
It went with that engine, so that its times say nothing of today's.
"""

from calibration.eras import V0
from calibration.scopes import Family
from sim.hardware import Model

MOST_HEADS = 512  # of all sequences in a step on one device: vllm/attention/ops/paged_attn.py until 0.8
DEVICES = {"mi250": 2, "mi250x": 2}  # dies, each a device to ROCm


def unpartitioned(family: Family, model: Model, cards: int, rows: float) -> bool:
    """Whether steps of so many rows ran the kernel that is gone."""
    heads = model.heads / (cards * DEVICES.get(family.gpu, 1))
    return family.vendor == "amd" and family.era == V0 and rows * heads > MOST_HEADS
