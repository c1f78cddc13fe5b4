"""What a GGUF file's header gives: the shape, the real bits of its weights, and a plain word where it is damaged."""

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration import catalog
from calibration.model_files.gguf_header import LARGEST_HEADER_BYTES
from sim.errors import BadScenario
from sim.hardware import Model
from tests.gguf_files import F16, MXFP4, Q4_K, Q8_0, gguf, llama, llama_tensors

LAYER = 2 * (2 * 512 * 512 + 2 * 512 * 128 + 3 * 512 * 1024)
TABLES = 2 * 512 * 1000


def read(folder: Path, raw: bytes) -> Model:
    path = folder / "model.gguf"
    path.write_bytes(raw)
    return catalog.model(str(path))


def refusal(folder: Path, raw: bytes) -> str:
    with pytest.raises(BadScenario) as refused:
        read(folder, raw)
    assert "model.gguf: field '" in str(refused.value)
    return str(refused.value)


def test_the_header_gives_the_shape(tmp_path: Path) -> None:
    model = read(tmp_path, gguf(llama(), llama_tensors()))
    assert (model.id, model.name, model.family) == ("model", "small llama", "llama")
    assert (model.layers, model.hidden, model.heads, model.kv_heads, model.head_dim) == (2, 512, 8, 2, 64)
    assert (model.vocab, model.max_context, model.intermediate) == (1000, 4096, 1024)
    assert model.parameters == model.active_parameters == LAYER + TABLES
    assert not model.tied_embeddings


def test_a_name_is_shown_without_what_a_terminal_would_obey(tmp_path: Path) -> None:
    model = read(tmp_path, gguf(llama(general__name="a\x1b[2Jb\n" + "c" * 200), llama_tensors()))
    assert model.name == ("a[2Jb" + "c" * 200)[:100]


def test_the_bits_are_those_of_the_tensors_themselves(tmp_path: Path) -> None:
    model = read(tmp_path, gguf(llama(), llama_tensors(Q4_K)))
    expected = (LAYER * 4.5 + TABLES * 6.5625) / (LAYER + TABLES)
    assert model.native_weights == "q4_k_m"
    assert catalog.weight_bits(model, "q4_k_m") == pytest.approx(expected, rel=1e-12)
    assert catalog.weight_bits(model, "f16") == 16


def test_a_file_whose_type_has_no_name_still_has_its_bits(tmp_path: Path) -> None:
    model = read(tmp_path, gguf(llama(general__file_type=None), llama_tensors(Q8_0)))
    assert catalog.weight_bits(model, model.native_weights) == pytest.approx(
        (LAYER * 8.5 + TABLES * 6.5625) / (LAYER + TABLES)
    )


def test_without_an_output_tensor_the_embedding_is_the_head(tmp_path: Path) -> None:
    tensors = [each for each in llama_tensors() if each[0] != "output.weight"]
    assert read(tmp_path, gguf(llama(), tensors)).tied_embeddings


def test_tables_for_rotation_are_no_weights(tmp_path: Path) -> None:
    tensors = [*llama_tensors(), ("rope_freqs.weight", (64,), F16)]
    assert read(tmp_path, gguf(llama(), tensors)).parameters == LAYER + TABLES


def test_what_sees_is_counted_apart(tmp_path: Path) -> None:
    tensors = [*llama_tensors(), ("v.blk.0.attn_q.weight", (64, 64), F16), ("mm.input_projection.weight", (64, 8), F16)]
    model = read(tmp_path, gguf(llama(), tensors))
    assert (model.parameters, model.vision_parameters) == (LAYER + TABLES, 64 * 64 + 64 * 8)


def test_layers_that_predict_a_second_token_are_left_out(tmp_path: Path) -> None:
    facts = llama(llama__block_count=3, llama__nextn_predict_layers=1)
    model = read(tmp_path, gguf(facts, [*llama_tensors(), ("blk.2.nextn.eh_proj.weight", (1024, 512), F16)]))
    assert (model.layers, model.parameters) == (2, LAYER + TABLES)


def test_a_layer_with_a_state_is_a_window_of_as_many_bytes(tmp_path: Path) -> None:
    facts = llama(llama__ssm__state_size=64, llama__ssm__inner_size=512, llama__full_attention_interval=2)
    model = read(tmp_path, gguf(facts, llama_tensors()))
    assert model.window_layers == 1
    assert model.kv_bytes(100_000) - 100_000 * 2 * 128 * 2 == 512 * 64 * 4


def test_experts_are_counted_by_their_tensors(tmp_path: Path) -> None:
    facts = llama(llama__expert_count=8, llama__expert_used_count=2, llama__expert_feed_forward_length=256)
    tensors = [*llama_tensors(), ("blk.0.ffn_gate_exps.weight", (512, 256, 8), MXFP4)]
    model = read(tmp_path, gguf(facts, tensors))
    routed = 512 * 256 * 8
    assert (model.experts, model.experts_per_token, model.expert_parameters) == (8, 2, routed)
    assert model.active_parameters == model.parameters - routed * 6 // 8
    assert model.intermediate == 256


