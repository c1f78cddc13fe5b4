"""A cause in words: how much of the time behind the broken bound is owed to it."""

from sim.cause import WAITS, Account, Limit
from sim.cli.explained import Explanation
from sim.cli.variants import Prepared
from sim.waits import seats

MS = 1000
WHOLE = {
    "ttft": "the slowest first tokens' {}",
    "finished": "the slowest first tokens' {}",
    "e2e": "an answer's {}",
    "tpot": "the {} that a token takes",
    "stall": "the {} that others add to a token",
}


def reason(row: Prepared, told: Explanation) -> str | None:
    """`1.6 s of the slowest first tokens' 2.1 s are waits for one of 8 places in the batch`.

    Where something else is felt, and yet the cause is what those inside are busy with, both are said.
    """
    felt, cause = told.account, told.cause
    if told.lost is not None:
        return told.lost
    if felt is None or cause is None or row.deployment is None:
        return None
    if not felt.owed:
        return what(cause, None)
    places = seats(row.deployment)
    first = felt.owed[0].limit
    follows = first in WAITS or not felt.seconds(cause)
    if cause == first or not follows or told.service is None:
        return _share(felt, cause, places)
    busy = told.service.seconds(cause) / told.service.total_s if told.service.total_s else 0.0
    return f"{_share(felt, first, places)}, and those inside spend {busy:.0%} of their time on {what(cause, places)}"


def _share(seen: Account, limit: Limit, places: int | None) -> str:
    whole = WHOLE[seen.bound].format(_time(seen.total_s))
    return f"{_time(seen.seconds(limit))} of {whole} are {what(limit, places)}"


def what(limit: Limit, places: int | None) -> str:
    """What the time was spent on."""
    if limit == "seq_slots" and places:
        return "waits for the only place" if places == 1 else f"waits for one of the {places} places"
    return {
        "queue": "waits before the engine",
        "context": "prompts beyond the context",
        "seq_slots": "waits for a place in the batch",
        "kv_blocks": "waits for KV memory",
        "prefill_budget": "prompts being computed",
        "decode_rate": "decode steps of the GPU",
        "spill": "layers on the host",
        "host_overhead": "the host's own work between steps",
    }[limit]


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * MS:.3g} ms"
