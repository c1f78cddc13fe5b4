"""Where a cliff is found depends neither on how far the sweep looks nor, much, on the seed."""

from typing import Any

import pytest

from reports.document import Cliff
from sim.cli.library import sweep

pytestmark = pytest.mark.slow

SEEDS = 20
OVERLAPPING = 18


def cliffs(**flags: Any) -> dict[str, Cliff]:
    found = sweep("a100-40g", explain=False, profile="datasheet", **flags)
    return {cliff.variant: cliff for cliff in found.cliffs}


def bracket(cliff: Cliff) -> tuple[int, int]:
    assert cliff.capacity_users is not None
    assert cliff.first_failing_users is not None
    return cliff.capacity_users, cliff.first_failing_users


def test_a_longer_sweep_moves_no_bracket() -> None:
    usual, longer = cliffs(users="1..128"), cliffs(users="1..512")
    assert {name: bracket(cliff) for name, cliff in usual.items()} == {
        name: bracket(cliff) for name, cliff in longer.items()
    }


def test_other_seeds_find_the_cliff_in_the_same_place() -> None:
    def found(seed: int) -> tuple[int, int]:
        (cliff,) = cliffs(engine=["vllm"], users="1..128", seed=3 * seed).values()
        return bracket(cliff)

    passing, failing = found(0)
    others = [found(seed) for seed in range(1, SEEDS + 1)]
    assert sum(low < failing and passing < high for low, high in others) >= OVERLAPPING
