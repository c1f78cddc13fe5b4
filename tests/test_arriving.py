"""Requests that come at a rate tell a step's time as users kept in flight do: by how many are answered at once."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.fit import predicted_errors
from calibration.fitting.observations import Observation, observe
from calibration.points import Point
from calibration.profile import load
from tests.test_fit_and_price_agree import priced

CHAT = Point(
    "own",
    "vllm",
    "poisson",
    1.0,
    "0.12.0",
    gpu="rtx-4090",
    model="llama-3.1-8b",
    weights="bf16",
    slots=64,
    prompt_tokens=200,
    output_tokens=200,
    tpot_ms_mean=25.0,
)


def seen(point: Point) -> Observation:
    (found,), _ = observe([point])
    return found


@given(st.floats(0.1, 8.0), st.floats(20.0, 30.0))
def test_a_rate_is_so_many_users_in_flight_and_the_one_who_comes(rate: float, tpot_ms: float) -> None:
    at_a_rate = seen(replace(CHAT, load_value=rate, tpot_ms_mean=tpot_ms, model="llama-3.2-1b"))
    users = 1 + rate * 200 * tpot_ms / 1e3
    in_flight = replace(CHAT, load="closed", load_value=users, tpot_ms_mean=tpot_ms, model="llama-3.2-1b")
    for (often, work), (expected, as_known) in zip(at_a_rate.passes, seen(in_flight).passes, strict=True):
        assert (often, *work) == pytest.approx((expected, *as_known))


@pytest.mark.parametrize("load_kind", ["poisson", "constant"])
@pytest.mark.parametrize("rate", [0.5, 2.0, 4.0])
def test_what_was_simulated_at_a_rate_is_read_as_it_was_priced(load_kind: str, rate: float) -> None:
    point = replace(CHAT, load=load_kind, load_value=rate)
    measured = replace(point, tpot_ms_mean=priced([point])[0])
    (error,) = predicted_errors(load("measured"), [seen(measured)])
    assert abs(error) < 0.06


def test_where_requests_waited_for_others_nothing_is_told() -> None:
    crowded = replace(CHAT, load_value=12.0)  # 60 at once and 64 places
    used, left = observe([crowded, replace(crowded, slots=96)])
    assert not used[0].of_prompts
    assert [why for _, why in left] == ["more streams than run at once"]
