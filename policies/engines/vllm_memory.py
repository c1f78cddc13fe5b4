"""How many blocks vLLM finds room for when it starts.

    share   = ceil(total memory x gpu_memory_utilization)
    cache   = share - weights - activation peak - what lies outside the allocator - CUDA graphs where they are charged
    blocks  = floor(cache / bytes of a block), one of them the null block that nobody gets

A block holds `block_size` tokens of the layers of one group: all layers, or a part of them in a model with sliding
windows, whose groups take blocks of their own from the one pool. Plans state tokens as requests take them that are
shorter than the window: one token is one in every layer. Longer requests take less, for windowed groups give back what
the window has passed.

All figures are of one GPU. What only a start-up measures, activations and the part outside the allocator, is estimated;
its constants come from the start-up logs named below. On a fourth set-up, Llama-3.1-8B on an RTX 4090 with 0.19, 2,588
blocks were published where this finds 2,943, 14% too many. A known `num_gpu_blocks` is better than any estimate.
"""

from dataclasses import dataclass
from math import ceil

from policies.engines.vllm_groups import Layout
from sim.errors import DoesNotFit
from sim.hardware import GIB, MIB, Gpu, Model

ACTIVATION_BYTES = 2
LOGIT_BYTES = 4  # sampling is done in FP32
LOGIT_COPIES = 3  # the logits, their probabilities and a sorted copy
HIDDEN_COPIES = 3  # residual, normalised input, output
# vLLM 0.27.1 log: 1.23-1.25 GiB in use after loading 1.12 GiB of weights (Qwen3-0.6B)
OUTSIDE_BYTES = 120 * MIB
# vLLM 0.10 on two GPUs: 0.67 GiB beside weights and cache, against 0.55 on one with larger activations
COLLECTIVE_BYTES = 160 * MIB
# vLLM 0.10.1 log: 0.50 GiB for 67 sizes (Qwen2-7B)
GRAPH_BYTES = 8 * MIB


@dataclass(frozen=True, slots=True)
class Budget:
    """One GPU's memory as vLLM divides it at start-up."""

    total_bytes: int
    share_bytes: int  # what gpu_memory_utilization lets it have
    weight_bytes: int
    activation_bytes: int
    outside_bytes: int
    graph_bytes: int
    block_bytes: int

    @property
    def scratch_bytes(self) -> int:
        """Neither weights nor cache."""
        return self.activation_bytes + self.outside_bytes + self.graph_bytes

    @property
    def cache_bytes(self) -> int:
        """What is left for keys and values; below 0 when the weights alone are too much."""
        return self.share_bytes - self.weight_bytes - self.scratch_bytes

    @property
    def blocks(self) -> int:
        """Blocks that fit, the null block included."""
        return max(0, self.cache_bytes // self.block_bytes)


def activation_bytes(model: Model, tp: int, tokens: int, sequences: int) -> int:
    """The peak of the profile run: the feed-forward layer over a full budget, or sampling for every sequence.

    Gate, up and their product are each `intermediate` wide and split over the GPUs; the two peaks do not coincide. With
    experts there is one such row, and one of its results, for each expert that a token visits.
    """
    width = (model.intermediate or 4 * model.hidden) * max(1, model.experts_per_token)
    copies = HIDDEN_COPIES + model.experts_per_token
    layer = tokens * ACTIVATION_BYTES * (3 * ceil(width / tp) + copies * model.hidden)
    sampling = min(sequences, tokens) * model.vocab * LOGIT_BYTES * LOGIT_COPIES
    return max(layer, sampling)


def block_bytes(model: Model, tp: int, block_size: int, bytes_per_element: float, layers: float = 0) -> int:
    """A block on one GPU, of all layers or of so many: its share of the KV heads, one at least.

    A latent is on every GPU.
    """
    token = model.kv_bytes_per_token(bytes_per_element) * (layers or model.layers) / model.layers
    share = 1.0 if model.latent_kv else max(1, model.kv_heads // tp) / model.kv_heads
    return ceil(block_size * token * share)


def budget(
    gpu: Gpu,
    model: Model,
    tp: int,
    weight_bits: float,
    utilization: float,
    tokens: int,
    sequences: int,
    graphs: int,
    one_block: int,
) -> Budget:
    """The division of one GPU; `graphs` counts the captured sizes that are charged."""
    return Budget(
        total_bytes=gpu.memory_bytes,
        share_bytes=ceil(gpu.memory_bytes * utilization),
        weight_bytes=ceil(model.parameters * weight_bits / 8 / tp),
        activation_bytes=activation_bytes(model, tp, tokens, sequences),
        outside_bytes=OUTSIDE_BYTES + (COLLECTIVE_BYTES if tp > 1 else 0) + ceil(model.vision_bytes / tp),
        graph_bytes=graphs * GRAPH_BYTES,
        block_bytes=one_block,
    )


def require_one_request(budget: Budget, blocks: int, layout: Layout, max_model_len: int, tp: int) -> None:
    """vLLM does not start unless the cache holds one request of max_model_len, the null block apart."""
    needed = layout.needed(max_model_len)
    if blocks >= needed:
        return
    missing = (needed - blocks) * budget.block_bytes * tp
    if blocks == 0 and budget.cache_bytes < 0:
        missing -= budget.cache_bytes * tp
    feasible = layout.longest(blocks, max_model_len)
    advice = f"max_model_len={feasible} would fit" if feasible else "a smaller model, format or more GPUs would fit"
    raise DoesNotFit(
        f"vLLM would not start: one request of max_model_len {max_model_len} needs "
        f"{_gib(needed * budget.block_bytes)} of cache a GPU and {_gib(blocks * budget.block_bytes)} are left "
        f"(of {_gib(budget.total_bytes)}: {_gib(budget.share_bytes)} allowed, {_gib(budget.weight_bytes)} weights, "
        f"{_gib(budget.scratch_bytes)} activations and graphs); {_gib(missing)} missing in all; {advice}",
        missing,
    )


def _gib(count: int) -> str:
    return f"{count / GIB:.2f} GiB"
