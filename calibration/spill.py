"""What layers that did not fit on the GPU cost a pass: computed on the host, or their weights sent over for it."""

from dataclasses import dataclass

from calibration.profile import HostRates
from calibration.terms import GIGA, MICRO, TERA
from sim.engine import Deployment

HOST_ACTIVATION_BYTES = 4  # across PCIe, to layers on the host
OFFLOAD_ROWS = 32  # llama.cpp's GGML_OP_OFFLOAD_MIN_BATCH: so many rows make sending the weights worth its while


@dataclass(frozen=True, slots=True)
class Spill:
    """The host's share of a model."""

    share: float  # of the layers
    weights_s: float  # reading them from the host's memory
    sending_s: float  # or over PCIe
    row_s: float  # computing one row there
    crossings_s: float  # handing activations over, there and back
    crossing_row_s: float

    def pass_s(self, rows: int, on_gpu_s: float) -> float:
        """The layers are computed on the host; a large batch has their weights sent to the GPU for this pass."""
        if rows >= OFFLOAD_ROWS:
            return self.sending_s + on_gpu_s
        return self.weights_s + self.row_s * rows + self.crossings_s + self.crossing_row_s * rows


def spill_of(deployment: Deployment, rates: HostRates, pcie_bytes_s: float) -> Spill:
    """What of a deployment lies on the host."""
    memory, host, model = deployment.memory, deployment.host, deployment.model
    share = min(1.0, memory.layers_on_host / model.layers)
    return Spill(
        share=share,
        weights_s=memory.host_weight_bytes / (host.ram_gbs * GIGA * rates.ram_efficiency),
        sending_s=memory.host_weight_bytes / pcie_bytes_s,
        row_s=2 * model.active_parameters * share / (host.cpu_tflops * TERA * rates.cpu_efficiency),
        crossings_s=2 * rates.crossing_us * MICRO,
        crossing_row_s=2 * model.hidden * HOST_ACTIVATION_BYTES / pcie_bytes_s,
    )
