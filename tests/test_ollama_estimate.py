"""What Ollama reckons a load will take is what its server logs say, and decides which layers leave the card."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration import catalog
from policies.engines import ollama
from policies.engines.ollama_estimate import graph_bytes, reserve_bytes
from policies.engines.ollama_launch import Launch
from sim.engine import Deployment
from sim.hardware import GIB, MIB, Host

HOST = Host("host", "Host", 64 * GIB, 51.2, 1.0)
CARD = catalog.gpu("rtx-4060-ti-16g")
CELLS = 2048


def deploy(model: str, slots: int, free_gib: float = 16, **options: Any) -> Deployment:
    settings = {"weights": "q4_k_m", "version": "0.6.6", "num_parallel": slots, **options}
    card = replace(CARD, memory_bytes=round(free_gib * GIB))
    return ollama.deploy((card,), HOST, catalog.model(model), settings)


def last_on_the_card(model: str, **options: Any) -> int:
    return max(slots for slots in range(1, 60) if not deploy(model, slots, **options).memory.layers_on_host)


# -- the sums


def test_gemma3_12b_is_reckoned_as_a_server_of_0_6_5_logged_it() -> None:
    model = catalog.model("gemma-3-12b")
    memory = deploy("gemma-3-12b", 1).memory
    assert memory.kv_bytes / MIB == pytest.approx(608, rel=0.01)
    graph = graph_bytes(model, CELLS, memory.kv_bytes, 512)
    assert graph / GIB == pytest.approx(1.3, abs=0.05)  # some layers on the card; all of them: 519.5 MiB
    weights = memory.weight_bytes + 2 * model.vision_parameters
    layer = (memory.weight_bytes + memory.kv_bytes) // (model.layers + 1)
    reserve = reserve_bytes(model, CELLS, memory.kv_bytes, 512, layer)
    required = weights + memory.kv_bytes + reserve - graph + 519.5 * MIB + 457 * MIB
    assert required / GIB == pytest.approx(10.3, abs=0.1)


def test_a_model_without_sums_of_its_own_is_given_a_sixth_of_its_cells_a_shared_head() -> None:
    model = catalog.model("qwen3-8b")
    assert graph_bytes(model, CELLS, 6 * GIB, 512) == 4 * GIB
    deeper = replace(model, heads=2 * model.heads)
    assert graph_bytes(deeper, CELLS, 6 * GIB, 512) == 8 * GIB


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gemma3", "qwen2"])
def test_scores_of_all_cells_are_reckoned_with_whether_they_are_written_or_not(family: str) -> None:
    model = replace(catalog.model("llama-3.1-8b"), family=family)
    few, many = (graph_bytes(model, cells, 0, 512) for cells in (65_536, 131_072))
    assert many - few >= 4 * 512 * 65_536 * model.heads


@pytest.mark.parametrize("family", ["llama", "gemma3", "qwen2"])
def test_with_few_cells_the_logits_are_the_larger_part(family: str) -> None:
    model = replace(catalog.model("llama-3.2-1b"), family=family)
    logits = 4 * 512 * (model.hidden + model.vocab)
    head = model.hidden * model.vocab * 105 // 128
    assert graph_bytes(model, 256, 0, 512) == pytest.approx(logits + head, rel=0.02)


def test_pictures_take_a_graph_that_models_without_eyes_do_not_need() -> None:
    model = catalog.model("gemma-3-4b")
    blind = replace(model, vision_parameters=0)
    both = [reserve_bytes(one, CELLS, 0, 512, 0) for one in (model, blind)]
    assert (both[0] - both[1]) / GIB == pytest.approx(1.0, abs=0.05)


MANY_CELLS, ROWS = st.integers(20_000, 200_000), st.integers(64, 1024)


@pytest.mark.parametrize(("family", "once"), [("llama", 4 * 96), ("gemma3", 8 * 96), ("qwen2", 4096)])
@given(MANY_CELLS, ROWS)
def test_a_cell_more_costs_in_every_row_a_score_a_head_and_a_mask_and_once_its_key(
    family: str, once: int, cells: int, rows: int
) -> None:
    model = replace(catalog.model("llama-3.1-8b"), family=family, vocab=1, hidden=4096, kv_heads=4, head_dim=96)
    more = graph_bytes(model, cells + 1, 0, rows) - graph_bytes(model, cells, 0, rows)
    assert more == 4 * (rows * (model.heads + 1) + once)


@pytest.mark.parametrize(
    ("family", "states", "widths"), [("mistral", 2, 0), ("gemma", 2, 2), ("gemma2", 2, 2), ("qwen2", 2, 0)]
)
@given(MANY_CELLS, ROWS)
def test_a_row_more_costs_its_scores_and_masks_its_states_and_its_heads(
    family: str, states: int, widths: int, cells: int, rows: int
) -> None:
    model = replace(catalog.model("llama-3.1-8b"), family=family, vocab=1, head_dim=96)
    more = graph_bytes(model, cells, 0, rows + 1) - graph_bytes(model, cells, 0, rows)
    attention = 1 + cells * (model.heads + 1)
    assert more == 4 * (attention + states * model.hidden + widths * model.heads * model.head_dim)


@given(st.integers(2500, 3000), st.integers(400, 1000))
def test_a_small_llama_takes_most_with_all_its_layers_on_the_card(cells: int, rows: int) -> None:
    model = catalog.model("tinyllama-1.1b")
    more = graph_bytes(model, cells, 0, rows + 1) - graph_bytes(model, cells, 0, rows)
    assert more == 4 * (1 + cells * (model.heads + 1) + 4 * model.hidden)


@given(ROWS)
def test_where_the_logits_are_most_a_row_more_costs_a_logit_a_word_and_its_state(rows: int) -> None:
    for family in ("gemma", "qwen2"):
        model = replace(catalog.model("llama-3.2-1b"), family=family)
        more = graph_bytes(model, 16, 0, rows + 1) - graph_bytes(model, 16, 0, rows)
        assert more == 4 * (model.vocab + model.hidden)


@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_a_matrix_of_a_layer_off_the_card_is_unpacked_to_nine_sixteenths(family: str) -> None:
    """Of its values in bytes, as many as there are in the widths of the model and of its heads."""
    model = replace(catalog.model("llama-3.1-8b"), family=family, vocab=1, hidden=4096, kv_heads=1)
    one, other = (graph_bytes(replace(model, hidden=width), 100_000, 0, 1) for width in (4096, 8192))
    values = 8192**2 - 4096**2 if family == "llama" else 4096 * model.heads * model.head_dim
    assert other - one == values * 9 // 16 + 4 * 2 * 4096


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_one_layer_is_kept_free_beside_the_graph(kv_bytes: int, layer_bytes: int) -> None:
    model = catalog.model("llama-3.1-8b")
    assert (
        reserve_bytes(model, CELLS, kv_bytes, 512, layer_bytes) - graph_bytes(model, CELLS, kv_bytes, 512)
        == layer_bytes
    )


# -- what follows


def test_layers_leave_the_card_by_what_is_reckoned_though_less_is_taken() -> None:
    spilled = deploy("qwen3-8b", 22, free_gib=14.4).memory
    assert spilled.layers_on_host > 0
    taken = spilled.weight_bytes + spilled.host_weight_bytes + spilled.kv_bytes + spilled.host_kv_bytes
    assert taken + spilled.scratch_bytes < 14.4 * GIB


@pytest.mark.parametrize(("kv_type", "share", "taken"), [("q8_0", 2, 1.0625), ("q4_0", 4, 0.5625)])
def test_the_scales_of_a_quantised_cache_are_not_reckoned_with_though_they_are_taken(
    kv_type: str, share: int, taken: float
) -> None:
    """Slots of a half or a quarter of the bytes are reckoned to take together what one of 16 bits takes."""
    asked: dict[str, Any] = {"flash_attention": True, "kv_cache_type": kv_type}
    gpu, model = (CARD,), catalog.model("qwen3-8b")
    settings = {"weights": "q4_k_m", "version": "0.6.6", "num_parallel": share, "num_ctx": 4096}
    quantised = Launch(gpu, HOST, model, {**settings, **asked}).slots
    halves = Launch(gpu, HOST, model, {**settings, "num_parallel": 1}).slots
    assert quantised.reckoned == halves.reckoned
    assert quantised.demand.cell_bytes == pytest.approx(taken / 2 * share * halves.demand.cell_bytes)


def test_releases_that_measure_do_not_reckon() -> None:
    before = last_on_the_card("qwen3-8b", version="0.11.10", num_ctx=4096, new_engine=True)
    after = last_on_the_card("qwen3-8b", version="0.11.11", num_ctx=4096, new_engine=True)
    assert before < after
    older_runner = last_on_the_card("qwen3-8b", version="0.24", num_ctx=4096, new_engine=False)
    assert older_runner == last_on_the_card("qwen3-8b", version="0.6.6", num_ctx=4096)


def test_flash_attention_changes_nothing_in_what_is_reckoned() -> None:
    counts = {last_on_the_card("llama-3.1-8b", num_ctx=8192, flash_attention=asked) for asked in (True, False)}
    assert len(counts) == 1


def test_layers_asked_for_are_put_on_the_card_whatever_is_reckoned() -> None:
    assert deploy("qwen3-8b", 22, free_gib=14.4, num_gpu=99, flash_attention=True).memory.layers_on_host == 0


def test_an_overhead_is_left_alone_on_every_card() -> None:
    left = deploy("qwen3-8b", 22, gpu_overhead=round(1.6 * GIB)).memory
    assert left == deploy("qwen3-8b", 22, free_gib=16 - 1.6).memory
    assert left.layers_on_host > deploy("qwen3-8b", 22).memory.layers_on_host


def test_the_advice_names_slots_that_are_reckoned_to_fit() -> None:
    (told,) = deploy("qwen3-8b", 22, free_gib=14.4).warnings
    fits = int(told.split("--num-parallel ")[1].split()[0])
    assert fits == last_on_the_card("qwen3-8b", free_gib=14.4) < 22
