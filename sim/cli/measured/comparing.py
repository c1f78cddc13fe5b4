"""A prediction laid beside what was measured, figure by figure."""

from calibration.points import Point
from calibration.profile import Profile
from calibration.validate import BAND_OF, Comparison, Figure, banded
from sim.cli.measured.case import Case
from sim.cli.measured.load import Passes, is_bench
from sim.cli.measured.outcome import Outcome
from sim.cli.measured.server import engine_of

SAME_SHARE = 0.03  # two statements of one rate differ by less
OTHER_RUN = 1.2  # a single-token answer takes at most so many times its first token

Pair = tuple[float | None, float | None]


def compared(case: Case, outcome: Outcome, profile: Profile, trust: str, held_out: str | None = None) -> Comparison:
    """The measurement beside its prediction, with the profile's bands."""
    point, variant = case.point, case.server.variant
    kernels = case.server.deployment.traits.kernels
    figures: dict[str, Figure] = {}
    for name, (seen, told) in pairs(point, case, outcome).items():
        if seen and told:
            figures[name] = banded(seen, told, profile.band(kernels, trust, BAND_OF[name]))
    return Comparison(
        row=case.row,
        source_id=point.source_id,
        engine=point.engine,
        gpu=variant.gpu,
        model=variant.model,
        weights=variant.weights or "",
        load=point.load,
        load_value=point.load_value,
        trust=trust,
        figures=figures,
        assumed=case.assumed,
        held_out=held_out,
    )


def pairs(point: Point, case: Case, outcome: Outcome) -> dict[str, Pair]:
    """Measured and predicted, by metric."""
    ttft = (point.ttft_ms_mean, outcome.ttft_ms)
    if point.ttft_ms_mean is None:
        ttft = (point.ttft_ms_p50, outcome.ttft_p50_ms)
    return {
        "output_tps": (point.output_tps, outcome.decode_tps if answers_alone(point, case) else outcome.output_tps),
        "ttft_ms": ttft,
        "tpot_ms": (point.tpot_ms_mean or point.itl_ms_mean, outcome.tpot_ms),
        "e2e_ms": (None if of_another_run(point) else point.e2e_ms_mean, outcome.e2e_ms),
    }


def answers_alone(point: Point, case: Case) -> bool:
    """Whether output_tps leaves the prompts' time out, as bench programs report it.

    Where the row has both times, the one that its rate agrees with decides.
    """
    if point.load not in ("single", "offline") or not point.output_tps:
        return False
    sequences = point.load_value
    by_step = point.tpot_ms_mean and sequences * 1000 / point.tpot_ms_mean
    by_batch = point.e2e_ms_mean and point.output_tokens and sequences * point.output_tokens * 1000 / point.e2e_ms_mean
    if by_batch and abs(by_batch / point.output_tps - 1) <= SAME_SHARE:
        return False
    if by_step and abs(by_step / point.output_tps - 1) <= SAME_SHARE:
        return True
    return isinstance(case.asked.run, Passes) and is_bench(point, engine_of(point))


def of_another_run(point: Point) -> bool:
    """Whether the end-to-end time stands beside a first token that was measured with answers of one token."""
    if point.output_tokens is None or point.output_tokens > 1 or not point.ttft_ms_mean or not point.e2e_ms_mean:
        return False
    return point.e2e_ms_mean > OTHER_RUN * point.ttft_ms_mean
