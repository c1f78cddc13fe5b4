"""Where a coefficient is shared: an engine's kernels first, then ever narrower corrections, down to one card.

A path is written as `vllm/hbm/nvidia/16bit/a100-40g-sxm`. The value of a coefficient is the product along its path as
far as the profile knows it, so that a card never measured gets what its class of cards has shown.
"""

from functools import cache
from typing import NamedTuple

from calibration.eras import BARE, EARLY, V0, era, widens_weights
from calibration.paged import reads_by_head
from sim.engine import Traits
from sim.hardware import Gpu, Model

EFFICIENCIES = ("weights_efficiency", "decode_flops_efficiency", "prompt_flops_efficiency")
ATTENTION = ("kv_efficiency", "attention_flops_efficiency", "decode_attention_efficiency")
LATENCIES = ("launch_us", "layer_us", "row_us")
HOST = ("host_step_us", "host_row_us")
TABLES = ("host_cell_ns",)
LINKS = ("all_reduce_us", "link_efficiency")
MIXED = ("mixed_kv_efficiency",)
SHARED = ("overlap",)
LATENT, EXPERTS, BY_HEAD = "latent", "experts", "by-head"
ALONE, NVLINK, PAIR, PCIE = "alone", "nvlink", "pair", "pcie"
CORES, OWN, MACHINE = "cores", "own", "machine"
BY_ARCHITECTURE = ("llama.cpp",)  # whose own kernels differ by it; vLLM's come from libraries, and on few cards of each
STAIRS_FROM = 2  # the vendor's kernels: wider scopes have nothing in common
OF_A_MACHINE = (*EFFICIENCIES, *ATTENTION, *MIXED, *LATENCIES, *HOST, *TABLES, *LINKS)  # has them of its own
COEFFICIENTS = (*EFFICIENCIES, *ATTENTION, *MIXED, *LATENCIES, *HOST, *TABLES, *LINKS, *SHARED)


class Family(NamedTuple):
    """Whose kernels, on which card's memory, in which sort of weight format, of which time, for which sort of model."""

    kernels: str
    memory_class: str
    vendor: str
    weights: str
    gpu: str
    era: str
    link: str  # how the cards are joined
    latent: bool  # attention reads one latent in place of heads
    experts: bool
    architecture: str
    per_head: bool  # every query head reads its keys and values by itself

    @property
    def paged(self) -> bool:
        """Whether attention runs the kernels of vLLM's first engine and not FlashAttention."""
        return self.era == V0 and (self.per_head or self.vendor == "amd")


def family_of(traits: Traits, gpu: Gpu, model: Model, version: str) -> Family:
    """The family of kernels with these traits, on this card, for this model, in an engine of this version."""
    when = era(traits.kernels, version)
    weights = weights_class(traits.weights, traits.weight_bits)
    if traits.weights.lower().startswith("nvfp4") and gpu.fp4_tflops:
        weights = "fp4"
    elif weights == "4bit" and traits.kernels == "vllm" and widens_weights(traits.weights, version):
        weights = "4bit-widened"
    return Family(
        traits.kernels,
        gpu.memory_class,
        gpu.vendor,
        weights,
        gpu.id,
        when,
        link(gpu, traits.tensor_parallel),
        bool(model.latent_kv),
        bool(model.experts),
        gpu.architecture,
        reads_by_head(traits, gpu, model, when),
    )


@cache
def paths(coefficient: str, family: Family) -> tuple[str, ...]:
    """The scopes that a coefficient is made of, the widest first."""
    kernels, memory, vendor, weights, gpu = family[:5]
    if coefficient in EFFICIENCIES:
        return (
            *widening(kernels, memory, vendor, weights, gpu),
            *experts(family, kernels),
            *cores(family, kernels),
            *age(family, kernels),
        )
    if coefficient in ATTENTION:
        kernels = root(family, V0)
        apart = (f"{kernels}/{BY_HEAD}",) if family.per_head else ()
        return (*widening(kernels, memory, vendor, LATENT if family.latent else gpu), *apart, *age(family, kernels))
    if coefficient in TABLES:
        return (root(family, V0),)
    if coefficient in LATENCIES:
        kernels = root(family, BARE, V0)
        kinds = (*experts(family, kernels), *latent(family, kernels))
        return (*widening(kernels, memory, vendor), *kinds, *cores(family, kernels), *age(family, kernels))
    within = {
        **dict.fromkeys(LINKS, (PCIE,) if family.link == PCIE else (family.link, gpu)),
        **dict.fromkeys(MIXED, (memory,)),
        **dict.fromkeys(HOST, (family.era,)),
    }
    return widening(kernels, *within.get(coefficient, ()))


def own(coefficient: str, family: Family) -> tuple[str, ...]:
    """The scope of the user's own machine, beside those that others' measurements are made of."""
    return (f"{family.kernels}/{OWN}/{family.gpu}",) if coefficient in OF_A_MACHINE else ()


def machine(coefficient: str, family: Family, source: str) -> tuple[str, ...]:
    """The scope of a laboratory's cards that go round by PCIe: their board exchanges so, and nobody else's."""
    if coefficient not in LINKS or family.link != PCIE:
        return ()
    return (f"{family.kernels}/{PCIE}/{MACHINE}/{source}-{family.gpu}",)


def stairs(family: Family, shape: str) -> tuple[str, ...]:
    """The scopes of what the formula misses by rows, from a vendor's kernels to one model on one card.

    How experts are spread over rows is the formula's to say: what it misses of them is not for dense models.
    """
    kernels = root(family, V0, EARLY)
    found = widening(kernels, family.memory_class, family.vendor, family.weights, family.gpu, shape)
    return found[-1:] if family.experts else found[STAIRS_FROM:]


def experts(family: Family, kernels: str) -> tuple[str, ...]:
    """The scope of mixtures of experts in formats of one sort, whatever they run on."""
    return (f"{kernels}/{EXPERTS}/{family.weights}",) if family.experts else ()


def latent(family: Family, kernels: str) -> tuple[str, ...]:
    """The scope of layers whose attention reads one latent in place of heads."""
    return (f"{kernels}/{LATENT}",) if family.latent else ()


def cores(family: Family, kernels: str) -> tuple[str, ...]:
    """The scope of cards of one architecture, whatever their memory."""
    return (f"{kernels}/{CORES}/{family.architecture}",) if family.kernels in BY_ARCHITECTURE else ()


def age(family: Family, kernels: str) -> tuple[str, ...]:
    """The scope of kernels that were slower than those of today, whatever they run on."""
    return (f"{kernels}/{EARLY}",) if family.era == EARLY else ()


def root(family: Family, *eras: str) -> str:
    """The kernels, or those of a time that has nothing to do with the others'."""
    return f"{family.kernels}-{family.era}" if family.era in eras else family.kernels


def link(gpu: Gpu, cards: int) -> str:
    """Two cards on PCIe exchange directly; more of them go round."""
    if cards == 1:
        return ALONE
    return NVLINK if gpu.nvlink_gbs else PAIR if cards == 2 else PCIE


def standard_link(family: Family) -> bool:
    """Whether the cards exchange alike wherever they stand: over PCIe two machines were three times apart."""
    return family.link in (ALONE, NVLINK)


def measurable(family: Family, model: str) -> str:
    """What a card is measured with: a sort of format, a model, and the link where there is one."""
    beside = () if family.link == ALONE else (family.link,)
    return "/".join((family.weights, model, *beside))


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
    if bits > 6:
        return "8bit" if bits > 7 else "6bit"
    return "4bit" if bits > 4 else "3bit"
