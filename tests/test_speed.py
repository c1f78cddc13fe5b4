"""Cost grows with requests, not with tokens, batch size or history. Ratios within one run, with room for noise."""

import pytest

from policies.engines import llama_cpp, vllm
from tests.benchmark import deployed, loop, prefix_cost_a_block, tight, timed

pytestmark = pytest.mark.slow

NOISE = 3.0  # a busy machine


@pytest.mark.parametrize("users", [1, 8, 32, 128])
def test_a_request_costs_few_bare_timeouts(users: int) -> None:
    assert timed(loop(deployed(vllm, enable_prefix_caching=False), users, 3000)).timeouts <= 30 * NOISE


def test_preemption_costs_little_more() -> None:
    timing = timed(tight(loop(deployed(vllm, enable_prefix_caching=False), 128, 3000), 0.6))
    assert timing.result.replicas[0].preemptions > 300
    assert timing.timeouts <= 60 * NOISE


def test_remembering_content_costs_at_most_a_timeout_a_block() -> None:
    assert prefix_cost_a_block(loop(deployed(vllm, enable_prefix_caching=False), 32, 3000)) <= 1


def test_slots_cost_no_more_than_pages() -> None:
    assert timed(loop(deployed(llama_cpp, parallel=8, ctx_size=8 * 8192), 128, 3000)).timeouts <= 30 * NOISE


def test_long_answers_cost_what_short_ones_do() -> None:
    paged = deployed(vllm, enable_prefix_caching=False)
    short, long = (timed(loop(paged, 8, 1000, "128", answer)) for answer in ("256", "8192"))
    assert long.timeouts <= 1.5 * NOISE * short.timeouts


def test_the_thousandth_request_costs_what_the_hundred_thousandth_does() -> None:
    paged = deployed(vllm, enable_prefix_caching=False)
    few, many = timed(loop(paged, 128, 1_000)), timed(loop(paged, 128, 30_000), repeats=1)
    assert many.timeouts <= 1.5 * NOISE * few.timeouts
