"""Claimed rates judged: does physics allow them, and what does the simulator say of such a server?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from calibration import catalog, profile
from calibration.claims import Claim, claims
from calibration.points import Point
from calibration.profile import Profile
from sim import compose
from sim.cli.measured.case import Case, cases
from sim.cli.measured.physics_gate import refusal
from sim.cli.measured.predictions import predictions
from sim.errors import SimctlError
from sim.variant import Variant

WIDENED = 1.25  # how far beyond the band a claim may lie that states so little
UNBANDED = (1 / 1.5, 1.5)  # where the profile knows no band
SLOT_CONTEXT = 4096  # of each, where there are several
ONCE_DEFAULT = 4  # slots of Ollama's releases from 0.2 to 0.6, where they fit
FEWEST_BITS = {"vllm": "awq", "ollama": "q4_k_m", "llama.cpp": "q4_k_m"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One way in which the claimed server may have been set up, and what it would do."""

    words: str
    predicted_tps: float | None = None
    low: float | None = None
    high: float | None = None
    refusal: str | None = None  # why physics forbids the claim for it
    failure: str | None = None  # why such a server does not answer


def judged(engines: Sequence[str], gpus: Sequence[str], profile_name: str | None) -> dict[str, Any]:
    """Every claim with its verdict."""
    used = profile.load(profile_name or compose.PROFILE)
    asked_engines, cards = {compose.fold(name) for name in engines}, {catalog.gpu(name).id for name in gpus}
    wanted = [
        claim
        for claim in claims()
        if (not engines or compose.fold(claim.engine) in asked_engines) and (not gpus or claim.gpu in cards)
    ]
    return {"claims": [_judged(claim, settings(claim, used)) for claim in wanted]}


# -- settings


def settings(claim: Claim, used: Profile) -> list[Setting]:
    """What the ways in which the server may have been set up come to."""
    return [_setting(words, point, used) for words, point in _ways(claim)]


def _ways(claim: Claim) -> Iterator[tuple[str, Point]]:
    """As installed; with fewer bits where the format is open; with a slot for every user where slots are static."""
    base = Point(
        source_id=claim.table,
        engine=claim.engine,
        load="single" if claim.users == 1 else "closed",
        load_value=claim.users,
        gpu=claim.gpu,
        model=claim.model,
        weights=claim.weights,
        prompt_tokens=claim.prompt_tokens,
        output_tokens=claim.output_tokens,
        output_tps=claim.output_tps,
    )
    usual = claim.weights or compose.default_weights(compose.engine_name(claim.engine), catalog.model(claim.model))
    yield f"as installed, {usual}", replace(base, weights=usual)
    if claim.engine == "ollama" and claim.users > 1:
        most = fitting_slots(claim, usual)
        for slots in sorted({min(ONCE_DEFAULT, most), most}):
            yield f"{slots} slots, {usual}", replace(base, weights=usual, slots=slots, context=SLOT_CONTEXT)
    elif not claim.weights and FEWEST_BITS[claim.engine] != usual:
        yield f"as installed, {FEWEST_BITS[claim.engine]}", replace(base, weights=FEWEST_BITS[claim.engine])


def fitting_slots(claim: Claim, weights: str) -> int:
    """A slot for every user, or as many as leave every layer on the GPU."""
    fitting, too_many = 1, claim.users + 1
    while too_many - fitting > 1:
        middle = (fitting + too_many) // 2
        options = {"num_parallel": middle, "num_ctx": SLOT_CONTEXT}
        variant = Variant("claim", "ollama", claim.gpu, claim.model, weights=weights, options=options)
        try:
            fits = compose.deploy(variant).memory.layers_on_host == 0
        except SimctlError:
            fits = False
        fitting, too_many = (middle, too_many) if fits else (fitting, middle)
    return fitting


def _setting(words: str, point: Point, used: Profile) -> Setting:
    forbidden = refusal(point, point.weights) if point.output_tps else None
    found, unmapped = cases([(0, point)], lambda *_: None)
    if not found:
        return Setting(words, refusal=forbidden, failure=unmapped[0].reason)
    return _simulated(words, found[0], used, forbidden)


def _simulated(words: str, case: Case, used: Profile, forbidden: str | None) -> Setting:
    (told,) = predictions([case], [used], 1, lambda *_: None)
    if isinstance(told.outcome, str):
        return Setting(words, refusal=forbidden, failure=told.outcome)
    kernels = case.server.deployment.traits.kernels
    rate, (low, high) = told.outcome.output_tps, used.band(kernels, told.trust, "throughput")
    if low == high:
        low, high = UNBANDED
    return Setting(words, rate, rate * low / WIDENED, rate * high * WIDENED, forbidden)


# -- verdicts


def _judged(claim: Claim, found: Sequence[Setting]) -> dict[str, Any]:
    verdict, factor, words = judge(claim, found)
    return {
        "table": claim.table,
        "quoted": claim.quoted,
        "engine": claim.engine,
        "gpu": claim.gpu,
        "model": claim.model,
        "weights": claim.weights or None,
        "users": claim.users,
        "prompt_tokens": claim.prompt_tokens,
        "output_tokens": claim.output_tokens,
        "claimed_tps": claim.output_tps,
        "at_least": claim.at_least,
        "verdict": verdict,
        "factor": factor,
        "why": words,
        "predicted": [
            {"setting": each.words, "output_tps": each.predicted_tps, "low": each.low, "high": each.high}
            for each in found
        ],
        "notes": claim.notes,
    }


def judge(claim: Claim, found: Sequence[Setting]) -> tuple[str, float | None, str]:
    """Verdict, claimed over predicted by the setting that comes nearest, and a sentence."""
    if claim.output_tps is None:
        return _judge_failure(found)
    forbidden = [each.refusal for each in found if each.refusal is not None]
    if len(forbidden) == len(found):
        return "against physics", None, "; ".join(dict.fromkeys(forbidden))
    open_ones = [each for each in found if each.refusal is None and each.predicted_tps is not None]
    if not open_ones:
        return "off", None, f"predicted to fail: {found[0].failure}"
    nearest = min(open_ones, key=lambda each: _distance(claim, each))
    assert nearest.predicted_tps is not None
    factor = claim.output_tps / nearest.predicted_tps
    told = f"{nearest.words}: predicted {_rate(nearest.predicted_tps)}, claimed {_rate(claim.output_tps)}"
    if _distance(claim, nearest) <= 1:
        return "plausible", factor, told
    times = f"{factor:.1f} times the prediction" if factor > 1 else f"the prediction is {1 / factor:.1f} times that"
    return "off", factor, f"{told}: {times}"


def _distance(claim: Claim, setting: Setting) -> float:
    """How many times the claim lies outside what the setting allows; 1 or less inside."""
    claimed, low, high = claim.output_tps or 0.0, setting.low or 0.0, setting.high or 0.0
    below = claimed / high
    return below if claim.at_least else max(below, low / claimed)


def _judge_failure(found: Sequence[Setting]) -> tuple[str, float | None, str]:
    failing = [each for each in found if each.failure is not None]
    if failing:
        return "plausible", None, f"{failing[0].words}: {failing[0].failure}"
    told = ", ".join(f"{each.words}: {_rate(each.predicted_tps or 0)}" for each in found)
    return "off", None, f"claimed to fail; predicted to answer everybody, late ({told})"


def _rate(tps: float) -> str:
    return f"{tps:,.0f} tok/s"
