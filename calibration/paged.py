"""Attention in vLLM's first engine where FlashAttention could not serve: paged kernels of its own, gone with it.

Every query head read its keys and values by itself, where FlashAttention's groups of heads share what they read. Beyond
so many heads in a step a sequence's cells were no longer cut into parts, and on long contexts that took far longer.
"""

from calibration.eras import V0
from sim.engine import Traits
from sim.hardware import Gpu, Model

MOST_HEADS = 512  # of all sequences in a step on one device: vllm/attention/ops/paged_attn.py until 0.8
DEVICES = {"mi250": 2, "mi250x": 2}  # dies, each a device to ROCm
TOO_OLD = ("volta", "turing")  # this and what else it could not do: vllm/attention/selector.py until 0.7


def reads_by_head(traits: Traits, gpu: Gpu, model: Model, era: str) -> bool:
    """Whether NVIDIA's cards fell back to them: for a window, before Ampere, or for keys and values in eight bits."""
    if gpu.vendor != "nvidia" or era != V0:
        return False
    return bool(model.window) or gpu.architecture in TOO_OLD or traits.kv_bytes_per_element < 2


def unpartitioned(gpu: Gpu, model: Model, cards: int, rows: float) -> bool:
    """Whether a step of so many rows ran the kernel that does not cut a sequence's cells into parts."""
    return rows * model.heads / (cards * DEVICES.get(gpu.id, 1)) > MOST_HEADS
