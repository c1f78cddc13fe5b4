"""What the engines' memory arithmetic and version tables promise at their limits, part by part."""

from dataclasses import replace

import pytest

from policies.engines import llama_cpp, ollama
from policies.engines.gguf_memory import Demand, Split, Words, forced_split, split
from policies.engines.llama_options import defaults_of
from policies.engines.vllm_memory import Budget, activation_bytes, block_bytes
from sim.errors import DoesNotFit, UsageError
from sim.hardware import GIB, Gpu, Host, Model

CARD = Gpu("card", "Card", "nvidia", "gddr", 16 * GIB, 288.0, 22.0)
HOST = Host("host", "Host", 32 * GIB, 60.0, 0.5)
MODEL = Model("model", "Model", "llama", 10**9, 10**9, 16, 2048, 16, 8, 128, 1000, 8192, intermediate=8192)

# -- vLLM


def test_the_feed_forward_layer_of_the_profile_run_is_split_over_the_gpus_and_the_hidden_state_is_not() -> None:
    one, two = (activation_bytes(MODEL, tp, 4096, 1) for tp in (1, 2))
    assert one - two == 4096 * 2 * 3 * 4096
    assert activation_bytes(replace(MODEL, vocab=10**6), 2, 64, 64) == 64 * 10**6 * 4 * 3


def test_a_model_that_does_not_say_how_wide_it_is_inside_is_four_times_as_wide_as_outside() -> None:
    assert activation_bytes(replace(MODEL, intermediate=0), 1, 4096, 1) == activation_bytes(MODEL, 1, 4096, 1)


def test_a_gpu_holds_at_least_one_head_of_keys_and_values() -> None:
    assert block_bytes(MODEL, 1, 16, 2.0) == 16 * 16 * 8 * 128 * 2 * 2
    assert block_bytes(MODEL, 16, 16, 2.0) == 16 * 16 * 1 * 128 * 2 * 2


@pytest.mark.parametrize(("share", "blocks"), [(100, 0), (109, 0), (110, 1), (139, 3), (50, 0)])
def test_blocks_are_whole_and_never_fewer_than_none(share: int, blocks: int) -> None:
    assert Budget(200, share, 60, 20, 15, 5, 10).blocks == blocks


# -- Ollama

DEMAND = Demand(layers=10, layer_bytes=8, cell_bytes=2, output_bytes=30, scratch_bytes=20)  # 150 in all


@pytest.mark.parametrize(
    ("rooms", "expected"),
    [
        ((150,), Split(11, 1)),
        ((149,), Split(10, 1)),
        ((119,), Split(9, 1)),
        ((29,), Split(0, 1)),
        ((10,), Split(0, 1)),
        ((100, 150), Split(11, 1)),
        ((100, 90), Split(11, 2)),
        ((100, 69), Split(10, 2)),
        ((), Split(0, 0)),
    ],
)
def test_layers_go_to_the_gpus_as_long_as_they_fit_and_the_output_layer_last(
    rooms: tuple[int, ...], expected: Split
) -> None:
    assert split(DEMAND, rooms) == expected


def test_layers_that_were_asked_for_take_one_gpu_if_they_can_and_are_refused_with_what_is_missing() -> None:
    words = Words("it would not start", "layers_asked", "less would")
    assert forced_split(DEMAND, (70, 60), 5, words) == Split(5, 1)
    assert forced_split(DEMAND, (69, 69), 5, words) == Split(5, 2)
    assert forced_split(DEMAND, (150,), 99, words) == Split(11, 1)
    with pytest.raises(DoesNotFit, match="it would not start: layers_asked 11 takes") as refusal:
        forced_split(DEMAND, (60,), 11, words)
    assert refusal.value.missing_bytes == 150 - 60


def test_ollama_without_a_gpu_is_refused() -> None:
    with pytest.raises(UsageError, match="without a GPU"):
        ollama.deploy((), HOST, MODEL, {})


# -- llama.cpp


def test_a_batch_holds_a_token_for_every_slot_or_the_server_does_not_start() -> None:
    options = {"ctx_size": 4096, "batch_size": 8, "weight_bits": 4.9}
    assert llama_cpp.deploy((CARD,), HOST, MODEL, {**options, "parallel": 8}).memory.slots == 8
    with pytest.raises(UsageError, match="9 slots"):
        llama_cpp.deploy((CARD,), HOST, MODEL, {**options, "parallel": 9})


def test_every_default_of_llama_cpp_changed_with_the_build_that_changed_it() -> None:
    for build, name in (
        (5913, "always_unified"),
        (6455, "slot_prompt_similarity"),
        (6723, "cache_ram"),
        (6925, "parallel"),
        (8901, "fits_context"),
        (8901, "cache_idle_slots"),
    ):
        before, after = (getattr(defaults_of(f"b{number}"), name) for number in (build - 1, build))
        assert before != after, name
        assert getattr(defaults_of(f"b{build + 1}"), name) == after
