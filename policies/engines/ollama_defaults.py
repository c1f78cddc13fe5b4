"""What Ollama's settings are when nobody sets them, by version, card and model family."""

from dataclasses import dataclass, replace

from policies.engines.releases import Releases
from sim.hardware import GIB, MIB, Gpu, Model

# Who runs the model: a forked llama.cpp server, Ollama's own runners, an upstream llama-server.
FORK, RUNNERS, LLAMA_SERVER = "A", "B", "C"
AUTO_CONTEXT = 0


@dataclass(frozen=True, slots=True)
class Release:
    """The defaults that changed between releases."""

    era: str
    parallel: tuple[int, ...]  # numbers of slots to try; the first that fits on the GPUs is taken, else the last
    num_ctx: int  # AUTO_CONTEXT: by video memory
    max_queue: int | None = 512
    own_engine: tuple[str, ...] = ()  # families that Ollama's newer runner serves
    flash_attention: tuple[str, ...] = ()  # families that have it without being asked for
    lookahead: bool = False  # the next step is built while one computes
    penalises: bool = True  # repetition, by a default that no request and no model has to ask for


_FIRST = Release(FORK, (1,), 2048, max_queue=None)
_QUEUE = replace(_FIRST, max_queue=512)
_FOUR = replace(_QUEUE, parallel=(4, 1))
_RUNNERS = replace(_FOUR, era=RUNNERS)
_NEWER_RUNNER = replace(_RUNNERS, own_engine=("gemma3", "mistral3", "mllama"))
_TWO = replace(_NEWER_RUNNER, parallel=(2, 1), num_ctx=4096)
_ONE = replace(_TWO, parallel=(1,), own_engine=("gemma3", "gemma3n", "mistral3", "llama4", "mllama", "qwen25vl"))
_AHEAD = replace(_ONE, lookahead=True)
_QWEN3 = replace(
    _AHEAD,
    own_engine=(*_ONE.own_engine, "gptoss", "gpt-oss", "qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe"),
    flash_attention=("gptoss", "gpt-oss", "qwen3", "qwen3moe"),
)
_TIERS = replace(_QWEN3, num_ctx=AUTO_CONTEXT)
_UPSTREAM = Release(LLAMA_SERVER, (1,), AUTO_CONTEXT)
_LENIENT = replace(_UPSTREAM, penalises=False)

# Settings by tag and commit in ollama/ollama: parallel 4 or 1 from 9929751 (0.2.0), 2 or 1 from fe5b9bb (0.6.7), 1 from
# 20c3266 (0.10.0); queue from 20f6c06 (0.1.34); context 4096 from 44b466e (0.6.7), by memory from 0334ffa (0.15.5);
# lookahead from 517807c (0.11.9); qwen3 with flash attention from PR 12482 (2025-10, taken as 0.12.4); repeat_penalty
# 1.1 until 6a261db (0.32.10), but for 86513cb (0.17.5) to 54e0517 (0.18.0).
RELEASES = Releases(
    "Ollama",
    {
        "0.1.33": _FIRST,
        "0.1.34": _QUEUE,
        "0.2.0": _FOUR,
        "0.4.0": _RUNNERS,
        "0.6.0": _NEWER_RUNNER,
        "0.6.7": _TWO,
        "0.10.0": _ONE,
        "0.11.9": _AHEAD,
        "0.12.4": _QWEN3,
        "0.15.5": _TIERS,
        "0.17.5": replace(_TIERS, penalises=False),
        "0.18.0": _TIERS,
        "0.30.0": _UPSTREAM,
        "0.32.10": _LENIENT,
    },
    too_old="serves one request at a time",
)

# One request at a time, whatever OLLAMA_NUM_PARALLEL says.
SERIAL_FAMILIES = frozenset(
    [
        *("bert", "nomic-bert"),  # embeddings only
        *("mllama", "qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe", "qwen3next", "lfm2", "lfm2moe"),
        *("nemotron_h", "nemotron_h_moe", "nemotron_h_omni"),
    ]
)
UNSHIFTED_FAMILIES = frozenset(["deepseek2"])  # upstream's server is not asked to shift their context
CONTEXT_TIERS = ((47 * GIB, 262_144), (23 * GIB, 32_768), (0, 4096))  # total video memory -> context
LEAST_CONTEXT = 4
USUAL_BATCH = 512

# Era C's own batch size: (slots x context up to, batch). A larger batch must leave more of the memory free.
BATCH_TIERS = ((4096, 512), (32_768, 1024), (None, 2048))
USABLE_SHARE = 0.8
BATCH_SHARE = {1024: 0.75, 2048: 0.6}
BATCH_SURCHARGE = {1024: 768 * MIB, 2048: 2 * GIB}


def default_context(release: Release, gpus: tuple[Gpu, ...]) -> int:
    """The context of a slot: a constant, or by the video memory of all cards together."""
    if release.num_ctx != AUTO_CONTEXT:
        return release.num_ctx
    total = sum(gpu.memory_bytes for gpu in gpus)
    return next(context for least, context in CONTEXT_TIERS if total >= least)


def automatic_batch(
    gpus: tuple[Gpu, ...], model: Model, context: int, weight_bytes: int, free_bytes: int, flash_attention: bool
) -> int:
    """Era C's batch when none is asked for; `context` is that of all slots together.

    The prediction counts 16-bit keys and values whatever their type, as the engine's own does.
    """
    nvidia = [gpu for gpu in gpus if gpu.vendor == "nvidia"]
    if nvidia and not flash_attention:
        small = context > 4096 and any(gpu.memory_bytes <= 8 * GIB for gpu in nvidia)
        return 256 if small else USUAL_BATCH
    batch = next(batch for most, batch in BATCH_TIERS if most is None or context <= most)
    predicted = weight_bytes + 2 * model.layers * model.kv_heads * (model.hidden // model.heads) * context * 2
    while batch > USUAL_BATCH and not _leaves_room(batch, predicted, free_bytes):
        batch //= 2
    return batch


def _leaves_room(batch: int, predicted: int, free_bytes: int) -> bool:
    if predicted > BATCH_SHARE[batch] * free_bytes:
        return False
    return predicted + BATCH_SURCHARGE[batch] <= USABLE_SHARE * free_bytes
