"""What a coefficient is expected to be before anything is measured, and by how much its parts may well be off."""

import numpy as np

from calibration.eras import EARLY
from calibration.scopes import (
    ATTENTION,
    BY_HEAD,
    CORES,
    EFFICIENCIES,
    EXPERTS,
    HOST,
    LATENCIES,
    LATENT,
    LINKS,
    MACHINE,
    MIXED,
    OWN,
)

# What is expected before anything is measured, and how far off (as a factor, natural logarithm) it may well be.
PRIORS = {
    "weights_efficiency": (0.8, 0.3),
    "decode_flops_efficiency": (0.55, 0.4),
    "prompt_flops_efficiency": (0.55, 0.3),
    "kv_efficiency": (0.75, 0.3),
    "attention_flops_efficiency": (0.35, 0.4),
    "decode_attention_efficiency": (0.15, 0.8),
    # kernel profiles of an RTX 4090 and an RTX PRO 6000 (LLMServingSim at 5daddb2): 0.53 and 0.72
    "mixed_kv_efficiency": (0.62, 0.2),
    "launch_us": (300.0, 0.8),
    "layer_us": (20.0, 1.0),
    "row_us": (10.0, 0.8),
    "host_step_us": (1500.0, 0.8),
    "host_row_us": (40.0, 0.8),
    "host_cell_ns": (10.0, 0.8),
    "all_reduce_us": (20.0, 0.6),
    "link_efficiency": (0.6, 0.3),
    "overlap": (1.6, 0.2),
}
# By how much a scope may differ from the one around it: memory, vendor, format, card.
NARROWER = {
    **dict.fromkeys(EFFICIENCIES, (0.15, 0.2, 0.2, 0.1)),
    **dict.fromkeys(ATTENTION, (0.15, 0.2, 0.1)),
    **dict.fromkeys(LATENCIES, (0.5, 0.5)),
    **dict.fromkeys(HOST, (0.5,)),
    **dict.fromkeys(LINKS, (0.8, 0.4)),
    **dict.fromkeys(MIXED, (0.2,)),
}
OTHER_VENDOR = 1.0  # whose software and cards say little about the first vendor's, and the other way round
FIRST_VENDOR = "nvidia"
# By how much a kind of model, of cores or of kernels differs from the others, and a machine from those of its kind.
KINDS = {LATENT: 1.0, BY_HEAD: 0.5, EXPERTS: 0.5, CORES: 0.2, EARLY: 0.4, OWN: 0.5}
OWN_LINKS = 1.0  # two machines with the same cards on PCIe were three times apart
LABORATORY, OF_LABORATORIES = "laboratory", 0.015
VENDOR_DEPTH = 2


def expected(name: str, path: str) -> float:
    """The logarithm of a part before anything is measured."""
    return float(np.log(PRIORS[name][0])) if "/" not in path and name in PRIORS else 0.0


def spread(name: str, path: str) -> float:
    """By how much that may be off."""
    if name == LABORATORY:
        return OF_LABORATORIES
    if name in LINKS and not {OWN, MACHINE}.isdisjoint(path.split("/")):
        return OWN_LINKS
    for kind, width in KINDS.items():
        if kind in path.split("/"):
            return width
    depth = path.count("/")
    if depth == VENDOR_DEPTH and name not in LINKS and not path.endswith(FIRST_VENDOR):
        return OTHER_VENDOR
    return PRIORS[name][1] if depth == 0 else NARROWER[name][depth - 1]
