"""The physics gate: whether a card could have done what a measurement says, and the arithmetic where it could not."""

from collections.abc import Iterator

from calibration.gates.allowances import (
    computes_on_cards,
    computes_prompts,
    guesses_tokens,
    holds_all_weights,
    keeps_trained_context,
)
from calibration.gates.impossible import (
    Impossible,
    too_large,
    too_many_bytes,
    too_many_flops,
    too_soon_for_bytes,
    too_soon_for_flops,
)
from calibration.gates.limits import Limits
from calibration.points import Point

MEMBERS = {"single": "user", "closed": "user", "burst": "request", "offline": "request", "decode_step": "row"}
PROMPT_PASSES = ("prefill", "microbatch")


def first_impossible(point: Point, limits: Limits) -> Impossible | None:
    """The first figure of the point that is beyond the limits, or None. Every doubt is decided for the point."""
    return next((found for found in _checks(point, limits) if found), None)


def _checks(point: Point, limits: Limits) -> Iterator[Impossible | None]:
    yield _context(point, limits)
    if holds_all_weights(point):
        yield too_large("weights", limits)
    if not computes_on_cards(point):
        return
    yield _rate_by_flops(point, limits)
    if point.load in PROMPT_PASSES:
        yield from _prompt_pass(point, limits)
        return
    if not guesses_tokens(point):
        yield _rate_by_bytes(point, limits)
        yield from _token_times(point, limits)
    yield from _first_token(point, limits)


def _context(point: Point, limits: Limits) -> Impossible | None:
    prompt, output = point.prompt_tokens or 0.0, point.output_tokens or 0.0
    if prompt + output <= limits.model.max_context or not keeps_trained_context(point):
        return None
    why = f"{prompt:g} + {output:g} tokens for {limits.model.id}, whose context is {limits.model.max_context:,}"
    return Impossible("prompt_tokens", why)


def _rate_by_bytes(point: Point, limits: Limits) -> Impossible | None:
    """Tokens a second against the weights and the KV cells that each step reads."""
    rows = _rows_at_once(point)
    if point.output_tps is None or rows is None:
        return None
    steps_s = point.output_tps * _decoded_share(point) / rows
    members = f"{rows:g} {MEMBERS[point.load]}{'s' * (rows > 1)}"
    what = f"{point.output_tps:,.4g} tok/s for {limits.setting} at {members}"
    return too_many_bytes("output_tps", what, steps_s * _step_bytes(point, limits, rows), limits)


def _rate_by_flops(point: Point, limits: Limits) -> Impossible | None:
    """Tokens a second against their arithmetic; that of the prompts is in an offline batch's time too."""
    if point.output_tps is None:
        return None
    per_token = limits.body_flops if point.load in PROMPT_PASSES else limits.token_flops * _decoded_share(point)
    if point.load == "offline" and point.output_tokens and computes_prompts(point) and "decode" not in point.notes:
        per_token += limits.prompt_flops(point.prompt_tokens or 0.0) / point.output_tokens
    what = f"{point.output_tps:,.4g} tok/s for {limits.setting}"
    return too_many_flops("output_tps", what, point.output_tps * per_token, limits)


def _token_times(point: Point, limits: Limits) -> Iterator[Impossible | None]:
    """The times of tokens and of answers against the passes over the weights that they take at the least."""
    # tools that divide by all tokens, not by the gaps between them, make the time of one shorter
    rows = point.load_value if point.load == "decode_step" else 1
    read = _step_bytes(point, limits, rows) * _decoded_share(point)
    yield too_soon_for_bytes("tpot_ms_mean", "a token every", point.tpot_ms_mean, read, limits)
    yield too_soon_for_bytes("itl_ms_mean", "a token every", point.itl_ms_mean, read, limits)
    passes = max(1.0, point.output_tokens or 1.0)
    answer = f"an answer of {passes:g} token{'s' * (passes > 1)} in"
    yield too_soon_for_bytes("e2e_ms_mean", answer, point.e2e_ms_mean, limits.pass_bytes * passes, limits)


def _first_token(point: Point, limits: Limits) -> Iterator[Impossible | None]:
    """The time of first tokens: one pass over the weights, and the prompts' arithmetic where all of it is done."""
    for field, ms in (("ttft_ms_mean", point.ttft_ms_mean), ("ttft_ms_p50", point.ttft_ms_p50)):
        yield too_soon_for_bytes(field, "a first token after", ms, limits.pass_bytes, limits)
    if computes_prompts(point) and point.prompt_tokens:
        # of a batch, the first prompt waits for itself and the last one for all
        prompts = (point.load_value + 1) / 2 if point.load == "offline" else 1.0
        what = f"{prompts:g} prompt{'s' * (prompts > 1)} of {point.prompt_tokens:g} tokens in"
        flops = prompts * limits.prompt_flops(point.prompt_tokens)
        yield too_soon_for_flops("ttft_ms_mean", what, point.ttft_ms_mean, flops, limits)


def _prompt_pass(point: Point, limits: Limits) -> Iterator[Impossible | None]:
    """The time of a step of prompt tokens, as benches of kernels take it; several prompts may make up its tokens."""
    length = min(point.prompt_tokens or point.load_value, point.load_value)
    flops = limits.body_flops * point.load_value
    if point.load == "prefill":
        flops = limits.prompt_flops(length) * point.load_value / length
    what = f"{point.load_value:g} prompt token{'s' * (point.load_value > 1)} in"
    field, ms = (
        ("ttft_ms_mean", point.ttft_ms_mean) if point.load == "prefill" else ("tpot_ms_mean", point.tpot_ms_mean)
    )
    yield too_soon_for_bytes(field, what, ms, limits.body_bytes, limits)
    yield too_soon_for_flops(field, what, ms, flops, limits)


def _rows_at_once(point: Point) -> float | None:
    """The most sequences that the steps of all cards can hold; None where the load does not bound them."""
    if point.load not in MEMBERS:
        return None
    return min(point.load_value, point.slots * point.gpu_count if point.slots else point.load_value)


def _decoded_share(point: Point) -> float:
    """The part of the tokens that took a decode step: the first comes of the prompt."""
    output = point.output_tokens
    return 1.0 if point.load == "decode_step" or not output or output <= 1 else (output - 1) / output


def _step_bytes(point: Point, limits: Limits, rows: float) -> float:
    """Weights once, and each row's cells; of prompts that may be one and the same, only what was added to them."""
    own = point.load in ("single", "offline", "decode_step")
    held = (point.depth_tokens or 0.0) + (point.prompt_tokens or 0.0) if own else 0.0
    return limits.pass_bytes + rows * limits.kv_bytes(held + (point.output_tokens or 0.0) / 2)
