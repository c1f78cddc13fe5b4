"""From an engine's facts, a data sheet and a profile to the time of a step.

A step takes the host's share (added, or hidden under the GPU's when the engine decides ahead), a copy if it asks for
one, each of its passes (terms.py), and the layers that spilled to the host.
"""

from calibration import sampling, scopes
from calibration.cells import cells_of
from calibration.profile import Profile, Steps, at
from calibration.spill import spill_of
from calibration.terms import GIGA, MICRO, Facts, Kernels, facts, flops_efficiency, slowest
from sim.batch import Batch, Pass
from sim.clock import ps
from sim.cost import FOREVER, StepCost, Stride
from sim.engine import Deployment
from sim.errors import NotSupported

PASSES_KEPT = 1 << 16  # times of passes remembered


def step_cost(deployment: Deployment, profile: Profile) -> StepCost:
    """What the deployment's steps cost, by this profile."""
    return Physics(deployment, profile)


def family(deployment: Deployment) -> scopes.Family:
    """Whose kernels a deployment runs, on what, in which sort of format."""
    return scopes.family_of(deployment.traits, slowest(deployment.gpus), deployment.model, deployment.version)


class Physics:
    """All coefficients are worked out once; a stride of decodes is a look-up and a few integer operations.

    Times are linear in KV cells with whole picoseconds a cell, so a stride equals its single steps exactly.
    """

    def __init__(self, deployment: Deployment, profile: Profile) -> None:
        if not deployment.gpus:
            raise NotSupported("data sheets price GPUs only; give a machine without one a measured step table")
        whose = family(deployment)
        kernels = profile.kernels(whose)
        self.trust = profile.trust_in(whose, scopes.shape(deployment.model))
        self._curve: Steps = profile.staircase(whose, scopes.shape(deployment.model))
        gpu, memory = slowest(deployment.gpus), deployment.memory
        on_gpus = memory.weight_bytes / ((memory.weight_bytes + memory.host_weight_bytes) or 1)
        amounts = facts(deployment.model, gpu, deployment.traits, on_gpus, per_head=whose.per_head)
        self._set_pass(kernels, amounts)
        self._pcie_bytes_s = gpu.pcie_gbs * GIGA
        self._spill = spill_of(deployment, profile.host, self._pcie_bytes_s)
        self._cells = cells_of(deployment, kernels, amounts, profile.host)
        self._cell_ps, self._span_ps = self._cells.alone.row_ps, self._cells.alone.span_ps
        self._windowed = self._cells.windowed
        self._host_step_ps = ps(kernels.host_step_us * MICRO / deployment.host.single_thread)
        sampling_s = sampling.row_s(deployment.traits.sampler, deployment.model.vocab)
        self._host_row_ps = ps((kernels.host_row_us * MICRO + sampling_s) / deployment.host.single_thread)
        self._overlaps = deployment.traits.overlaps_host
        self._passes: dict[tuple[int, int], int] = {}
        self._mixed: dict[tuple[int, int, int], float] = {}
        self._alike: dict[tuple[int, ...], tuple[int, int, int]] = {}
        self._steps: dict[tuple[int, int, int], tuple[int, int]] = {}

    # -- coefficients

    def _set_pass(self, kernels: Kernels, facts: Facts) -> None:
        """The constants of terms.pass_s, worked out for one deployment."""
        self._power = float(kernels.overlap)
        self._dense_s = facts.dense_weights_s / kernels.weights_efficiency
        self._experts_s = facts.expert_weights_s / kernels.weights_efficiency
        self._unused_share = 1 - facts.expert_share
        self._few, self._many = kernels.decode_flops_efficiency, kernels.prompt_flops_efficiency
        self._body_row_s, self._head_row_s = facts.body_row_s, facts.head_row_s
        latency_us = kernels.launch_us + kernels.layer_us * facts.layers + kernels.all_reduce_us * facts.reduces
        self._latency_s: float = latency_us * MICRO
        self._row_s: float = kernels.row_us * MICRO
        between = facts.between_row_s / kernels.weights_efficiency
        self._moved_row_s: float = facts.exchange_row_s / kernels.link_efficiency + between

    # -- one pass

    def _pass_s(self, decodes: int, prompt: int, outputs: int) -> float:
        """terms.pass_s over so many rows, without the attention of prompts and without the cells of decodes."""
        rows = decodes + prompt
        reading = self._dense_s
        if self._experts_s:
            reading += self._experts_s * (1 - self._unused_share**rows)
        reached = flops_efficiency(self._few, self._many, rows)
        body, spilled = self._body_row_s * rows / reached, self._spill.share
        arithmetic = body * (1 - spilled) + self._head_row_s * outputs / reached
        power = self._power
        together = float((reading**power + arithmetic**power) ** (1 / power))
        seconds = together + self._latency_s + self._row_s * outputs + self._moved_row_s * rows
        return seconds + self._spill.pass_s(rows, body * spilled) if spilled else seconds

    # -- one step

    def stride(self, batch: Batch) -> Stride:
        """The durations of the batch and of its repetitions."""
        if batch.prompt_tokens or batch.host_bytes:
            return self._once(batch)
        if self._windowed or len(batch.passes) != 1:
            return self._repeated(batch)
        one = batch.passes[0]
        key = (one.decodes, one.outputs, one.padded)
        known = self._steps.get(key)
        if known is None:
            known = self._steps[key] = self._step_ps(*key)
        base, hidden = known
        cell_ps, span_ps = self._cell_ps, self._span_ps
        first, growth = base + one.cells * cell_ps, one.growth * cell_ps
        if span_ps:
            first += one.cells // one.decodes * span_ps
            growth += one.growth // one.decodes * span_ps
        return under_host(first, growth, hidden) if first < hidden else Stride(first, growth)

    def _step_ps(self, decodes: int, outputs: int, padded: int) -> tuple[int, int]:
        """A step of decodes, host included where it is not hidden; and the host's time that the step may hide."""
        base, host = self._decodes_ps(max(decodes, padded), outputs), self._host_ps(outputs)
        return (base, host) if self._overlaps else (base + host, 0)

    def _decodes_ps(self, rows: int, outputs: int) -> int:
        """A pass of decodes alone, without its cells."""
        known = self._passes.get((rows, outputs))
        if known is None:
            step = at(self._curve, rows) if self._curve else 1.0
            known = self._passes[rows, outputs] = ps(self._pass_s(rows, 0, outputs) * step)
        return known

    def _mixed_s(self, decodes: int, prompt: int, outputs: int) -> float:
        """A pass that carries prompts, without its cells and without their attention; llama.cpp's are often alike."""
        known = self._mixed.get((decodes, prompt, outputs))
        if known is None:
            if len(self._mixed) >= PASSES_KEPT:
                self._mixed.clear()
            known = self._mixed[decodes, prompt, outputs] = self._pass_s(decodes, prompt, outputs)
        return known

    def _host_ps(self, outputs: int) -> int:
        return self._host_step_ps + self._host_row_ps * outputs

    def _once(self, batch: Batch) -> Stride:
        """A step unlike those that follow, for it has prompts or a copy; with the host's work or over it."""
        passes = batch.passes
        first, prompt, outputs = self._parts_ps(passes[0]) if len(passes) == 1 else self._sums_ps(passes)
        if batch.host_bytes:
            first += ps(batch.host_bytes / self._pcie_bytes_s)
        host = self._host_ps(outputs)
        if not self._overlaps:
            first += host
        elif first < host:
            first = host
        return Stride(first, 0, 1, (prompt if batch.decodes else first) if batch.prompt_tokens else 0)

    def _parts_ps(self, one: Pass) -> tuple[int, int, int]:
        """A pass's time, what of it its prompts add to that of its decodes alone, and its outputs."""
        alone = whole = 0
        if one.decodes:
            alone, cells, _, _ = self._decoding_ps(one)
            whole = alone + cells
        prompt = self._prompts_ps(one, alone) if one.prefill_tokens else 0
        return whole + prompt, prompt, one.outputs

    def _sums_ps(self, passes: tuple[Pass, ...]) -> tuple[int, int, int]:
        """The same of several passes, remembered: llama.cpp's read up to round spans, so that they are often alike."""
        whole = prompt = outputs = 0
        alike = self._alike
        for one in passes:
            shape = (one.decodes, one.cells, one.prefill_tokens, one.prefill_cells, one.outputs, one.padded)
            parts = alike.get(shape)
            if parts is None:
                if len(alike) >= PASSES_KEPT:
                    alike.clear()
                parts = alike[shape] = self._parts_ps(one)
            whole += parts[0]
            prompt += parts[1]
            outputs += one.outputs
        return whole, prompt, outputs

    def _repeated(self, batch: Batch) -> Stride:
        """Decodes in several passes or under a window, with the host's work or over it."""
        first = growth = outputs = 0
        steps = FOREVER
        for one in batch.passes:
            outputs += one.outputs
            alone, cells, more, alike = self._decoding_ps(one)
            first += alone + cells
            growth += more
            if alike < steps:
                steps = alike
        host = self._host_ps(outputs)
        if not self._overlaps:
            return Stride(first + host, growth, steps)
        if first < host:
            return Stride(host, 0, min(under_host(first, growth, host).steps, steps))
        return Stride(first, growth, steps)

    def _decoding_ps(self, one: Pass) -> tuple[int, int, int, int]:
        """A pass's decodes by themselves, their cells, how those grow from step to step, and for how many steps so."""
        decodes = one.decodes
        rows = decodes if one.prefill_tokens or one.padded < decodes else one.padded
        alone = self._decodes_ps(rows, decodes)
        return alone, *self._cells.reading(decodes, one.cells, one.growth, mixed=bool(one.prefill_tokens))

    def _prompts_ps(self, one: Pass, alone: int) -> int:
        """What a pass takes longer than its decodes alone, because of its prompts and the padding among them."""
        prompt, padded = one.prefill_tokens, one.padded - one.decodes
        if padded > prompt:
            prompt = padded
        seconds = self._mixed_s(one.decodes, prompt, one.outputs)
        whole = ps(seconds + one.prefill_cells * self._cells.attention_s)
        return whole - alone if whole > alone else 0


def under_host(first: int, growth: int, host: int) -> Stride:
    """Steps as long as the host's work, until the GPU's grows longer."""
    return Stride(host, 0, (host - first) // growth + 1 if growth else FOREVER)
