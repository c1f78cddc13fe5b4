"""Where a coefficient is shared: an engine's kernels first, then ever narrower corrections, down to one card.

A path is written as `vllm/hbm/nvidia/16bit/a100-40g-sxm`. The value of a coefficient is the product along its path as
far as the profile knows it, so that a card never measured gets what its class of cards has shown.
"""

from typing import NamedTuple

from sim.engine import Traits
from sim.hardware import Gpu, Model

EFFICIENCIES = ("weights_efficiency", "decode_flops_efficiency", "prompt_flops_efficiency")
ATTENTION = ("kv_efficiency", "attention_flops_efficiency")
LATENCIES = ("launch_us", "layer_us", "row_us")
HOST = ("host_step_us", "host_row_us")
LINKS = ("all_reduce_us", "link_efficiency")  # cards of a memory class are joined alike
MIXED = ("mixed_kv_efficiency",)
SHARED = ("overlap",)
COEFFICIENTS = (*EFFICIENCIES, *ATTENTION, *MIXED, *LATENCIES, *HOST, *LINKS, *SHARED)


class Family(NamedTuple):
    """Whose kernels, on which card's memory, in which sort of weight format, and of which time the host's code is."""

    kernels: str
    memory_class: str
    vendor: str
    weights: str
    gpu: str
    era: str


def family_of(traits: Traits, gpu: Gpu, version: str) -> Family:
    """The family of kernels with these traits, on this card, in an engine of this version."""
    weights = weights_class(traits.weights, traits.weight_bits)
    return Family(traits.kernels, gpu.memory_class, gpu.vendor, weights, gpu.id, era(traits.kernels, version))


def paths(coefficient: str, family: Family) -> tuple[str, ...]:
    """The scopes that a coefficient is made of, the widest first."""
    kernels, memory, vendor, weights, gpu, era = family
    if coefficient in SHARED:
        return (kernels,)
    if coefficient in (*LINKS, *MIXED):
        return widening(kernels, memory)
    if coefficient in HOST:
        return (kernels, f"{kernels}/{era}")
    if coefficient in LATENCIES:
        return widening(kernels if era != "bare" else f"{kernels}-bare", memory, vendor)
    if coefficient in ATTENTION:
        return widening(kernels, memory, vendor, gpu)
    return widening(kernels, memory, vendor, weights, gpu)


def widening(*parts: str) -> tuple[str, ...]:
    """A path and all its beginnings, the shortest first."""
    return tuple("/".join(parts[: end + 1]) for end in range(len(parts)))


def shape(model: Model) -> str:
    """What makes two models the same to kernels, whatever they are called."""
    size = f"{model.parameters / 1e9:.2f}b"
    return f"{size}-{model.layers}x{model.hidden}-{model.heads}:{model.kv_heads}x{model.head_dim}"


def weights_class(weights: str, bits: float) -> str:
    """Formats that run the same sort of kernels."""
    if bits > 12:
        return "16bit"
    if weights.lower().startswith("fp8"):
        return "fp8"
    return "8bit" if bits > 7 else "4bit"


def era(kernels: str, version: str) -> str:
    """Releases whose host work is alike. Kernels that were timed one by one, without a server, are `bare`."""
    text = version.lower()
    if kernels != "vllm":
        return "any"
    if "kernels" in text:
        return "bare"
    number = release(text)
    if "2024" in text or (number is not None and number < (0, 8)):
        return "v0"
    return "async" if "2026" in text or (number is not None and number >= (0, 14)) else "sync"


def release(version: str) -> tuple[int, int] | None:
    """The first two numbers of a version, if it begins with any."""
    parts = version.lstrip("~v").replace("-", " ").replace("+", " ").split(" ")[0].split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return int(parts[0]), int(parts[1])
