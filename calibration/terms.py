"""The time of one forward pass as physics has it: one formula for a single pass and for arrays of thousands.

A pass reads the weights that its rows use and multiplies them (which overlap in part), reads the KV cells that its
rows attend to, computes the attention of its prompts, and pays launches, layers, sequences and all-reduces.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.engine import Traits
from sim.hardware import Gpu, Model

GIGA, TERA, MICRO, NANO = 1e9, 1e12, 1e-6, 1e-9
ACTIVATION_BYTES = 2
ALL_REDUCES_PER_LAYER = 2
# Elements that are moved for each one of a hidden state: two norms with residuals, queries and keys.
NORMS_AND_ROTATION = 10
GATED = 3  # and for each of the feed-forward layer: gate and product read, one written
# How much longer attention takes where some rows are four times as long as the others, mean of 16 to 128 rows of 512 to
# 4,096 tokens: 1.12 on an RTX 4090, 1.06 on an RTX PRO 6000 (LLMServingSim at da26736 and 3012eb1, vLLM 0.19)
RAGGED = {"vllm": 1.08}
# Rows at which products are halfway from few to many, a tile of them: with 32 and 64 a fit predicts what it has not
# seen a little worse
HALF_MANY = 128.0

Number = Any  # a float, or an array with one entry a pass


class Kernels(NamedTuple):
    """One family of kernels on one class of memory. Efficiencies are shares of the data sheet's rate."""

    weights_efficiency: Number  # of the bandwidth, reading weights
    kv_efficiency: Number  # of the bandwidth, reading keys and values
    mixed_kv_efficiency: Number  # what is left of that in a pass that carries prompts too
    decode_flops_efficiency: Number  # of the dense rate, in the matrix products of a few rows, as decodes are
    prompt_flops_efficiency: Number  # the same of many, as prompts have
    attention_flops_efficiency: Number  # of the dense rate, in the attention of prompts
    decode_attention_efficiency: Number  # and in that of decode rows, whose every head goes over the cells
    launch_us: Number  # of every pass, whatever is in it
    layer_us: Number  # of every layer in every pass
    row_us: Number  # of every sequence that gets a token
    all_reduce_us: Number  # one all-reduce of a small message between GPUs
    link_efficiency: Number  # of the link between the cards, in all-reduces
    overlap: Number  # 1: reading and multiplying add up; large: the longer hides the other; below 1: they hinder
    host_step_us: Number  # deciding a step and reading its results, on the CPU
    host_row_us: Number  # the same for every sequence that gets a token
    host_cell_ns: Number  # and for every KV cell, where the blocks of all are gone over


class Facts(NamedTuple):
    """What a pass needs of the model, its format and the cards: amounts over data-sheet rates, in seconds."""

    dense_weights_s: Number  # reading the weights that every row uses
    expert_weights_s: Number  # reading all routed experts
    expert_share: Number  # of them that one row uses
    body_row_s: Number  # multiplying one row through all layers
    head_row_s: Number  # and through the language-model head
    between_row_s: Number  # reading and writing one row between the products: norms, rotation, activation
    cell_s: Number  # reading one KV cell in the layers that see the whole context
    window_cell_s: Number  # and in the layers that see a window only
    window: Number  # its tokens
    attention_cell_s: Number  # computing the attention of one prompt row to one cell
    decode_attention_cell_s: Number  # and of one decode row
    layers: Number
    reduces: Number  # all-reduces of a pass
    exchange_row_s: Number  # bytes of one row that they carry, over the link


class Work(NamedTuple):
    """What one pass does."""

    decodes: Number
    prompt: Number
    outputs: Number
    cells: Number = 0
    prefill_cells: Number = 0
    mixed_cells: Number = 0  # those of the decode rows' cells that are read in passes with prompts


def facts(model: Model, gpu: Gpu, traits: Traits, on_gpus: float = 1.0, *, per_head: bool = False) -> Facts:
    """The facts of a model in a format on so many cards of a kind, which hold that share of its weights."""
    tp = traits.tensor_parallel
    bandwidth, rate = gpu.bandwidth_gbs * GIGA * tp, dense_tflops(gpu, traits) * TERA * tp
    head = model.vocab * model.hidden
    # the embedding is looked up, not multiplied; tied, it is counted once and is the head
    looked_up = 0 if model.tied_embeddings else head
    expert_share = model.expert_parameters / model.parameters
    body = 2 * (model.active_parameters - looked_up - head)
    weight_bytes = model.parameters * traits.weight_bits / 8 * on_gpus
    read_bytes = weight_bytes * (1 - looked_up / model.parameters)
    # decodes attend in the latent's own space, and so do llama.cpp's prompts; vLLM's in that of the heads
    width = model.latent_kv or model.head_dim
    prompt_width = width if traits.kernels == "llama.cpp" else model.head_dim
    to_cell = 4 * model.heads * model.layers / (gpu.fp16_tflops * TERA * tp)
    readers = model.heads if per_head else tp  # of the heads of keys and values, where those are fewer
    cell = model.kv_bytes_per_token(traits.kv_bytes_per_element) * max(1.0, readers / max(1, model.kv_heads))
    windowed = model.window_layers / model.layers
    link = (gpu.nvlink_gbs or gpu.pcie_gbs) * GIGA
    sent = ACTIVATION_BYTES * model.hidden * 2 * (tp - 1) / tp
    reduces = ALL_REDUCES_PER_LAYER * model.layers if tp > 1 else 0
    return Facts(
        dense_weights_s=(read_bytes - weight_bytes * expert_share) / bandwidth,
        expert_weights_s=weight_bytes * expert_share / bandwidth,
        expert_share=model.experts_per_token / model.experts if model.experts else 0.0,
        body_row_s=body / rate,
        head_row_s=2 * head / rate,
        between_row_s=0.0 if traits.products_only else between_bytes(model, tp) / (gpu.bandwidth_gbs * GIGA),
        cell_s=cell * (1 - windowed) / bandwidth,
        window_cell_s=cell * windowed / bandwidth,
        window=model.window or 1,
        attention_cell_s=to_cell * prompt_width,
        decode_attention_cell_s=to_cell * width,
        layers=model.layers,
        reduces=reduces,
        exchange_row_s=reduces * sent / link,
    )


