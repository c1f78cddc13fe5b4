"""What real servers did in two published stories happens here too, and memory is lost where it was lost."""

import statistics
from functools import cache
from itertools import pairwise

import pytest

from sim import compose
from tests.pages import alike_to_the_digit
from tests.slots import Simulated, measured, simulated
from tests.stories import (
    MEASURED_POOL,
    MEMORY,
    MODEL,
    PAGE,
    SERVERS,
    TOLD_SLOTS,
    Memory,
    Pool,
    full_step_ms,
    ollama,
    page,
    tell_longer,
    tell_memory,
    tell_pool,
)


def slots(count: int) -> Simulated:
    return simulated(MODEL, count)


@cache
def pool(users: int) -> Pool:
    return tell_pool(users)


@cache
def memory(server: str, slot_tokens: int, lengths: str) -> Memory:
    return tell_memory(server, slot_tokens, lengths)


# -- static slots


def test_the_slots_that_ran_well_fit_and_the_next_step_of_the_grid_does_not() -> None:
    assert [count for count in TOLD_SLOTS if slots(count).layers_on_host] == [22, 28]


def test_throughput_grows_with_the_slots_that_fit() -> None:
    assert slots(2).best * 1.3 < slots(4).best < slots(8).best < slots(15).best


def test_throughput_collapses_with_more_slots_than_fit() -> None:
    assert 1.8 < slots(15).best / slots(22).best < 8  # measured: 4.1
    assert 1.3 < slots(22).best / slots(28).best < 2.7  # measured: 1.8


def test_a_few_users_pay_for_slots_that_nobody_uses() -> None:
    assert slots(2).tok_s[2] == pytest.approx(slots(15).tok_s[2], rel=1e-3)
    assert 1.7 < slots(15).tok_s[2] / slots(22).tok_s[2] < 2.7  # measured: 2.2


@pytest.mark.parametrize("count", TOLD_SLOTS)
def test_slots_are_as_fast_as_measured_within_the_stated_error(count: int) -> None:
    one = next(one for one in measured()[MODEL] if one.slots == count)
    fits = one.slots <= 15
    assert (0.75 < slots(one.slots).best / one.best < 1.25) if fits else (0.5 < slots(one.slots).best / one.best < 2.2)
    if one.slots > 2:  # the measured pair on two slots is slower than on three, for no known reason
        assert 0.8 < slots(one.slots).tok_s[2] / one.tok_s[2] < 1.25


def test_shared_cells_are_read_once_for_all_rows() -> None:
    assert 50 < full_step_ms(readings=1) < 80  # measured: about 65
    assert full_step_ms(readings=15) > 1.8 * full_step_ms(readings=1)


def test_longer_slots_collapse_on_the_same_step_of_the_grid_where_a_release_measures() -> None:
    assert [compose.deploy(ollama(count)).memory.layers_on_host > 0 for count in (15, 22)] == [False, True]
    fifteen, more = tell_longer(15), tell_longer(22)
    assert fifteen[15] > 2 * more[22]
    assert 1.7 < fifteen[2] / more[2] < 2.7


# -- paged


def test_the_pool_is_as_fast_as_measured_within_twelve_percent() -> None:
    errors = [abs(pool(users).error_percent) for users in MEASURED_POOL]
    assert max(errors) <= 12
    assert statistics.median(errors) <= 6


def test_throughput_rises_until_the_pool_is_full_and_then_stays() -> None:
    rising = [pool(users).tok_s for users in (1, 10, 20, 30, 50)]
    assert all(more > 1.15 * less for less, more in pairwise(rising))
    assert all(abs(pool(users).tok_s / rising[-1] - 1) < 0.15 for users in (75, 100, 200))


def test_the_peak_is_where_it_was_measured() -> None:
    highest = max(pool(users).tok_s for users in MEASURED_POOL)
    assert next(users for users in MEASURED_POOL if pool(users).tok_s > 0.95 * highest) == 50


def test_requests_are_preempted_only_where_the_pool_cannot_hold_all_of_them() -> None:
    assert [users for users in MEASURED_POOL if pool(users).preemptions] == [50, 75, 100, 200]
    assert [tell_pool(users).preemptions for users in (45, 46)] == [0, 1]  # 5,866 blocks, 128 each
    assert pool(200).preemptions > pool(100).preemptions > pool(50).preemptions


# -- the memory figure


@pytest.mark.parametrize("row", MEMORY[:3])
def test_slots_reserved_to_the_maximum_use_a_fifth_to_two_fifths_of_their_memory(row: tuple[str, int, str]) -> None:
    assert 0.2 <= memory(*row).used <= 0.4


@pytest.mark.parametrize("row", [row for row in MEMORY if "vLLM" in row[0]])
def test_blocks_use_nearly_all_of_their_memory(row: tuple[str, int, str]) -> None:
    assert memory(*row).used > 0.95
    assert memory(*row).reserved == memory(*row).external == 0


def test_orca_and_blocks_use_what_the_paper_says_they_do() -> None:
    assert memory(*MEMORY[4]).used == pytest.approx(0.204, abs=0.02)
    assert memory(*MEMORY[5]).used == pytest.approx(0.963, abs=0.03)


def test_the_share_in_use_is_a_matter_of_the_slot_and_the_context() -> None:
    orca = next(iter(SERVERS))
    assert memory(orca, 2048, "chat").used == pytest.approx(0.43, abs=0.02)  # beyond two fifths
    assert memory(orca, 4096, "ShareGPT-like").used == pytest.approx(0.08, abs=0.02)  # under a fifth


@pytest.mark.parametrize("row", MEMORY)
def test_the_four_parts_are_all_of_the_memory_that_is_held(row: tuple[str, int, str]) -> None:
    one = memory(*row)
    assert one.used + one.reserved + one.internal + one.external == pytest.approx(1)


# -- the page


def test_the_page_shows_what_comes_out() -> None:
    alike_to_the_digit(PAGE.read_text(encoding="utf-8"), page())
