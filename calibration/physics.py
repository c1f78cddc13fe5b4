"""From an engine's facts, a data sheet and a profile to the time of a step.

A step takes the host's share (added, or hidden under the GPU's when the engine decides ahead), a copy if it asks for
one, and for each of its passes: launch and layer latencies, the weights' bytes against the matrix products' arithmetic
(the larger or the sum, as the profile's row says), the KV cells that its rows read, the attention of its prompts, a
little for every sequence, all-reduces between GPUs, and the layers that spilled to the host.
"""

from collections.abc import Sequence

from calibration.profile import HostRates, Profile
from sim.batch import Batch, Pass
from sim.clock import ps
from sim.cost import FOREVER, StepCost, Stride
from sim.engine import Deployment
from sim.hardware import Gpu

GIGA, TERA, MICRO = 1e9, 1e12, 1e-6
ACTIVATION_BYTES = 2  # between GPUs
HOST_ACTIVATION_BYTES = 4  # across PCIe, to layers on the host
ALL_REDUCES_PER_LAYER = 2


def step_cost(deployment: Deployment, profile: Profile) -> StepCost:
    """What the deployment's steps cost, by this profile."""
    return Physics(deployment, profile)


class Physics:
    """All coefficients are worked out once; a stride of decodes is a look-up and a few integer operations.

    Times are linear in KV cells with whole picoseconds a cell, so a stride equals its single steps exactly.
    """

    def __init__(self, deployment: Deployment, profile: Profile) -> None:
        traits, gpu = deployment.traits, slowest(deployment.gpus)
        row = profile.row(traits, gpu)
        self.trust = profile.trust
        self._kernels, self._sums = row.kernels, row.roofline == "sum"
        self._tp = traits.tensor_parallel
        self._set_arithmetic(deployment, gpu)
        self._set_memory(deployment, gpu)
        self._set_spill(deployment, profile.host)
        self._set_exchange(deployment, gpu)
        self._host_step_s = self._kernels.host_step_us * MICRO / deployment.host.single_thread
        self._host_row_s = self._kernels.host_row_us * MICRO / deployment.host.single_thread
        self._overlaps = traits.overlaps_host
        self._pcie_bytes_s = gpu.pcie_gbs * GIGA
        self._known: dict[tuple[int, int, int], tuple[int, int]] = {}

    # -- coefficients

    def _set_arithmetic(self, deployment: Deployment, gpu: Gpu) -> None:
        """FLOPs of a token and of a sampled row, and the rates they are done at on all GPUs together."""
        model, kernels = deployment.model, self._kernels
        head = model.vocab * model.hidden
        # the embedding is looked up, not multiplied; tied, it is counted once and is the head
        self._body_flops = 2 * (model.active_parameters - head * (1 if model.tied_embeddings else 2))
        self._head_flops = 2 * head
        rate = dense_tflops(gpu, deployment.traits.weights) * TERA * self._tp
        self._decode_rate = rate * kernels.decode_flops_efficiency
        self._prompt_rate = rate * kernels.prompt_flops_efficiency
        self._attention_flops = 4 * model.heads * model.head_dim * model.layers  # of one row and one cell
        self._attention_rate = gpu.fp16_tflops * TERA * self._tp * kernels.attention_flops_efficiency

    def _set_memory(self, deployment: Deployment, gpu: Gpu) -> None:
        """Bytes of weights and of a KV cell, and the rates they are read at."""
        model, traits = deployment.model, deployment.traits
        bandwidth = gpu.bandwidth_gbs * GIGA * self._tp
        self._weights_s = deployment.memory.weight_bytes / (bandwidth * self._kernels.weights_efficiency)
        self._used_share = model.active_parameters / model.parameters
        copies = max(1.0, self._tp / model.kv_heads)  # every GPU holds one KV head at least
        self._cell_bytes = model.kv_bytes_per_token(traits.kv_bytes_per_element)
        self._gpu_cell_s = self._cell_bytes * copies / (bandwidth * self._kernels.kv_efficiency)
        self._latency_s = (self._kernels.launch_us + self._kernels.layer_us * model.layers) * MICRO
        self._row_s = self._kernels.row_us * MICRO

    def _set_spill(self, deployment: Deployment, rates: HostRates) -> None:
        """The host's part: its share of layers and cells, and what they cost there."""
        memory, host = deployment.memory, deployment.host
        self._spilled = memory.layers_on_host / deployment.model.layers
        kv_on_host = memory.host_kv_bytes / ((memory.kv_bytes + memory.host_kv_bytes) or 1)
        ram = host.ram_gbs * GIGA * rates.ram_efficiency
        self._cpu_rate = host.cpu_tflops * TERA * rates.cpu_efficiency
        self._host_weights_s = memory.host_weight_bytes / ram
        self._host_weight_bytes = memory.host_weight_bytes
        self._crossings_s = 2 * rates.crossing_us * MICRO  # there and back
        self._crossing_bytes = 2 * deployment.model.hidden * HOST_ACTIVATION_BYTES
        self._kv_on_host = kv_on_host
        on_gpu, on_host = (1 - kv_on_host) * self._gpu_cell_s, kv_on_host * self._cell_bytes / ram
        self._cell_ps = ps(on_gpu + on_host)

    def _set_exchange(self, deployment: Deployment, gpu: Gpu) -> None:
        """All-reduces: a latency each, and a ring's bytes over the slower of the links that are there."""
        model, tp = deployment.model, self._tp
        reduces = ALL_REDUCES_PER_LAYER * model.layers if tp > 1 else 0
        link = (gpu.nvlink_gbs or gpu.pcie_gbs) * GIGA
        self._exchange_s = reduces * self._kernels.all_reduce_us * MICRO
        self._exchange_row_s = reduces * model.hidden * ACTIVATION_BYTES * 2 * (tp - 1) / tp / link

    # -- one pass

    def _pass_s(self, decodes: int, prompt: int, outputs: int) -> float:
        """A pass over so many rows, without the cells that they attend to."""
        rows = decodes + prompt
        seconds = self._latency_s + self._row_s * outputs + self._exchange_s + self._exchange_row_s * rows
        # each row brings its own experts: a pass reads the share of the weights that some row uses
        weights = self._weights_s * (1 - (1 - self._used_share) ** rows)
        arithmetic = self._arithmetic_s(decodes, prompt, outputs, 1 - self._spilled)
        seconds += weights + arithmetic if self._sums else max(weights, arithmetic)
        return seconds + self._spilled_s(decodes, prompt) if self._spilled else seconds

    def _arithmetic_s(self, decodes: int, prompt: int, outputs: int, share: float) -> float:
        body = self._body_flops * share
        decode = (body * decodes + self._head_flops * outputs) / self._decode_rate
        return decode + body * prompt / self._prompt_rate

    def _spilled_s(self, decodes: int, prompt: int) -> float:
        """Layers on the host: computed there, or their weights sent to the GPU for this pass, whichever is cheaper."""
        rows = decodes + prompt
        here = self._host_weights_s + self._body_flops * self._spilled * rows / self._cpu_rate
        here += self._crossings_s + self._crossing_bytes * rows / self._pcie_bytes_s
        sent = self._host_weight_bytes / self._pcie_bytes_s
        return min(here, sent + self._arithmetic_s(decodes, prompt, 0, self._spilled))

    def _attention_s(self, cells: int) -> float:
        """The attention of prompt rows; what lies on the host is computed there."""
        flops = self._attention_flops * cells
        return flops * ((1 - self._kv_on_host) / self._attention_rate + self._kv_on_host / self._cpu_rate)

    def _host_ps(self, outputs: int) -> int:
        return ps(self._host_step_s + self._host_row_s * outputs)

    # -- one step

    def stride(self, batch: Batch) -> Stride:
        """The durations of the batch and of its repetitions."""
        if batch.prompt_tokens or batch.host_bytes or len(batch.passes) != 1:
            return self._general(batch)
        decodes, cells, growth, _, _, outputs, padded = batch.passes[0]
        key = (decodes, outputs, padded)
        known = self._known.get(key)
        if known is None:
            known = self._remember(key)
        base, hidden = known
        cell_ps = self._cell_ps
        first = base + cells * cell_ps
        if first < hidden:
            return under_host(first, growth * cell_ps, hidden)
        return Stride(first, growth * cell_ps)

    def _remember(self, key: tuple[int, int, int]) -> tuple[int, int]:
        """A pass of decodes, host included where it is not hidden; and the host's time that the pass may hide."""
        decodes, outputs, padded = key
        base, host = ps(self._pass_s(max(decodes, padded), 0, outputs)), self._host_ps(outputs)
        known = self._known[key] = (base, host) if self._overlaps else (base + host, 0)
        return known

    def _general(self, batch: Batch) -> Stride:
        """Several passes, prompts or a copy: prompt work is rounded once, decodes pass by pass."""
        decode, growth, prompt_s, outputs = 0, 0, 0.0, 0
        for one in batch.passes:
            if one.prefill_tokens:
                prompt_s += self._prompt_s(one)
            if one.decodes:
                padded = 0 if one.prefill_tokens else one.padded
                decode += ps(self._pass_s(max(one.decodes, padded), 0, one.decodes)) + one.cells * self._cell_ps
            growth += one.growth * self._cell_ps
            outputs += one.outputs
        if batch.host_bytes:
            decode += ps(batch.host_bytes / self._pcie_bytes_s)
        return self._with_host(batch, decode, growth, ps(prompt_s), self._host_ps(outputs))

    def _prompt_s(self, one: Pass) -> float:
        """What the pass takes longer for its prompts."""
        padding = max(0, one.padded - one.decodes - one.prefill_tokens)
        whole = self._pass_s(one.decodes, one.prefill_tokens + padding, one.outputs)
        decodes_alone = self._pass_s(one.decodes, 0, one.decodes) if one.decodes else 0.0
        return max(0.0, whole - decodes_alone) + self._attention_s(one.prefill_cells)

    def _with_host(self, batch: Batch, decode: int, growth: int, prompt: int, host: int) -> Stride:
        first = decode + prompt
        if not self._overlaps:
            first += host
        if batch.prompt_tokens or batch.host_bytes:  # another step than those that follow
            first = max(first, host)
            return Stride(first, 0, 1, (prompt if batch.decodes else first) if batch.prompt_tokens else 0)
        if first < host:
            return under_host(first, growth, host)
        return Stride(first, growth)


def under_host(first: int, growth: int, host: int) -> Stride:
    """Steps as long as the host's work, until the GPU's grows longer."""
    return Stride(host, 0, (host - first) // growth + 1 if growth else FOREVER)


def slowest(gpus: Sequence[Gpu]) -> Gpu:
    """The GPU that the others wait for."""
    return min(gpus, key=lambda gpu: gpu.bandwidth_gbs)


def dense_tflops(gpu: Gpu, weights: str) -> float:
    """The dense rate for weights of this format: FP8 has its own where the card has one, other formats are widened."""
    if weights.lower().startswith("fp8") and gpu.fp8_tflops:
        return gpu.fp8_tflops
    return gpu.fp16_tflops
