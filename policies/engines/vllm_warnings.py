"""What a start of vLLM is told about: what is assumed, and what of its machine and model is not as it looks."""

from collections.abc import Mapping
from typing import Any

from policies.engines.vllm_defaults import RELEASES
from policies.engines.vllm_groups import Layout, keeps_everything
from sim.hardware import Gpu, Model

UNEQUAL_FAMILIES = ("gemma4",)
BEFORE_BF16 = ("volta", "turing")


def start_warnings(
    settled: Mapping[str, Any], asked: Mapping[str, Any], gpus: tuple[Gpu, ...], model: Model, version: str
) -> tuple[str, ...]:
    """What is assumed, left idle or not modelled."""
    told = [*RELEASES.warnings(version)]
    if 0 < model.window < settled["max_model_len"]:
        told.extend(_window_warnings(settled, model, version))
    if "num_gpu_blocks" not in asked and "kv_cache_memory_bytes" not in asked:
        told.append("num_gpu_blocks is an estimate; a real server logs its own at start-up: set it if you have it")
    if settled["enforce_eager"]:
        told.append("enforce_eager: batches are not padded; the slower launches of its kernels are not priced")
    idle = len(gpus) - settled["tensor_parallel_size"]
    if idle:
        told.append(f"{idle} of {len(gpus)} GPUs are idle: tensor_parallel_size is {settled['tensor_parallel_size']}")
    return tuple(told)


def format_warning(card: Gpu, weights: str) -> tuple[str, ...]:
    """That a card has no BF16, so that vLLM does not start without a word about it."""
    if weights != "bf16" or card.architecture not in BEFORE_BF16:
        return ()
    return (f"{card.name} has no BF16: vLLM needs --dtype half there, which is as large and as fast as shown",)


def length_warning(settled: Mapping[str, Any], blocks: int, groups: Layout) -> tuple[str, ...]:
    """That fewer tokens are counted than the longest request has, where windows let it in all the same."""
    length = settled["max_model_len"]
    if groups.tokens(blocks) >= length:
        return ()
    window, needed = groups.groups.window, groups.needed(length) - 1
    less = f"requests longer than the window of {window} take less, one of {length} {needed} of {blocks - 1} blocks"
    return (f"KV tokens are counted in every layer: {less}",)


def _window_warnings(settled: Mapping[str, Any], model: Model, version: str) -> list[str]:
    told = ""
    if model.keeps_state:
        told = (
            f"layers that keep a state are counted as a share of requests of max_model_len {settled['max_model_len']}: "
            "shorter ones take more memory a token; give the length that yours reach"
        )
    elif keeps_everything(model, version):
        told = f"vLLM {version} keeps every token of {model.id} in layers with a window too"
    elif model.family in UNEQUAL_FAMILIES:
        told = (
            f"layers with a window have heads of another size in {model.id}: "
            "requests shorter than it take more memory than is counted here"
        )
    return [told] if told else []