@pytest.mark.parametrize(
    ("facts", "layers"),
    [
        ({}, 2),
        ({"llama__attention__sliding_window_pattern": [True, False]}, 1),
        ({"llama__attention__sliding_window_pattern": 2}, 1),
    ],
)
def test_layers_with_a_window_are_listed_or_follow_a_pattern(
    tmp_path: Path, facts: dict[str, Any], layers: int
) -> None:
    model = read(tmp_path, gguf(llama(llama__attention__sliding_window=256, **facts), llama_tensors()))
    assert (model.window, model.window_layers) == (256, layers)
    assert model.kv_bytes(1000) == 256 * 2 * ((2 - layers) * 1000 + layers * 256)


def test_a_window_that_no_context_outgrows_is_none(tmp_path: Path) -> None:
    assert read(tmp_path, gguf(llama(llama__attention__sliding_window=4096), llama_tensors())).window == 0


def test_a_latent_cache_is_one_rank_and_one_rotated_part(tmp_path: Path) -> None:
    facts = llama(
        llama__attention__kv_lora_rank=128, llama__rope__dimension_count=32, llama__attention__key_length_mla=96
    )
    model = read(tmp_path, gguf(facts, llama_tensors()))
    assert (model.latent_kv, model.kv_heads, model.head_dim) == (160, 1, 96)
    assert model.kv_bytes_per_token() == 2 * 160 * 2


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"", "field 'magic' is cut off"),
        (b"PK\x03\x04 and more", "field 'magic' is not 'GGUF'"),
        (gguf(llama(), [], version=1), "field 'version' is 1; known: 2, 3"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 1), "field 'tensor_count' counts"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 2**60), "field 'metadata_kv_count' counts"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 2**62), "field 'key 0' counts"),
        (gguf(llama(), llama_tensors())[:-30], "is cut off: the file ends at byte"),
        (gguf(llama(), []), "field 'tensor_count' is 0"),
        (gguf(llama(general__architecture=None), llama_tensors()), "field 'general.architecture' must be a string"),
        (gguf(llama(llama__block_count=None), llama_tensors()), "field 'llama.block_count' is missing"),
        (gguf(llama(llama__block_count="two"), llama_tensors()), "'llama.block_count' must be a whole number"),
        (gguf(llama(llama__nextn_predict_layers=2), llama_tensors()), "'llama.nextn_predict_layers' leaves no layer"),
        (gguf(llama(llama__ssm__state_size=16), llama_tensors()), "an architecture that is not modelled"),
        (gguf(llama(split__count=3), llama_tensors()), "field 'split.count' is 3"),
        (gguf(llama(llama__expert_count=8), llama_tensors()), "field 'llama.expert_used_count' is 0 of 8"),
        (gguf(llama(), [("strange", (4, 4), 77)]), "field 'tensor strange' has the unknown type 77"),
        (gguf(llama(), [("huge", (2**40, 2**40), F16)]), "field 'tensor huge' has"),
        (gguf(llama(), [("empty", (0,), F16)]), "field 'tensor empty' has 0 elements"),
    ],
)
def test_a_damaged_header_is_refused_with_file_and_field(tmp_path: Path, raw: bytes, complaint: str) -> None:
    assert complaint in refusal(tmp_path, raw)


def test_a_list_that_claims_to_be_endless_is_not_read(tmp_path: Path) -> None:
    endless = gguf({}, [])[:16] + struct.pack("<Q", 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 0, 2**50)
    assert "field 'k' counts" in refusal(tmp_path, endless)


def test_a_header_longer_than_any_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    begin = gguf({}, [])[:16] + struct.pack("<Q", 1) + struct.pack("<Q", 1) + b"k"
    with path.open("wb") as file:
        file.write(begin + struct.pack("<IIQ", 9, 8, LARGEST_HEADER_BYTES))
        file.write(struct.pack("<Q", LARGEST_HEADER_BYTES - 1))
        file.truncate(2 * LARGEST_HEADER_BYTES)
    with pytest.raises(BadScenario, match="would make the header longer than 64 MiB"):
        catalog.model(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match=r"nowhere\.gguf: cannot be read"):
        catalog.model(str(tmp_path / "nowhere.gguf"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.data())
def test_a_header_with_flipped_bytes_gives_a_model_or_a_refusal(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(gguf({**llama(), "tokenizer.ggml.tokens": ["a", "b"]}, llama_tensors()))
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    _model_or_refusal(tmp_path, bytes(raw[: data.draw(st.integers(0, len(raw)))]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(st.binary(max_size=300))
def test_anything_behind_the_magic_gives_a_model_or_a_refusal(tmp_path: Path, tail: bytes) -> None:
    _model_or_refusal(tmp_path, b"GGUF\x03\x00\x00\x00" + tail)


def _model_or_refusal(folder: Path, raw: bytes) -> None:
    try:
        model = read(folder, raw)
    except BadScenario:
        return
    assert model.parameters >= model.active_parameters > 0
    assert catalog.weight_bits(model, model.native_weights) > 0
