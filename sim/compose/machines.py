"""The card, the host around it and the model that a variant names."""

from dataclasses import replace

from calibration import catalog
from sim.hardware import Gpu, Host, Model
from sim.variant import Variant

DEFAULT_MODEL = "llama-3.1-8b"
APPLE_GPU_SHARE = 0.75  # of the memory, by default
PCIE5_GBS = 30.0  # one way; no PCIe 4 card reaches it


def usual_host(card: Gpu) -> str:
    """The machine one finds around a card: a Mac, or a desktop or server of the card's generation."""
    if card.memory_class == "unified":
        return "mac-studio" if card.vendor == "apple" else "unified-box"
    kind = "desktop" if card.memory_class == "gddr" else "server"
    return f"{kind}-ddr5" if card.pcie_gbs > PCIE5_GBS else f"{kind}-ddr4"


def machine(variant: Variant) -> tuple[Gpu, Host, Model]:
    """The card, the machine around it and the model that a variant names."""
    card = catalog.gpu(variant.gpu)
    if variant.vram_bytes is not None:
        card = replace(card, memory_bytes=variant.vram_bytes)
    return card, _beside(card, catalog.host(variant.host or usual_host(card))), catalog.model(variant.model)


def _beside(card: Gpu, host: Host) -> Host:
    """The machine as it is around this card: a memory that both share is the card's, whatever else is the machine's."""
    if card.memory_class != "unified":
        return host
    share = APPLE_GPU_SHARE if card.vendor == "apple" else 1.0
    return replace(host, ram_bytes=round(card.memory_bytes / share), ram_gbs=card.bandwidth_gbs)


def cards() -> list[Gpu]:
    """Every card of the catalogue."""
    return [catalog.gpu(name) for name in catalog.names("gpu")]


def hosts() -> list[Host]:
    """Every machine of the catalogue."""
    return [catalog.host(name) for name in catalog.names("host")]
