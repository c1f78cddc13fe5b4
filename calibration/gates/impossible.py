"""A demand on the cards that exceeds what they have, said in a sentence with the arithmetic."""

from dataclasses import dataclass

from calibration.gates.limits import GIGA, TERA, Limits

SLACK = 1.03  # of measuring and of rounding


@dataclass(frozen=True, slots=True)
class Impossible:
    """A figure that no engine can reach, by its column, and why."""

    field: str
    why: str


def too_many_bytes(field: str, what: str, bytes_s: float, limits: Limits) -> Impossible | None:
    """A rate of reading that is beyond the memory's."""
    if bytes_s <= SLACK * limits.bandwidth:
        return None
    needs = f"needs {_three(bytes_s / TERA)} TB/s at {limits.weight_bits:.1f} bits"
    return Impossible(field, f"{what} {needs}; {limits.owner} {_three(limits.bandwidth / TERA)}")


def too_many_flops(field: str, what: str, flops_s: float, limits: Limits) -> Impossible | None:
    """A rate of computing that is beyond the cards'."""
    if flops_s <= SLACK * limits.flops:
        return None
    needs = f"needs {_three(flops_s / TERA)} TFLOPS at {limits.weight_bits:.1f} bits"
    return Impossible(field, f"{what} {needs}; {limits.owner} {_three(limits.flops / TERA)} at the most")


def too_soon_for_bytes(field: str, what: str, ms: float | None, read: float, limits: Limits) -> Impossible | None:
    """A time in which so many bytes cannot be read; a time that was not measured is never too soon."""
    return too_many_bytes(field, _timed(what, ms, limits), read / (ms / 1e3), limits) if ms else None


def too_soon_for_flops(field: str, what: str, ms: float | None, flops: float, limits: Limits) -> Impossible | None:
    """A time in which so much cannot be computed."""
    return too_many_flops(field, _timed(what, ms, limits), flops / (ms / 1e3), limits) if ms else None


def too_large(field: str, limits: Limits) -> Impossible | None:
    """Weights that the memory of all cards together cannot hold."""
    if limits.weight_bytes <= SLACK * limits.memory_bytes:
        return None
    takes = f"{limits.model.id} takes {limits.weight_bytes / GIGA:,.1f} GB at {limits.weight_bits:.1f} bits"
    return Impossible(field, f"{takes}; {limits.owner} {limits.memory_bytes / GIGA:,.1f}")


def _timed(what: str, ms: float | None, limits: Limits) -> str:
    return f"{what} {ms:.4g} ms for {limits.setting}"


def _three(value: float) -> str:
    """A number to three figures, written out; a half is rounded up, as a reader would."""
    value *= 1 + 1e-9
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
