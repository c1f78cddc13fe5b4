"""Ollama's options: which are modelled, what they mean, and how their values are read."""

from collections.abc import Mapping
from typing import Any

from policies.engines.ollama_defaults import FORK, LLAMA_SERVER, RELEASES, RUNNERS
from policies.engines.option_table import OptionTable
from sim.errors import UsageError
from sim.naming import fold

OPTIONS: Mapping[str, str] = {
    "num_parallel": "slots, OLLAMA_NUM_PARALLEL; default 1, from 0.2 4 or 1 and from 0.6.7 to 0.9 2 or 1, as fits",
    "num_ctx": "tokens of each slot, OLLAMA_CONTEXT_LENGTH; default 2048, from 0.6.7 4096, from 0.15.5 by video memory",
    "num_batch": "tokens of a step; default 512, from 0.30 256 to 2048 by context and free memory",
    "max_queue": "requests that may wait for a load, OLLAMA_MAX_QUEUE; default 512; a loaded model has no such bound",
    "num_gpu": "layers on the GPUs, the output layer being the last; default as many as fit",
    "gpu_overhead": "bytes of every card left to others, OLLAMA_GPU_OVERHEAD; default 0",
    "kv_cache_type": "f16, q8_0 or q4_0, OLLAMA_KV_CACHE_TYPE; needs flash attention; default f16",
    "flash_attention": "OLLAMA_FLASH_ATTENTION; default on from 0.30, before that for some families only",
    "new_engine": "0.6 to 0.24: the newer runner for every family, OLLAMA_NEW_ENGINE; default for some only",
    "context_shift": "0.4 and later: a full slot drops half of its context and goes on; default on, from 0.30 off "
    "for deepseek2; off from 0.30 also refuses an over-long prompt",
    "truncate": "0.4 and later: an over-long prompt loses its middle instead of being refused; default on",
    "cold": "the first request loads the model; default off, loaded before",
}

NOT_MODELLED = (
    "keep_alive",
    "load_timeout",
    "max_loaded_models",
    "multiuser_cache",
    "sched_spread",
    "num_keep",
    "main_gpu",
    "use_mmap",
    "num_thread",
    "draft_num_predict",
    "num_predict",
)
BOOLEAN = ("flash_attention", "new_engine", "context_shift", "truncate", "cold")
MAY_BE_ZERO = ("num_gpu", "max_queue", "gpu_overhead")
ALIASES = {"context_length": "num_ctx"}
ERAS = {
    "new_engine": (RUNNERS,),
    "context_shift": (RUNNERS, LLAMA_SERVER),
    "truncate": (RUNNERS, LLAMA_SERVER),
}
KV_BYTES = {"f16": 2.0, "q8_0": 1.0625, "q4_0": 0.5625}
# Upstream's server takes more types; it is handed the name as it is.
UPSTREAM_KV_BYTES = {"bf16": 2.0, "q5_1": 0.75, "q5_0": 0.6875, "q4_1": 0.625, "iq4_nl": 0.5625, "f32": 4.0}
TABLE = OptionTable("Ollama", OPTIONS, ALIASES, NOT_MODELLED, prefix="ollama")


def read_options(options: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The options that were set, under the engine's names and with the right types."""
    read = {name: _typed(name, value) for name, value in TABLE.chosen(options)}
    _check_version(read, version)
    return read


def kv_type(asked: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """The cache's type: Ollama's own option, or the scenario's."""
    named = asked.get("kv_cache_type") or options.get("kv_type") or "f16"
    folded = {fold(name): name for name in (*KV_BYTES, *UPSTREAM_KV_BYTES)}
    folded |= {"fp16": "f16", "auto": "f16"}
    if fold(str(named)) not in folded:
        raise UsageError(f"Ollama has no kv_cache_type '{named}'; known: {', '.join(KV_BYTES)}")
    return folded[fold(str(named))]


def _check_version(read: Mapping[str, Any], version: str) -> None:
    release = RELEASES.of(version)
    for name, eras in ERAS.items():
        if name in read and release.era not in eras:
            raise UsageError(f"Ollama {version} has no option {name}: {OPTIONS[name]}")
    if "max_queue" in read and release.max_queue is None:
        raise UsageError(f"Ollama {version} has no option max_queue; it came with 0.1.34")
    if read.get("new_engine") and RELEASES.number(version) < (0, 6):
        raise UsageError(f"Ollama {version} has no newer runner; it came with 0.6")
    if release.era == FORK and read.get("kv_cache_type", "f16") != "f16":
        raise UsageError(f"Ollama {version} has no option kv_cache_type: its keys and values are f16")


def _typed(name: str, value: Any) -> Any:
    """A value as its option takes it; what the command line gives as text is read."""
    if name in BOOLEAN:
        return TABLE.switch(name, value)
    if name == "kv_cache_type":
        return str(value).lower()
    return TABLE.count(name, value, 0 if name in MAY_BE_ZERO else 1)
