"""What every reported metric means, in words that travel with the numbers."""

from typing import NamedTuple


class Definition(NamedTuple):
    """How a metric is computed, what it is weighted by, and what it is taken over."""

    formula: str
    weighting: str
    window: str


_MEASURED = "requests whose number lies between warm-up and cool-down, whenever they end"
_WINDOW = (
    "from the arrival of the first request after warm-up to the arrival of the first cool-down request, "
    "or to the last end where there is no cool-down"
)
_BY_REQUEST = "each request counts once"
_PERCENTILES = (
    "; percentiles interpolate linearly between samples, and are called thin with fewer than 10/(1-p) samples"
)

METRIC_DEFINITIONS = {
    "window_s": Definition("end of the measured window - its start", "none", _WINDOW),
    "requests": Definition(
        "attempts that ended in any way, and attempts never answered; a retry is an attempt of its own",
        _BY_REQUEST,
        _MEASURED,
    ),
    "outcomes": Definition(
        "attempts by end state: finished, length, rejected, failed, timed out, aborted; with those never answered "
        "they sum to the attempts",
        _BY_REQUEST,
        _MEASURED,
    ),
    "attainment": Definition(
        "attempts that were answered to the end and met every SLO / attempts; one without a first token misses TTFT",
        _BY_REQUEST,
        _MEASURED,
    ),
    "goodput": Definition("attempts that met every SLO / window_s", _BY_REQUEST, _MEASURED),
    "output_tps": Definition(
        "output tokens emitted in the window / window_s, whichever request they belong to", "each token once", _WINDOW
    ),
    "completed_tps": Definition(
        "output tokens of the answers completed in the window / window_s", "each token once", _WINDOW
    ),
    "request_rate": Definition("answers completed in the window / window_s", _BY_REQUEST, _WINDOW),
    "ttft_ms": Definition(
        "first token - arrival at the server, all waiting included, of attempts that got a first token" + _PERCENTILES,
        _BY_REQUEST,
        _MEASURED,
    ),
    "tpot_ms": Definition(
        "(E2E - TTFT) / (output tokens - 1), of answered requests with two tokens or more" + _PERCENTILES,
        _BY_REQUEST,
        _MEASURED,
    ),
    "itl_ms": Definition(
        "every gap between consecutive tokens of a request, pooled; an interruption is one long gap" + _PERCENTILES,
        "each gap counts once, so long answers weigh more",
        f"gaps that end inside the window, whichever request they belong to: {_WINDOW}",
    ),
    "stall_ms": Definition(
        "the longest gap between consecutive tokens, of answered requests with two tokens or more" + _PERCENTILES,
        _BY_REQUEST,
        _MEASURED,
    ),
    "e2e_ms": Definition("last token - arrival, of answered requests" + _PERCENTILES, _BY_REQUEST, _MEASURED),
    "queue_ms": Definition(
        "front: passing the front door - arrival; engine: first admission to the batch - passing the front door; means",
        _BY_REQUEST,
        _MEASURED,
    ),
    "ttft_breakdown_ms": Definition(
        "mean TTFT split by what the time went to: the front door, the engine's queue, and after admission the "
        "request's own prompt, others' prompts in the same steps, decoding, interruption, layers on the host; "
        "the parts sum to the mean TTFT",
        _BY_REQUEST,
        _MEASURED,
    ),
    "running": Definition(
        "requests between first admission and end, preempted ones included; mean and maximum", "by time", _WINDOW
    ),
    "waiting": Definition(
        "requests between arrival and first admission, at the front door or in the engine; mean and maximum",
        "by time",
        _WINDOW,
    ),
    "kv_used": Definition(
        "KV cells that hold a token / capacity; mean and maximum of the samples",
        "one sample every eight decisions that admit or interrupt somebody or compute a prompt",
        _WINDOW,
    ),
    "kv_waste": Definition(
        "KV cells / capacity that are reserved for tokens to come, internal (owned and never filled), "
        "or external (lost between allocations); means",
        "as kv_used",
        _WINDOW,
    ),
    "preemptions": Definition("times a running request had to give way and be recomputed", _BY_REQUEST, _MEASURED),
    "judgement": Definition(
        "pass when the 95% lower end of the attainment reaches the target, fail when its 95% upper end does not, "
        "else undecided; the interval is Student's over the batch means",
        "five consecutive batches of each seed, each counts once",
        _MEASURED,
    ),
    "binding": Definition(
        "the limit that takes the most of the latency nearest to its bound; none while that one is below half of it. "
        "TTFT: of the slowest 5%, by what they waited for at each instant. TPOT: of the average token",
        "by time",
        _WINDOW,
    ),
    "status": Definition(
        "unstable when an open-loop server answers less than 90% of what arrives, or when what stays of the arrivals "
        "is at least 2% and its 95% lower end is above 0",
        "five consecutive parts of the window of each seed, each counts once",
        _WINDOW,
    ),
    "trust": Definition(
        "how near to measurements the step times are: as their profile or step table is, and extrapolated where a step "
        "left what the table was measured for; a variant's is that of its worst point",
        "one step suffices",
        "every step, warm-up included",
    ),
    "low_high": Definition(
        "the lowest and the highest seed, not a confidence interval; between them counts are summed over the seeds "
        "and everything else is averaged",
        "each seed counts once",
        "all seeds of the point",
    ),
}
