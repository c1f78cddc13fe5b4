"""What a user types with a unit means one number, or an error that says what to type instead."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.errors import UsageError
from workloads.units import (
    number_text,
    parse_count,
    parse_duration,
    parse_number,
    parse_size,
    parse_user_grid,
    to_ps,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10),
        ("10m", 600),
        ("10min", 600),
        ("2h", 7200),
        ("1d", 86400),
        ("250us", 250e-6),
        ("250µs", 250e-6),
        ("3ns", 3e-9),
        (" 1.5 s ", 1.5),
        (".5s", 0.5),
        ("1e3ms", 1),
        ("0", 0),
        ("0s", 0),
    ],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("40GiB", 40 * 2**30),
        ("512MiB", 512 * 2**20),
        ("24GB", 24 * 10**9),
        ("24gb", 24 * 10**9),
        ("1.5 KiB", 1536),
        ("7b", 7),
        ("2TiB", 2 * 2**40),
        ("2TB", 2 * 10**12),
        ("3MB", 3 * 10**6),
        ("3kB", 3000),
    ],
)
def test_a_size_is_read_as_bytes_and_gib_differs_from_gb(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-5s", "negative"),
        ("10", "needs a unit"),
        ("10 parsecs", "needs a unit"),
        ("nan", "not a number"),
        ("nans", "not a number"),
        ("inf s", "not a number"),
        ("1e999s", "not a number"),
        ("", "not a number"),
        ("soon", "not a number"),
        ("1s2", "not a number"),
    ],
)
def test_a_duration_without_meaning_is_refused_with_the_flag_named(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"--think '.*' .*{reason}"):
        parse_duration(text, "--think")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-1GiB", "negative"),
        ("40", "needs a unit"),
        ("40G", "needs a unit"),
        ("0GiB", "less than one byte"),
        ("nanGiB", "not a number"),
        ("big", "not a number"),
    ],
)
def test_a_size_without_meaning_is_refused_with_the_flag_named(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"--vram '.*' .*{reason}"):
        parse_size(text, "--vram")


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "", "1,5", "0x10", "\u0661"])
def test_a_number_is_finite_and_decimal(text: str) -> None:
    with pytest.raises(UsageError, match="not a finite number"):
        parse_number(text, "rate")


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1e3", "", "11", "1" * 5000, "\u0661"])
def test_a_count_is_a_whole_number_within_its_bounds(text: str) -> None:
    with pytest.raises(UsageError, match="whole number from 1 to 10"):
        parse_count(text, "replicas", most=10)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_number_reads_back_as_the_same_number(number: float) -> None:
    assert parse_number(number_text(number), "number") == number


def test_whole_numbers_are_spelled_without_a_decimal_point() -> None:
    assert (number_text(512), number_text(512.0), number_text(0.5)) == ("512", "512", "0.5")


def test_seconds_become_the_nearest_picosecond() -> None:
    assert (to_ps(1.0), to_ps(0.25e-6), to_ps(1.6e-12)) == (10**12, 250_000, 2)


@pytest.mark.parametrize(
    ("text", "users", "refine"),
    [
        ("1..128", (1, 2, 4, 8, 16, 32, 64, 128), True),
        ("1..100", (1, 2, 4, 8, 16, 32, 64, 100), True),
        ("3..20", (3, 6, 12, 20), True),
        ("7..7", (7,), False),
        ("1..20/8", (1, 9, 17, 20), False),
        ("8..32/8", (8, 16, 24, 32), False),
        ("1,10,50", (1, 10, 50), False),
        (" 50, 1,10,1 ", (1, 10, 50), False),
        ("12", (12,), False),
    ],
)
def test_users_are_a_doubling_range_a_stepped_range_or_a_list(text: str, users: tuple[int, ...], refine: bool) -> None:
    grid = parse_user_grid(text)
    assert (grid.users, grid.refine) == (users, refine)
    assert parse_user_grid(text).users == users
    assert parse_user_grid(grid.text) == grid


@given(st.integers(1, 10**6), st.integers(0, 10**5), st.sampled_from(["", "/100"]))
def test_a_range_of_users_ascends_and_holds_both_ends(first: int, span: int, step: str) -> None:
    last = min(first + span, 10**6)
    users = parse_user_grid(f"{first}..{last}{step}").users
    assert (users[0], users[-1]) == (first, last)
    assert all(a < b for a, b in pairwise(users))


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_doubling_range_never_more_than_doubles(first: int, last: int) -> None:
    first, last = sorted((first, last))
    users = parse_user_grid(f"{first}..{last}").users
    assert all(b <= 2 * a for a, b in pairwise(users))
    assert len(users) <= 2 + math.log2(last / first)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0", "whole number"),
        ("0..8", "first user count '0'"),
        ("1..0", "last user count '0'"),
        ("8..1", "empty range: write 1..8"),
        ("1..8/0", "step between user counts '0'"),
        ("1..", "last user count ''"),
        ("..8", "first user count ''"),
        ("-1", "whole number"),
        ("1..nan", "whole number"),
        ("1,,2", "whole number"),
        ("many", "whole number"),
        ("", "whole number"),
        ("1..2..3", "whole number"),
        ("1..1000001", "from 1 to 1000000"),
        ("1..1000000/1", "larger step"),
    ],
)
def test_users_without_meaning_are_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_user_grid(text)
