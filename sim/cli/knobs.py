"""The knob of every limit: what one would type to move it, as a variant with that one thing changed."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from sim import compose
from sim.cause import Limit
from sim.cli.place import Move, Place
from sim.cli.tuning import TUNABLE, context_for
from sim.errors import SimctlError
from sim.hardware import Gpu

FEW_SLOTS = 4
BUDGET_FACTOR = 4
FASTER = (1.25, 2.5)
GENEROUS_UTILIZATION = 0.95


def moves(place: Place, limit: Limit) -> Iterator[Move]:
    """The ways to move a limit, the nearest at hand first; those that cannot be deployed are left out."""
    for move in KNOBS[limit](place):
        try:
            deployment = compose.deploy(move.variant)
        except SimctlError:
            continue
        if limit == "spill" or deployment.memory.layers_on_host <= place.deployment.memory.layers_on_host:
            yield move


# -- the knobs


def _seq_slots(place: Place) -> Iterator[Move]:
    engine, slots = place.variant.engine, place.deployment.memory.slots
    if engine == "vllm":
        name = "max_num_active_seqs" if place.option("max_num_active_seqs") else "max_num_seqs"
        seats = 2 * place.option(name)
        more = {"max_num_seqs": max(seats, place.option("max_num_seqs"))} | {name: seats}
        tokens = place.option("max_num_batched_tokens")
        yield place.set(**more, **({"max_num_batched_tokens": seats} if tokens < seats else {}))
    elif engine in TUNABLE and slots:
        for more_slots in _more(slots):
            yield place.set(**TUNABLE[engine].settings(more_slots, place.lane))


def _more(slots: int) -> list[int]:
    """Four where there are fewer, else twice as many; then fewer, for they may not fit."""
    return sorted({max(FEW_SLOTS, 2 * slots), slots + (slots + 1) // 2, slots + 1}, reverse=True)


def _kv_blocks(place: Place) -> Iterator[Move]:
    options, variant = place.variant.options, place.variant
    for name in ("num_gpu_blocks", "num_gpu_blocks_override", "kv_cache_memory_bytes", "ctx_size", "num_ctx"):
        if name in options:
            yield place.set(**{name: 2 * int(options[name])})
    if variant.engine == "vllm":
        if float(place.option("gpu_memory_utilization")) < GENEROUS_UTILIZATION:
            yield place.set(gpu_memory_utilization=GENEROUS_UTILIZATION)
        if place.deployment.traits.kv_bytes_per_element > 1:
            yield Move("--kv-type fp8", replace(variant, kv_type="fp8"))
    elif place.deployment.traits.kv_bytes_per_element > KV_BYTES_Q8:
        yield Move("--kv-type q8_0", replace(variant, kv_type="q8_0"))
    yield Move(f"--gpus {2 * variant.gpus}", replace(variant, gpus=2 * variant.gpus))


KV_BYTES_Q8 = 1.1


def _context(place: Place) -> Iterator[Move]:
    """Room for the longest requests: in the engine's context, or in every slot's, of as many slots and of fewer."""
    engine, slots = place.variant.engine, place.deployment.memory.slots or 1
    longest = compose.machine(place.variant)[2].max_context
    longer = min(longest, context_for(place.longest_tokens))
    if engine == "vllm":
        yield place.set(max_model_len=longer)
    elif engine in TUNABLE:
        for halvings in range(slots.bit_length()):
            yield place.set(**TUNABLE[engine].settings(slots >> halvings, longer))


def _prefill_budget(place: Place) -> Iterator[Move]:
    """A larger budget lets prompts in sooner; a smaller one keeps them from holding up tokens."""
    names = {"vllm": ("max_num_batched_tokens",), "ollama": ("num_batch",), "llama_cpp": ("batch_size", "ubatch_size")}
    larger = place.bound not in ("tpot", "stall")
    budgets = {name: int(place.option(name)) for name in names.get(place.variant.engine, ()) if place.option(name)}
    if budgets and place.variant.scheduler is None:
        seats = place.option("max_num_seqs", 1)
        yield place.set(
            **{
                name: value * BUDGET_FACTOR if larger else max(seats, value // BUDGET_FACTOR)
                for name, value in budgets.items()
            }
        )
    yield from _card(place, "fp16_tflops")


def _decode_rate(place: Place) -> Iterator[Move]:
    yield from _card(place, "bandwidth_gbs")


def _card(place: Place, rate: str) -> Iterator[Move]:
    """Cards of the maker with no less memory: the next that is clearly faster, and one that is faster by far."""
    card = compose.machine(place.variant)[0]
    fitting = [
        other for other in compose.cards() if other.vendor == card.vendor and other.memory_bytes >= card.memory_bytes
    ]
    for factor in FASTER:
        better = [other for other in fitting if getattr(other, rate) >= factor * getattr(card, rate)]
        if better:
            best = min(better, key=lambda it: (it.memory_class != card.memory_class, getattr(it, rate), it.id))
            yield _on(place, best)


def _spill(place: Place) -> Iterator[Move]:
    """A shorter context or fewer slots, smaller weights, a larger card: of each the first that leaves no layer out."""
    for moves_alike in (_smaller_cache(place), _smaller_weights(place), _larger_card(place)):
        yield from islice(filter(_lies_on_gpus, moves_alike), 1)


def _lies_on_gpus(move: Move) -> bool:
    try:
        return compose.deploy(move.variant).memory.layers_on_host == 0
    except SimctlError:
        return False


def _smaller_cache(place: Place) -> Iterator[Move]:
    settings, slots = TUNABLE.get(place.variant.engine), place.deployment.memory.slots or 1
    for name in ("num_gpu", "n_gpu_layers"):
        if name in place.variant.options:
            yield place.set(**{name: 999})
    if settings is not None:
        fewer = [slots >> halvings for halvings in range(slots.bit_length())]
        for lane in dict.fromkeys((place.deployment.memory.context, place.lane)):
            for count in fewer:
                yield place.set(**settings.settings(count, lane))


def _smaller_weights(place: Place) -> Iterator[Move]:
    for weights in ("q8_0", "q4_k_m"):
        yield Move(f"--weights {weights}", replace(place.variant, weights=weights))


def _larger_card(place: Place) -> Iterator[Move]:
    """Cards of the maker with more memory that are no slower, the smallest first."""
    card = compose.machine(place.variant)[0]
    larger = [
        other
        for other in compose.cards()
        if other.vendor == card.vendor
        and other.memory_bytes > card.memory_bytes
        and other.bandwidth_gbs >= card.bandwidth_gbs
    ]
    for other in sorted(larger, key=lambda it: (it.memory_bytes, it.memory_class != card.memory_class, it.id)):
        yield _on(place, other)


def _on(place: Place, card: Gpu) -> Move:
    return Move(f"--gpu {card.id}", replace(place.variant, gpu=card.id, vram_bytes=None))


def _host_overhead(place: Place) -> Iterator[Move]:
    if place.option("async_scheduling") is False:
        yield place.set(async_scheduling=True)
    host = compose.machine(place.variant)[1]
    faster = [other for other in compose.hosts() if other.single_thread > host.single_thread]
    if faster:
        best = max(faster, key=lambda other: (other.single_thread, other.id))
        yield Move(f"--host {best.id}", replace(place.variant, host=best.id))


def _queue(place: Place) -> Iterator[Move]:
    bound = place.option("max_queue")
    if bound is not None:
        yield place.set(max_queue=max(FEW_SLOTS, BUDGET_FACTOR * bound))
    replicas = 2 * place.variant.replicas
    yield Move(f"--replicas {replicas}", replace(place.variant, replicas=replicas))


KNOBS: dict[Limit, Callable[[Place], Iterator[Move]]] = {
    "context": _context,
    "kv_blocks": _kv_blocks,
    "seq_slots": _seq_slots,
    "prefill_budget": _prefill_budget,
    "decode_rate": _decode_rate,
    "spill": _spill,
    "host_overhead": _host_overhead,
    "queue": _queue,
}
