"""llama-server's options: which are modelled, what they mean, and their defaults by build."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from policies.engines.option_table import OptionTable
from policies.engines.releases import Releases
from sim.errors import UnknownName, UsageError
from sim.naming import fold

OPTIONS: Mapping[str, str] = {
    "parallel": "slots, -np; -1 is 4 slots with one shared pool; default -1, before b6925 1",
    "ctx_size": "tokens of all slots together, -c; 0 is the model's own, less if it does not fit; default 0, "
    "before b8901 4096",
    "batch_size": "tokens of a step, -b; default 2048",
    "ubatch_size": "tokens of a pass, -ub; default 512",
    "kv_unified": "one pool of cells for all slots, -kvu; default off unless parallel is -1; before b5913 always",
    "cont_batching": "prompts join slots that generate, -cb; default on",
    "cache_prompt": "go on from what the slot holds of a prompt; default on",
    "cache_ram": "MiB of host RAM for prompts of slots that change hands, -cram; -1 is no bound; default 8192, "
    "before b6723 0",
    "cache_idle_slots": "a shared pool's idle slots go to host RAM when a request starts; default on from b8901",
    "slot_prompt_similarity": "share of a prompt that a slot must hold to be chosen for it, -sps; default 0.1, "
    "before b6455 0.5",
    "n_gpu_layers": "layers on the GPUs, -ngl, the output layer being the last; default as many as fit",
    "cache_type": "f16, bf16, f32, q8_0, q5_1, q5_0, q4_1 or q4_0, -ctk and -ctv alike; default f16",
}

NOT_MODELLED = (
    "context_shift",
    "cache_reuse",
    "ctx_checkpoints",
    "flash_attn",
    "swa_full",
    "model_draft",
    "draft_max",
    "draft_min",
    "split_mode",
    "tensor_split",
    "main_gpu",
    "override_tensor",
    "n_cpu_moe",
    "cpu_moe",
    "no_kv_offload",
    "lora",
    "n_predict",
    "threads",
    "fit",
    "fit_target",
    "fit_ctx",
    "slot_save_path",
)
ALIASES = {
    "np": "parallel",
    "n_parallel": "parallel",
    "c": "ctx_size",
    "n_ctx": "ctx_size",
    "b": "batch_size",
    "n_batch": "batch_size",
    "ub": "ubatch_size",
    "n_ubatch": "ubatch_size",
    "kvu": "kv_unified",
    "cb": "cont_batching",
    "cram": "cache_ram",
    "sps": "slot_prompt_similarity",
    "ngl": "n_gpu_layers",
    "gpu_layers": "n_gpu_layers",
    "ctk": "cache_type",
    "ctv": "cache_type",
    "cache_type_k": "cache_type",
    "cache_type_v": "cache_type",
}
BOOLEAN = ("kv_unified", "cont_batching", "cache_prompt", "cache_idle_slots")
LEAST = {"parallel": -1, "ctx_size": 0, "batch_size": 1, "ubatch_size": 1, "cache_ram": -1, "n_gpu_layers": 0}
TABLE = OptionTable("llama.cpp", OPTIONS, ALIASES, NOT_MODELLED)
KV_BYTES = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 1.0625,
    "q5_1": 0.75,
    "q5_0": 0.6875,
    "q4_1": 0.625,
    "q4_0": 0.5625,
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a build does when it is not told."""

    parallel: int
    always_unified: bool
    fits_context: bool  # takes the model's context and shrinks it to what the GPUs hold
    cache_ram: int
    cache_idle_slots: bool
    slot_prompt_similarity: float


_FIRST = Defaults(
    parallel=1,
    always_unified=True,
    fits_context=False,
    cache_ram=0,
    cache_idle_slots=False,
    slot_prompt_similarity=0.5,
)
_STREAMS = replace(_FIRST, always_unified=False)
_ALIKE = replace(_STREAMS, slot_prompt_similarity=0.1)
_SAVED = replace(_ALIKE, cache_ram=8192)
_FOUR = replace(_SAVED, parallel=-1)
_FITTED = replace(_FOUR, fits_context=True, cache_idle_slots=True)
# The first builds with other defaults, and the newest that was seen running.
RELEASES = Releases(
    "llama.cpp",
    {
        "b2496": _FIRST,
        "b5913": _STREAMS,
        "b6455": _ALIKE,
        "b6723": _SAVED,
        "b6925": _FOUR,
        "b8901": _FITTED,
        "b11434": _FITTED,
    },
    prefix="b",
)
VERSIONS: tuple[str, ...] = tuple(RELEASES.listed)


def defaults_of(version: str) -> Defaults:
    """The defaults of a build."""
    if not version.lower().removeprefix("b").isdigit():
        raise UsageError(f"llama.cpp versions are builds such as {VERSIONS[-1]}, not '{version}'")
    return RELEASES.of(version)


def read_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were set, under the engine's names and with the right types."""
    return {name: _typed(name, value) for name, value in TABLE.chosen(options)}


def kv_type(asked: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """The cache's type: the server's own option, or the scenario's."""
    named = str(asked.get("cache_type") or options.get("kv_type") or "f16")
    folded = {fold(name): name for name in KV_BYTES} | {"fp16": "f16", "auto": "f16"}
    if fold(named) not in folded:
        raise UnknownName("llama.cpp cache_type", named, list(KV_BYTES))
    return folded[fold(named)]


def _typed(name: str, value: Any) -> Any:
    if name in BOOLEAN:
        return TABLE.switch(name, value)
    if name == "cache_type":
        return str(value)
    if name == "slot_prompt_similarity":
        return TABLE.share(name, value)
    if name in ("parallel", "n_gpu_layers") and str(value).lower() == "auto":
        return -1 if name == "parallel" else None
    return _count(name, value)


def _count(name: str, value: Any) -> int:
    count = TABLE.count(name, value, LEAST[name])
    if name == "parallel" and count == 0:
        raise UsageError("llama.cpp option parallel is a number of slots, or -1 for four that share a pool, not 0")
    return count
