"""What a config.json of Hugging Face gives: the shape, parameters counted from it, and a plain word where it lacks."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration import catalog
from sim.errors import BadScenario
from sim.hardware import Model

LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128_256,
    "max_position_embeddings": 131_072,
    "tie_word_embeddings": False,
}
QWEN2 = {
    **LLAMA,
    "model_type": "qwen2",
    "hidden_size": 3584,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "vocab_size": 152_064,
    "use_sliding_window": False,
    "sliding_window": 131_072,
    "max_window_layers": 28,
}
QWEN3_MOE = {
    **LLAMA,
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "vocab_size": 151_936,
}
MIXTRAL = {
    **LLAMA,
    "model_type": "mixtral",
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "sliding_window": None,
    "vocab_size": 32000,
}
GEMMA2 = {
    "model_type": "gemma2",
    "hidden_size": 2304,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 9216,
}
GEMMA3 = {
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "sliding_window": 1024,
    },
    "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27},
}
PHI3 = {
    **LLAMA,
    "model_type": "phi3",
    "hidden_size": 3072,
    "num_key_value_heads": 32,
    "intermediate_size": 8192,
    "vocab_size": 32064,
    "max_position_embeddings": 4096,
    "sliding_window": 2047,
}
GPT_OSS = {
    **LLAMA,
    "model_type": "gpt_oss",
    "hidden_size": 2880,
    "num_hidden_layers": 24,
    "num_attention_heads": 64,
    "head_dim": 64,
    "intermediate_size": 2880,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "vocab_size": 201_088,
}
DEEPSEEK_V3 = {
    **LLAMA,
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "moe_layer_freq": 1,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "vocab_size": 129_280,
}
DEEPSEEK_V2_LITE = {
    **DEEPSEEK_V3,
    "model_type": "deepseek_v2",
    "hidden_size": 2048,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "intermediate_size": 10944,
    "moe_intermediate_size": 1408,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "first_k_dense_replace": 1,
    "q_lora_rank": None,
    "vocab_size": 102_400,
}
FALCON = {
    "model_type": "falcon",
    "hidden_size": 4544,
    "num_hidden_layers": 32,
    "num_attention_heads": 71,
    "num_kv_heads": 71,
    "multi_query": True,
    "ffn_hidden_size": 18176,
    "vocab_size": 65024,
    "max_position_embeddings": 2048,
}
STARCODER = {
    "model_type": "gpt_bigcode",
    "n_embd": 6144,
    "n_layer": 40,
    "n_head": 48,
    "n_inner": 24576,
    "multi_query": True,
    "vocab_size": 49152,
    "n_positions": 8192,
}
OPT = {
    "model_type": "opt",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "ffn_dim": 16384,
    "vocab_size": 50272,
    "max_position_embeddings": 2048,
}
QWEN35 = {
    **LLAMA,
    "model_type": "qwen3_5_text",
    "hidden_size": 5120,
    "num_hidden_layers": 64,
    "num_attention_heads": 24,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "attn_output_gate": True,
    "intermediate_size": 17408,
    "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * 16,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 48,
    "linear_value_head_dim": 128,
    "vocab_size": 248_320,
}


def read(folder: Path, table: Any) -> Model:
    path = folder / "config.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table), encoding="utf-8")
    return catalog.model(str(path))


@pytest.mark.parametrize(
    ("table", "parameters"),
    [
        (LLAMA, 8_030_261_248),
        (QWEN2, 7_615_616_512),
        (QWEN3_MOE, 30_532_122_624),
        (MIXTRAL, 46_702_792_704),
        (GEMMA2, 2_614_341_888),
        (GEMMA3, 3_880_263_168),
        (PHI3, 3_821_079_552),
        (GPT_OSS, 20_914_757_184),
        (DEEPSEEK_V3, 671_026_419_200),
        (DEEPSEEK_V2_LITE, 15_706_484_224),
        (OPT, 6_658_473_984),
        (STARCODER, 15_517_456_384),
    ],
    ids=lambda item: item["model_type"] if isinstance(item, dict) else "",
)
def test_parameters_are_those_that_the_publisher_counts(tmp_path: Path, table: dict[str, Any], parameters: int) -> None:
    assert read(tmp_path, table).parameters == pytest.approx(parameters, rel=1e-5)


def test_one_head_of_keys_is_shared_by_all_queries(tmp_path: Path) -> None:
    model = read(tmp_path, FALCON)
    assert model.kv_heads == 1
    assert model.parameters == pytest.approx(6_921_720_704, rel=1e-3)


def test_a_token_uses_its_experts_and_all_that_is_shared(tmp_path: Path) -> None:
    assert read(tmp_path, MIXTRAL).active_parameters == pytest.approx(12.88e9, rel=1e-3)
    assert read(tmp_path, QWEN3_MOE).active_parameters == pytest.approx(3.35e9, rel=1e-3)
    assert read(tmp_path, DEEPSEEK_V3).active_parameters == pytest.approx(37.55e9, rel=1e-3)
    dense = read(tmp_path, LLAMA)
    assert dense.active_parameters == dense.parameters


@pytest.mark.parametrize(
    ("table", "window", "layers"),
    [
        (LLAMA, 0, 0),
        (QWEN2, 0, 0),
        (MIXTRAL, 0, 0),
        ({**LLAMA, "model_type": "mistral", "sliding_window": 4096}, 4096, 32),
        ({**QWEN2, "use_sliding_window": True, "sliding_window": 4096, "max_window_layers": 21}, 4096, 7),
        ({**PHI3, "sliding_window": 4096}, 0, 0),
        (GEMMA2, 4096, 13),
        (GEMMA3, 1024, 29),
        (PHI3, 2047, 32),
        (GPT_OSS, 128, 12),
    ],
)
def test_layers_with_a_window_are_those_of_the_family(
    tmp_path: Path, table: dict[str, Any], window: int, layers: int
) -> None:
    model = read(tmp_path, table)
    assert (model.window, model.window_layers) == (window, layers)


def test_a_latent_cache_keeps_576_elements_a_layer(tmp_path: Path) -> None:
    model = read(tmp_path, DEEPSEEK_V3)
    assert (model.latent_kv, model.kv_bytes_per_token()) == (576, 70272)


def test_a_linear_layer_keeps_a_state_that_does_not_grow(tmp_path: Path) -> None:
    model = read(tmp_path, QWEN35)
    state_bytes = 48 * 128 * 128 * 4
    grown = model.kv_bytes(100_000) - model.kv_bytes(50_000)
    assert grown == 16 * 50_000 * 2 * 4 * 256 * 2
    assert model.kv_bytes(50_000) - 50_000 * 16 * 4096 == 48 * state_bytes
    assert model.parameters == pytest.approx(26.9e9, rel=2e-3)


@pytest.mark.parametrize(
    ("quantised", "weights"),
    [
        ({"quant_method": "fp8", "fmt": "e4m3"}, "fp8"),
        ({"quant_method": "awq", "bits": 4}, "awq"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_method": "compressed-tensors", "format": "float-quantized"}, "fp8"),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "pack-quantized",
                "config_groups": {"group_0": {"weights": {"num_bits": 4}}},
            },
            "int4",
        ),
        ({"quant_method": "something new"}, ""),
        (None, ""),
    ],
)
def test_the_format_of_the_weights_is_the_one_they_are_published_in(
    tmp_path: Path, quantised: dict[str, Any] | None, weights: str
) -> None:
    assert read(tmp_path, {**LLAMA, "quantization_config": quantised}).native_weights == weights
    outside = {"text_config": LLAMA, "quantization_config": quantised}
    assert read(tmp_path, outside).native_weights == weights


def test_the_folder_names_a_file_that_is_called_like_all_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    assert read(folder, LLAMA).id == "my-model"


def test_an_unknown_architecture_with_the_usual_fields_is_read_like_a_llama(tmp_path: Path) -> None:
    model = read(tmp_path, {**LLAMA, "model_type": "newcomer"})
    assert (model.family, model.parameters) == ("newcomer", 8_030_261_248)


@pytest.mark.parametrize("missing", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
def test_a_missing_field_is_named_with_its_file(tmp_path: Path, missing: str) -> None:
    table = {name: value for name, value in LLAMA.items() if name != missing}
    with pytest.raises(BadScenario, match=rf"config\.json: field '{missing}'.* is missing"):
        read(tmp_path, table)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("{", "not valid JSON"),
        ("[]", "a config.json is a table"),
        ("[" * 100_000, "not valid JSON"),
        ({**LLAMA, "hidden_size": "wide"}, "'hidden_size' must be a whole number from 1"),
        ({**LLAMA, "hidden_size": 10**30}, "'hidden_size' must be a whole number from 1"),
        ({**LLAMA, "vocab_size": -1}, "'vocab_size' must be a whole number from 1"),
        ({**LLAMA, "num_hidden_layers": True}, "'num_hidden_layers' must be a whole number"),
        ({**LLAMA, "num_key_value_heads": 5}, "'num_key_value_heads' 5 cannot share 32 heads"),
        ({**LLAMA, "num_attention_heads": 30, "num_key_value_heads": 10}, "'head_dim' is missing"),
        ({**LLAMA, "tie_word_embeddings": 1}, "'tie_word_embeddings' must be true or false"),
        ({**LLAMA, "model_type": 7}, "'model_type' must be a string"),
        ({**LLAMA, "layer_types": [1]}, "'layer_types' must be a list of strings"),
        ({**LLAMA, "text_config": 3}, "'text_config' must be a table"),
        ({**LLAMA, "is_encoder_decoder": True}, "'is_encoder_decoder' is true"),
        ({**LLAMA, "ssm_state_size": 128}, "'ssm_state_size' belongs to an architecture that is not modelled"),
        ({**LLAMA, "layer_types": ["linear_attention"] * 32}, "'linear_num_value_heads' is missing"),
        ({**LLAMA, "moe_experts": 64}, "'moe_experts' counts experts"),
        ({**MIXTRAL, "num_experts_per_tok": 9}, "'num_experts_per_tok' 9 is more than the 8 experts"),
        ({**MIXTRAL, "first_k_dense_replace": 32}, "leaves no layer its experts"),
    ],
)
def test_a_config_that_cannot_be_is_refused_with_file_and_field(tmp_path: Path, table: Any, complaint: str) -> None:
    with pytest.raises(BadScenario) as refusal:
        read(tmp_path, table)
    assert "config.json: " in str(refusal.value)
    assert complaint in str(refusal.value)


def test_a_file_too_large_to_be_one_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(BadScenario, match="more than 4 MiB"):
        catalog.model(str(path))


BASES = [LLAMA, QWEN2, QWEN3_MOE, MIXTRAL, GEMMA2, GPT_OSS, DEEPSEEK_V3, DEEPSEEK_V2_LITE, OPT, QWEN35]
STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.one_of(st.integers(0, 3), st.text(max_size=3)), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.sampled_from(BASES), st.data())
def test_a_config_with_strange_values_gives_a_model_or_a_refusal(
    tmp_path: Path, base: dict[str, Any], data: st.DataObject
) -> None:
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(base)), STRANGE, min_size=1, max_size=4))
    _model_or_refusal(tmp_path, json.dumps({**base, **changed}))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(st.text(max_size=200))
def test_any_text_gives_a_model_or_a_refusal(tmp_path: Path, text: str) -> None:
    _model_or_refusal(tmp_path, text)


def _model_or_refusal(folder: Path, text: str) -> None:
    try:
        model = read(folder, text)
    except BadScenario:
        return
    assert model.parameters >= model.active_parameters > 0
    assert model.kv_bytes(10) > 0
