"""What the fit predicts of a measured pass is what the simulator prices it at: one physics, written twice."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from calibration.fit import predicted_errors
from calibration.fitting.observations import Observation, observe
from calibration.points import Point
from calibration.profile import load
from calibration.scopes import PCIE
from calibration.sources import fitted_points
from sim.cli.measured.case import cases
from sim.cli.measured.predictions import predictions

SINGLE_PASSES = ("decode_step", "prefill")
FIGURES = {"prefill": "ttft_ms", "offline": "e2e_ms"}
ROUNDED = 1e-4  # of prices, to picoseconds a cell
ALIKE = 1e-3  # of batches, whose steps grow in the simulator and have one mean length in the fit


def observed() -> list[Observation]:
    """Every fitted measurement of single passes, without the work of the host and without a laboratory's own board."""
    found, _ = observe(point for point in fitted_points() if point.load in SINGLE_PASSES)
    return [one for one in found if not one.hosted and one.family.link != PCIE]


def possible(_point: Point, _weights: str) -> None:
    """Whatever physics says."""


def silent(_done: int, _of: int) -> None:
    """No progress."""


def priced(points: Sequence[Point]) -> list[float]:
    """What the simulator says of each: milliseconds."""
    found, unmapped = cases(list(enumerate(points)), possible)
    assert not unmapped
    told = predictions(found, [load("measured")] * len(found), 1, silent)
    return [getattr(one.outcome, FIGURES.get(point.load, "tpot_ms")) for one, point in zip(told, points, strict=True)]


@pytest.fixture(scope="module")
def both() -> tuple[list[Observation], np.ndarray, np.ndarray]:
    observations = observed()
    fitted = np.exp(predicted_errors(load("measured"), observations)) * [one.measured_s for one in observations]
    return observations, fitted, np.array(priced([one.point for one in observations])) / 1e3


def test_a_measured_pass_is_priced_as_it_was_fitted(both: tuple[list[Observation], np.ndarray, np.ndarray]) -> None:
    observations, fitted, simulated = both
    assert len(observations) > 1500
    apart = np.abs(simulated / fitted - 1)
    worst = int(apart.argmax())
    assert apart[worst] < ROUNDED, observations[worst].point


def test_experts_windows_latents_and_embeddings_are_among_them(
    both: tuple[list[Observation], np.ndarray, np.ndarray],
) -> None:
    observations = both[0]
    assert any(one.family.experts for one in observations)
    assert any(one.family.latent for one in observations)
    assert any(one.facts.window > 1 for one in observations)
    assert {one.family.kernels for one in observations} == {"vllm", "llama.cpp"}


def test_a_batch_whose_prompts_were_kept_lasts_as_long_as_it_was_fitted() -> None:
    batches, _ = observe(point for point in fitted_points() if point.load == "offline" and point.depth_tokens)
    sample = batches[:: len(batches) // 12]
    fitted = np.exp(predicted_errors(load("measured"), sample)) * [one.measured_s for one in sample]
    assert priced([one.point for one in sample]) == pytest.approx((1e3 * fitted).tolist(), rel=ALIKE)


def test_kept_prompts_shorten_a_batch_by_their_passes_and_by_nothing_else() -> None:
    kept = next(point for point in fitted_points() if point.load == "offline" and point.depth_tokens)
    whole = replace(kept, prompt_tokens=(kept.prompt_tokens or 0) + (kept.depth_tokens or 0), depth_tokens=None)
    (known,), (computed,) = observe([kept])[0], observe([whole])[0]
    assert known.passes[-1] == computed.passes[-1]
    for point, one in ((kept, known), (whole, computed)):
        assert sum(times * work.prompt for times, work in one.passes) == point.load_value * (point.prompt_tokens or 0)
