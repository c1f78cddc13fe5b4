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
from sim.errors import NotSupported
from sim.hardware import Gpu

GIGA, TERA, MICRO = 1e9, 1e12, 1e-6
ACTIVATION_BYTES = 2  # between GPUs
HOST_ACTIVATION_BYTES = 4  # across PCIe, to layers on the host
ALL_REDUCES_PER_LAYER = 2
OFFLOAD_ROWS = 32  # llama.cpp's GGML_OP_OFFLOAD_MIN_BATCH: so many rows make sending the weights worth its while


def step_cost(deployment: Deployment, profile: Profile) -> StepCost:
    """What the deployment's steps cost, by this profile."""
    return Physics(deployment, profile)


class Physics:
    """All coefficients are worked out once; a stride of decodes is a look-up and a few integer operations.

    Times are linear in KV cells with whole picoseconds a cell, so a stride equals its single steps exactly.
    """

    def __init__(self, deployment: Deployment, profile: Profile) -> None:
        if not deployment.gpus:
            raise NotSupported("data sheets price GPUs only; give a machine without one a measured step table")
        traits, gpu = deployment.traits, slowest(deployment.gpus)
        row = profile.row(traits, gpu)
        self.trust = profile.trust
        self._kernels, self._sums = row.kernels, row.roofline == "sum"
        self._tp = traits.tensor_parallel
        self._set_arithmetic(deployment, gpu)
        self._set_memory(deployment, gpu)
        self._set_spill(deployment, profile.host)
        self._set_exchange(deployment, gpu)
        self._host_step_ps = ps(self._kernels.host_step_us * MICRO / deployment.host.single_thread)
        self._host_row_ps = ps(self._kernels.host_row_us * MICRO / deployment.host.single_thread)
        self._overlaps = traits.overlaps_host
        self._pcie_bytes_s = gpu.pcie_gbs * GIGA
        self._passes: dict[tuple[int, int], int] = {}
        self._steps: dict[tuple[int, int, int], tuple[int, int]] = {}

    # -- coefficients

    def _set_arithmetic(self, deployment: Deployment, gpu: Gpu) -> None:
        """FLOPs of a token and of a sampled row, and the rates they are done at on all GPUs together."""
        model, kernels = deployment.model, self._kernels
        head = model.vocab * model.hidden
        # the embedding is looked up, not multiplied; tied, it is counted once and is the head
        self._body_flops = 2 * (model.active_parameters - head * (1 if model.tied_embeddings else 2))
        rate = dense_tflops(gpu, deployment.traits.weights) * TERA * self._tp
        self._decode_row_s = self._body_flops / (rate * kernels.decode_flops_efficiency)
        self._prompt_row_s = self._body_flops / (rate * kernels.prompt_flops_efficiency)
        self._head_row_s = 2 * head / (rate * kernels.decode_flops_efficiency)
        self._attention_flops = 4 * model.heads * model.head_dim * model.layers  # of one row and one cell
        self._attention_rate = gpu.fp16_tflops * TERA * self._tp * kernels.attention_flops_efficiency

    def _set_memory(self, deployment: Deployment, gpu: Gpu) -> None:
        """Bytes of weights and of a KV cell, and the rates they are read at."""
        model, traits = deployment.model, deployment.traits
        bandwidth = gpu.bandwidth_gbs * GIGA * self._tp
        self._weights_s = deployment.memory.weight_bytes / (bandwidth * self._kernels.weights_efficiency)
        self._unused_share = 1 - model.active_parameters / model.parameters
        copies = max(1.0, self._tp / model.kv_heads)  # every GPU holds one KV head at least
        self._cell_bytes = model.kv_bytes_per_token(traits.kv_bytes_per_element)
        self._gpu_cell_s = self._cell_bytes * copies / (bandwidth * self._kernels.kv_efficiency)
        reduces = ALL_REDUCES_PER_LAYER * model.layers if self._tp > 1 else 0
        latency_us = self._kernels.launch_us + self._kernels.layer_us * model.layers
        self._latency_s = (latency_us + reduces * self._kernels.all_reduce_us) * MICRO
        self._row_s = self._kernels.row_us * MICRO

    def _set_spill(self, deployment: Deployment, rates: HostRates) -> None:
        """The host's part: its share of layers and cells, and what they cost there."""
        memory, host = deployment.memory, deployment.host
        self._spilled = min(1.0, memory.layers_on_host / deployment.model.layers)
        kv_on_host = memory.host_kv_bytes / ((memory.kv_bytes + memory.host_kv_bytes) or 1)
        ram = host.ram_gbs * GIGA * rates.ram_efficiency
        self._cpu_rate = host.cpu_tflops * TERA * rates.cpu_efficiency
        self._host_weights_s = memory.host_weight_bytes / ram
        self._host_weight_bytes = memory.host_weight_bytes
        self._crossings_s = 2 * rates.crossing_us * MICRO  # there and back
        self._crossing_bytes = 2 * deployment.model.hidden * HOST_ACTIVATION_BYTES
        # the attention of prompts over cells on the host is computed there
        self._attention_cell_s = self._attention_flops * (
            (1 - kv_on_host) / self._attention_rate + kv_on_host / self._cpu_rate
        )
        on_gpu, on_host = (1 - kv_on_host) * self._gpu_cell_s, kv_on_host * self._cell_bytes / ram
        self._cell_ps = ps(on_gpu + on_host)

    def _set_exchange(self, deployment: Deployment, gpu: Gpu) -> None:
        """What the all-reduces of one row take: a ring's bytes over the link between the GPUs."""
        link = (gpu.nvlink_gbs or gpu.pcie_gbs) * GIGA
        sent = ACTIVATION_BYTES * deployment.model.hidden * 2 * (self._tp - 1) / self._tp
        self._exchange_row_s = ALL_REDUCES_PER_LAYER * deployment.model.layers * sent / link

    # -- one pass

    def _pass_s(self, decodes: int, prompt: int, outputs: int) -> float:
        """A pass over so many rows, without the cells that they attend to."""
        rows = decodes + prompt
        fixed = self._latency_s + self._row_s * outputs + self._exchange_row_s * rows
        # each row brings its own experts: a pass reads the share of the weights that some row uses
        weights = self._weights_s * (1 - self._unused_share**rows) if self._unused_share else self._weights_s
        body = self._decode_row_s * decodes + self._prompt_row_s * prompt
        arithmetic = body * (1 - self._spilled) + self._head_row_s * outputs
        seconds = fixed + (weights + arithmetic if self._sums else max(weights, arithmetic))
        return seconds + self._spilled_s(rows, body * self._spilled) if self._spilled else seconds

    def _spilled_s(self, rows: int, on_gpu_s: float) -> float:
        """Layers on the host: computed there; a large batch has their weights sent to the GPU for this pass."""
        if rows >= OFFLOAD_ROWS:
            return self._host_weight_bytes / self._pcie_bytes_s + on_gpu_s
        here = self._host_weights_s + self._body_flops * self._spilled * rows / self._cpu_rate
        return here + self._crossings_s + self._crossing_bytes * rows / self._pcie_bytes_s

    # -- one step

    def stride(self, batch: Batch) -> Stride:
        """The durations of the batch and of its repetitions."""
        if batch.prompt_tokens or batch.host_bytes or len(batch.passes) != 1:
            return self._general(batch)
        one = batch.passes[0]
        key = (one.decodes, one.outputs, one.padded)
        known = self._steps.get(key)
        if known is None:
            known = self._steps[key] = self._step_ps(*key)
        base, hidden = known
        cell_ps = self._cell_ps
        first = base + one.cells * cell_ps
        if first < hidden:
            return under_host(first, one.growth * cell_ps, hidden)
        return Stride(first, one.growth * cell_ps)

    def _step_ps(self, decodes: int, outputs: int, padded: int) -> tuple[int, int]:
        """A step of decodes, host included where it is not hidden; and the host's time that the step may hide."""
        base, host = self._decodes_ps(max(decodes, padded), outputs), self._host_ps(outputs)
        return (base, host) if self._overlaps else (base + host, 0)

    def _decodes_ps(self, rows: int, outputs: int) -> int:
        """A pass of decodes alone, without its cells."""
        known = self._passes.get((rows, outputs))
        if known is None:
            known = self._passes[rows, outputs] = ps(self._pass_s(rows, 0, outputs))
        return known

    def _host_ps(self, outputs: int) -> int:
        return self._host_step_ps + self._host_row_ps * outputs

    def _general(self, batch: Batch) -> Stride:
        """Several passes, prompts or a copy. A prompt's share is what its pass takes longer than its decodes alone."""
        decode, growth, prompt, outputs = 0, 0, 0, 0
        for one in batch.passes:
            outputs += one.outputs
            growth += one.growth * self._cell_ps
            alone = 0
            if one.decodes:
                rows = one.decodes if one.prefill_tokens else max(one.decodes, one.padded)
                alone = self._decodes_ps(rows, one.decodes)
                decode += alone + one.cells * self._cell_ps
            if one.prefill_tokens:
                prompt += max(0, ps(self._prompt_pass_s(one)) - alone)
        if batch.host_bytes:
            decode += ps(batch.host_bytes / self._pcie_bytes_s)
        return self._with_host(batch, decode, growth, prompt, self._host_ps(outputs))

    def _prompt_pass_s(self, one: Pass) -> float:
        """A pass that carries prompts, padding among them, without the cells of its decodes."""
        prompt = max(one.prefill_tokens, one.padded - one.decodes)
        return self._pass_s(one.decodes, prompt, one.outputs) + one.prefill_cells * self._attention_cell_s

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
