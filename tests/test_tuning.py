"""The tuned rows of a comparison: more slots only while they fit and help."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from sim import compose
from sim.cli.tuning import TUNABLE, tuned, users_carried
from sim.cli.variants import Prepared
from sim.variant import Demand, Variant

OLLAMA = Variant("ollama", "ollama", "a100-40g-sxm", "llama-3.1-8b")
CONTEXT = 4096


def chosen(carried: Mapping[int, int], variant: Variant = OLLAMA) -> tuple[int | None, list[int]]:
    """The slots of the tuned row where the given numbers carry so many users, and what was tried."""
    tried: list[int] = []

    def carry(_: Prepared, slots: int) -> int:
        tried.append(slots)
        return carried.get(slots, slots)

    row = tuned(variant, CONTEXT, carry)
    return (row.deployment.memory.slots if row and row.deployment else None), tried


def test_the_number_of_slots_that_carries_most_is_taken() -> None:
    slots, tried = chosen({8: 8, 12: 9, 16: 3})
    assert slots == 12
    assert tried == [2, 3, 4, 6, 8, 12, 16]


def test_of_two_that_carry_as_many_the_one_with_fewer_slots_is_taken() -> None:
    assert chosen({4: 3, 6: 3, 8: 1})[0] == 3


def test_where_no_number_carries_anybody_the_largest_that_fits_is_taken() -> None:
    slots, tried = chosen(dict.fromkeys(range(1, 257), 0))
    assert slots == tried[-1] > 16


def test_slots_that_would_spill_are_not_tried() -> None:
    slots, tried = chosen({})
    assert slots == tried[-1]
    per_slot_gib = 4096 * 128 / 1024**2  # KiB a token of this model
    assert 39.5 / per_slot_gib * 0.5 < tried[-1] < 39.5 / per_slot_gib


def test_a_card_without_room_for_two_slots_has_no_tuned_row() -> None:
    assert chosen({}, replace(OLLAMA, vram_bytes=6 * 1024**3)) == (None, [])


@pytest.mark.parametrize("variant", [replace(OLLAMA, options={"num_parallel": 3}), replace(OLLAMA, engine="vllm")])
def test_what_is_settled_or_not_static_is_left_alone(variant: Variant) -> None:
    assert chosen({}, variant) == (None, [])


def test_an_option_that_was_given_stays() -> None:
    row = tuned(replace(OLLAMA, options={"num_ctx": 2048}), CONTEXT, lambda _, slots: slots)
    assert row is not None
    assert row.variant.options["num_ctx"] == 2048


@pytest.mark.parametrize("engine", TUNABLE)
def test_the_engines_still_call_their_options_so(engine: str) -> None:
    names = TUNABLE[engine]
    assert {names.slots, names.context} <= set(compose.engine(engine).OPTIONS)


def test_users_are_carried_up_to_the_first_number_that_breaks_the_slo() -> None:
    traffic = compose.traffic(Demand(prompt_tokens="64", output_tokens="32", requests=50))
    row = tuned(OLLAMA, CONTEXT, lambda _, slots: 10 - abs(8 - slots))
    assert row is not None
    assert users_carried(row, 8, traffic, compose.slo("ttft=1s"), [0, 1]) == 8
    assert users_carried(row, 8, traffic, compose.slo("ttft=1ms"), [0]) == 0
