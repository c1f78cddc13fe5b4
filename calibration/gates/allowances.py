"""What engines do that lets them read or compute less than a request seems to ask for, as far as a point tells."""

import re

from calibration.points import Point

GUESSES = re.compile(r"specul|draft|\bmtp|eagle|medusa|lookahead|n-?gram|prompt-lookup", re.IGNORECASE)
COMPUTES_ALL = re.compile(
    r"no-enable-prefix-caching|enable.prefix.caching.{1,3}false|disable-radix-cache|no-cache-prompt", re.IGNORECASE
)
STRETCHES = re.compile(r"rope|yarn|max-model-len|hf-overrides", re.IGNORECASE)
OFFLOADS = re.compile(r"offload", re.IGNORECASE)
HOST_ALONE = re.compile(r"(n-gpu-layers|ngl|num.gpu)\s*=\s*0\b", re.IGNORECASE)
REUSE_BY_DEFAULT = ("vllm", "sglang")  # what a prompt has in common with another is computed once
FORWARD_ALONE = ("decode_step", "prefill", "microbatch")  # benches that run a model without serving it
SPILL = ("llama.cpp", "ollama")  # they leave on the host what does not fit


def guesses_tokens(point: Point) -> bool:
    """Several tokens may come of one pass over the weights."""
    return bool(GUESSES.search(f"{point.engine_options} {point.notes} {point.model}"))


def computes_prompts(point: Point) -> bool:
    """Every prompt is computed: nothing of an earlier one, or of the one beside it, can be used again."""
    if COMPUTES_ALL.search(point.engine_options):
        return True
    return point.load == "offline" and point.engine not in REUSE_BY_DEFAULT


def holds_all_weights(point: Point) -> bool:
    """The cards hold the whole model."""
    return point.engine not in SPILL and not OFFLOADS.search(f"{point.engine_options} {point.notes}")


def keeps_trained_context(point: Point) -> bool:
    """The engine refuses what is longer than the model was trained for; others shift, stretch or truncate."""
    if point.load in FORWARD_ALONE or point.engine in SPILL:
        return False
    asked = (point.prompt_tokens or 0.0) + (point.output_tokens or 0.0)
    made_for_it = point.context is not None and point.context >= asked
    return not made_for_it and not STRETCHES.search(f"{point.engine_options} {point.notes}")


def computes_on_cards(point: Point) -> bool:
    """The cards are not left aside altogether."""
    return not HOST_ALONE.search(point.engine_options)