def between_bytes(model: Model, tp: int) -> float:
    """Bytes that one row moves on a card between the matrix products; the feed-forward layer is split."""
    wide = (model.intermediate or 4 * model.hidden) * max(1, model.experts_per_token)
    return model.layers * (NORMS_AND_ROTATION * model.hidden + GATED * wide / tp) * ACTIVATION_BYTES


def pass_s(kernels: Kernels, facts: Facts, work: Work) -> Number:
    """Seconds that a pass takes on the GPUs, without its KV cells."""
    rows = work.decodes + work.prompt
    covered = 1 - (1 - facts.expert_share) ** rows
    reading = (facts.dense_weights_s + facts.expert_weights_s * covered) / kernels.weights_efficiency
    reached = flops_efficiency(kernels.decode_flops_efficiency, kernels.prompt_flops_efficiency, rows)
    multiplying = (facts.body_row_s * rows + facts.head_row_s * work.outputs) / reached
    power = kernels.overlap
    together = (reading**power + multiplying**power) ** (1 / power)
    latency = kernels.launch_us + kernels.layer_us * facts.layers + kernels.row_us * work.outputs
    latency = latency + kernels.all_reduce_us * facts.reduces
    attention = work.prefill_cells * facts.attention_cell_s / kernels.attention_flops_efficiency
    moved = facts.exchange_row_s / kernels.link_efficiency + facts.between_row_s / kernels.weights_efficiency
    return together + attention + latency * MICRO + moved * rows


def flops_efficiency(few: Number, many: Number, rows: Number) -> Number:
    """What matrix products of so many rows reach of the dense rate."""
    return few * (many / few) ** (rows / (rows + HALF_MANY))


def cells_s(kernels: Kernels, facts: Facts, work: Work) -> Number:
    """Seconds that the attention of the decode rows takes; a kernel for prompts too is slower at it."""
    reading, computing = cell_prices(kernels, facts)
    alone = cells_read(facts, work.decodes, work.cells - work.mixed_cells)
    mixed = cells_read(facts, work.decodes, work.mixed_cells)
    return (reading + computing) * (alone + mixed / kernels.mixed_kv_efficiency)


def cell_prices(kernels: Kernels, facts: Facts) -> tuple[Number, Number]:
    """Seconds for one cell in all layers: reading it, and computing a row's attention to it."""
    reading = (facts.cell_s + facts.window_cell_s) / kernels.kv_efficiency
    return reading, facts.decode_attention_cell_s / kernels.decode_attention_efficiency


def cells_read(facts: Facts, rows: Number, cells: Number) -> Number:
    """Cells that are read in all layers, where those with a window see no further than it."""
    windowed = windowed_share(facts)
    return (1 - windowed) * cells + windowed * np.minimum(cells, rows * facts.window)


def windowed_share(facts: Facts) -> Number:
    """Of a cell, what lies in layers with a window."""
    return facts.window_cell_s / (facts.cell_s + facts.window_cell_s)


def dense_tflops(gpu: Gpu, traits: Traits) -> float:
    """The dense rate that kernels can use for weights of this format.

    FP8, NVFP4 and W8A8 have their own where the card has one. llama.cpp multiplies in INT8 or accumulates in FP16,
    which GeForce cards do at twice their FP32-accumulating rate; where neither is faster it widens. Other formats are
    widened to 16 bits.
    """
    if traits.kernels == "llama.cpp":
        return max((gpu.int8_tops or 0.0) / 2, gpu.fp16_tflops)
    weights = traits.weights.lower()
    if weights.startswith("fp8") and gpu.fp8_tflops:
        return gpu.fp8_tflops
    if weights.startswith("nvfp4") and gpu.fp4_tflops:
        return gpu.fp4_tflops
    if weights == "w8a8" and gpu.int8_tops:
        return gpu.int8_tops
    return gpu.fp16_tflops


def slowest(gpus: Sequence[Gpu]) -> Gpu:
    """The GPU that the others wait for."""
    return min(gpus, key=lambda gpu: gpu.bandwidth_gbs)
