"""What the catalogue promises: names that find the right card, figures with an origin, sizes that are possible."""

import dataclasses
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration import catalog
from sim.errors import BadScenario, UnknownName
from sim.hardware import GIB, Gpu, Host, Model
from sim.naming import fold

CATALOGUE = Path(__file__).resolve().parents[1] / "calibration"
KINDS: dict[str, type[Gpu] | type[Host] | type[Model]] = {"gpu": Gpu, "host": Host, "model": Model}
ENTRIES = [(kind, name) for kind in KINDS for name in catalog.names(kind)]
MODELS = catalog.names("model")
FORMATS = tomllib.loads((CATALOGUE / "weights.toml").read_text(encoding="utf-8"))
WEIGHTS = [
    *(name for group in ("whole", "linear", "gguf") for name in FORMATS[group]),
    *catalog.model(catalog.GENERIC_GGUF).gguf_bits,
]
WORDS = {"id", "name", "vendor", "architecture", "memory_class", "family", "price_date", "native_weights"}
WORDS |= {"aliases", "recalled", "sources"}

A_CARD = """
vendor = "nvidia"
memory_class = "gddr"
memory_bytes = 8_589_934_592
bandwidth_gbs = 256
fp16_tflops = 30.5
"""


def table(kind: str, name: str) -> dict[str, Any]:
    return tomllib.loads((CATALOGUE / f"{kind}s" / f"{name}.toml").read_text(encoding="utf-8"))


def find(kind: str, name: str) -> Gpu | Host | Model:
    found: Gpu | Host | Model = getattr(catalog, kind)(name)
    return found


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_an_entry_is_found_by_its_id_and_by_every_alias(kind: str, name: str) -> None:
    entry = find(kind, name)
    assert isinstance(entry, KINDS[kind])
    assert entry.id == name
    assert all(find(kind, alias) == entry for alias in table(kind, name).get("aliases", []))


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_figure_has_a_source_or_is_recalled_and_never_both(kind: str, name: str) -> None:
    entry = table(kind, name)
    sourced = [field for group in entry.get("sources", {}) for field in group.split(", ")]
    origins = Counter([*sourced, *entry["recalled"]])
    assert origins == Counter(entry.keys() - WORDS)


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_a_source_says_something(kind: str, name: str) -> None:
    for source in table(kind, name).get("sources", {}).values():
        assert all(len(part) > 5 for part in ([source] if isinstance(source, str) else source))


def test_every_weight_format_has_a_source_or_is_recalled() -> None:
    assert {*FORMATS["sources"], *FORMATS["recalled"]} == FORMATS.keys() - {"sources", "recalled"}


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_entries_share_a_name(kind: str) -> None:
    owners = {
        fold(spelling): name
        for name in catalog.names(kind)
        for spelling in [name, *table(kind, name).get("aliases", [])]
    }
    for name in catalog.names(kind):
        assert all(owners[fold(spelling)] == name for spelling in [name, *table(kind, name).get("aliases", [])])


@given(st.sampled_from(ENTRIES), st.data())
def test_case_dots_dashes_and_underscores_do_not_count(entry: tuple[str, str], data: st.DataObject) -> None:
    kind, name = entry
    swap = {mark: data.draw(st.sampled_from([".", "-", "_", ""])) for mark in ".-_"}
    spelled = "".join(data.draw(st.sampled_from([c.upper(), c])) for c in (swap.get(c, c) for c in name))
    assert find(kind, spelled).id == name


def test_a_100_of_40_gb_is_the_40_gb_card() -> None:
    card = catalog.gpu("a100-40g")
    assert card.id == "a100-40g-sxm"
    assert 39 * GIB < card.memory_bytes < 40 * GIB
    assert card.bandwidth_gbs == 1555


@pytest.mark.parametrize("name", ["a100", "A100"])
def test_a_name_that_fits_several_cards_is_refused_with_the_cards(name: str) -> None:
    with pytest.raises(UnknownName, match="a100-40g-") as refusal:
        catalog.gpu(name)
    assert all(near.startswith("a100") for near in refusal.value.near)


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [
        ("gpu", "rtx-4900", "rtx-4090"),
        ("gpu", "rtx4060ti", "rtx-4060-ti-16g"),
        ("model", "llama-3.1-9b", "llama-3.1-8b"),
        ("model", "qwen3:08b", "qwen3-8b"),
        ("host", "desktop-ddr6", "desktop-ddr5"),
    ],
)
def test_an_unknown_name_offers_the_nearest(kind: str, name: str, meant: str) -> None:
    with pytest.raises(UnknownName, match=f"unknown {kind} '{name}'") as refusal:
        find(kind, name)
    assert meant in refusal.value.near


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("4090", "rtx-4090"),
        ("RTX4090", "rtx-4090"),
        ("h100", "h100-80g-sxm"),
        ("a100-80g", "a100-80g-sxm"),
        ("apple-m2-ultra", "m2-ultra"),
        ("b300_sxm", "b300-sxm"),
        ("rtx-4060ti-16g", "rtx-4060-ti-16g"),
        ("rtx-4070ti", "rtx-4070-ti"),
        ("apple-m5", "m5"),
        ("radeon-8060s", "strix-halo-395"),
        ("3060-laptop", "rtx-3060-laptop"),
    ],
)
def test_common_names_of_cards_are_known(name: str, meant: str) -> None:
    assert catalog.gpu(name).id == meant


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("llama3.1:8b", "llama-3.1-8b"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("Qwen/Qwen3-8B", "qwen3-8b"),
        ("qwen3:0.6b", "qwen3-0.6b"),
        ("llama3.2", "llama-3.2-3b"),
        ("mistral", "mistral-7b"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b"),
    ],
)
def test_names_of_ollama_and_hugging_face_are_known(name: str, meant: str) -> None:
    assert catalog.model(name).id == meant


# What the count needs beyond the catalogue's fields: ranks of a latent attention (query, and the heads' parts), how
# many experts' worth of every layer all tokens share, and layers whose feed-forward is dense, with its width.
LATENT = {
    "deepseek-v2-lite": (0, 128, 64, 128),
    "deepseek-v3": (1536, 128, 64, 128),
    "kimi-k2.5": (1536, 128, 64, 128),
    "glm-4.7-flash": (768, 192, 64, 256),
    "glm-5": (2048, 192, 64, 256),
}
SHARED_EXPERTS = {"deepseek-v2-lite": 2, "deepseek-v3": 1, "kimi-k2.5": 1, "glm-4.7-flash": 1, "glm-5": 1}
SHARED_EXPERTS |= {"qwen3.5-35b-a3b": 1, "qwen3.5-397b-a17b": 1, "llama-4-scout": 1, "llama-4-maverick": 1}
SHARED_EXPERTS |= {"gemma-4-26b-a4b": 3}
DENSE_LAYERS = {"deepseek-v2-lite": (1, 10944), "deepseek-v3": (3, 18432), "kimi-k2.5": (1, 18432)}
DENSE_LAYERS |= {"glm-4.7-flash": (1, 10240), "glm-5": (3, 12288), "llama-4-maverick": (24, 16384)}
UNGATED = {"opt", "bloom", "gptj"}


def counted_attention(model: Model) -> int:
    """The projections of one layer."""
    if model.latent_kv:
        query_rank, nope, rope, values = LATENT[model.id]
        rank = 512
        query = model.hidden * model.heads * (nope + rope)
        if query_rank:
            query = query_rank * (model.hidden + model.heads * (nope + rope))
        keys = model.hidden * (rank + rope) + rank * model.heads * (nope + values)
        return query + keys + model.heads * values * model.hidden
    return 2 * model.hidden * model.head_dim * (model.heads + model.kv_heads)


def counted_limited_attention(model: Model) -> int:
    """The same of a layer with a window, or with a state in its place."""
    if model.family.startswith("qwen35"):
        values = {"qwen3.5-27b": 6144, "qwen3.5-35b-a3b": 4096, "qwen3.5-397b-a17b": 8192}[model.id]
        return model.hidden * (2 * 2048 + 3 * values)
    if model.family == "gemma4":
        return 2 * model.hidden * 256 * (model.heads + model.heads // 2)
    return counted_attention(model)


def counted_full_attention(model: Model) -> int:
    """The same of a layer that sees everything, with its gate, or with one projection for keys and values."""
    if model.family.startswith("qwen35"):
        return counted_attention(model) + model.hidden * model.heads * model.head_dim
    if model.family == "gemma4":
        return counted_attention(model) - model.hidden * model.kv_heads * model.head_dim
    return counted_attention(model)


def counted_parameters(model: Model) -> int:
    """The parameters of a transformer, matrix by matrix."""
    dense, dense_width = DENSE_LAYERS.get(model.id, (0, 0))
    width = model.intermediate * (model.experts + SHARED_EXPERTS.get(model.id, 0) if model.experts else 1)
    matrices = 2 if model.family in UNGATED else 3
    forward = matrices * model.hidden * ((model.layers - dense) * width + dense * dense_width)
    full = model.layers - model.window_layers
    attention = full * counted_full_attention(model) + model.window_layers * counted_limited_attention(model)
    embeddings = model.vocab * model.hidden * (1 if model.tied_embeddings else 2)
    return embeddings + attention + forward


@pytest.mark.parametrize("name", MODELS)
def test_parameters_follow_from_the_shape(name: str) -> None:
    model = catalog.model(name)
    # Biases, norms and routers are what is left.
    assert model.parameters == pytest.approx(counted_parameters(model), rel=5e-3)


@pytest.mark.parametrize("name", MODELS)
def test_a_token_uses_all_that_is_not_an_idle_expert(name: str) -> None:
    model = catalog.model(name)
    idle = model.expert_parameters * (1 - model.experts_per_token / model.experts) if model.experts else 0
    assert model.active_parameters == pytest.approx(model.parameters - idle, abs=1)


@pytest.mark.parametrize("name", [name for name in MODELS if catalog.model(name).experts])
def test_expert_parameters_are_those_of_the_layers_that_have_experts(name: str) -> None:
    model = catalog.model(name)
    routed = model.layers - DENSE_LAYERS.get(model.id, (0, 0))[0]
    expert = 3 * model.hidden * model.intermediate
    assert model.expert_parameters == pytest.approx(routed * model.experts * expert, rel=1e-3)


@pytest.mark.parametrize("name", [name for name in MODELS if re.search(r"\d(b|b1)(-|$)", name)])
def test_a_model_has_about_as_many_parameters_as_its_name_says(name: str) -> None:
    stated = re.search(r"-(?:(\d+)x)?([\d.]+)(?:b|m)", name.removeprefix("deepseek-r1-distill"))
    assert stated
    billions = int(stated[1] or 1) * float(stated[2])
    # Of eight experts only the feed-forward is there eight times.
    assert catalog.model(name).parameters / 1e9 == pytest.approx(billions, rel=0.32)


def test_a_token_of_a_mixture_uses_about_as_many_parameters_as_the_name_says() -> None:
    for name in (name for name in MODELS if re.search(r"-a\d+b$", name)):
        stated = float(name.rpartition("-a")[2].removesuffix("b"))
        assert catalog.model(name).active_parameters / 1e9 == pytest.approx(stated, rel=0.2)


@pytest.mark.parametrize("name", MODELS)
def test_attention_heads_share_keys_evenly(name: str) -> None:
    model = catalog.model(name)
    assert model.heads % model.kv_heads == 0


def test_the_recorded_model_keeps_12288_bytes_a_token() -> None:
    model = catalog.model("rand-78m")
    assert model.kv_bytes_per_token() == 12288
    assert model.parameters == pytest.approx(78.7e6, rel=1e-3)


@given(st.sampled_from(MODELS), st.sampled_from(WEIGHTS))
def test_a_parameter_takes_between_2_and_33_bits(name: str, weights: str) -> None:
    assert 2 <= catalog.weight_bits(catalog.model(name), weights) <= 33


@given(st.sampled_from(MODELS))
def test_a_smaller_type_of_one_family_makes_a_smaller_file(name: str) -> None:
    sizes = [catalog.weight_bits(catalog.model(name), weights) for weights in ("q4_k_m", "q5_k_m", "q6_k", "q8_0")]
    assert sizes == sorted(sizes)


@given(st.sampled_from(MODELS), st.sampled_from(sorted(FORMATS["linear"])))
def test_quantising_the_linear_layers_leaves_the_embedding_at_16_bits(name: str, weights: str) -> None:
    model, linear = catalog.model(name), FORMATS["linear"][weights]
    assert linear < catalog.weight_bits(model, weights) < 16


def test_four_bit_files_are_bigger_than_four_and_a_half_bits() -> None:
    eight_billion, seventy_billion = catalog.model("llama-3.1-8b"), catalog.model("llama-3.1-70b")
    assert catalog.weight_bits(eight_billion, "q4_k_m") == pytest.approx(4.89, abs=0.01)
    assert catalog.weight_bits(seventy_billion, "Q4-K-M") == pytest.approx(4.82, abs=0.01)


@pytest.mark.parametrize(
    ("name", "published", "repacked"), [("gpt-oss-20b", 13.76, 12.1), ("gpt-oss-120b", 65.2, 63.4)]
)
def test_mxfp4_is_the_format_of_the_experts_alone(name: str, published: float, repacked: float) -> None:
    model = catalog.model(name)
    gigabytes = {
        engine: catalog.weight_bits(model, "mxfp4", engine) * model.parameters / 8e9
        for engine in ("vllm", "ollama", "llama_cpp")
    }
    assert gigabytes["vllm"] == gigabytes["ollama"] == pytest.approx(published, rel=3e-3)
    assert gigabytes["llama_cpp"] == pytest.approx(repacked, rel=3e-3)


@pytest.mark.parametrize(
    ("weights", "fits"), [("mxfp4", True), ("q4_k_m", True), ("bf16", True), ("fp8", False), ("awq", False)]
)
def test_formats_of_other_engines_are_no_gguf(weights: str, fits: bool) -> None:
    assert catalog.is_gguf(weights) is fits


def test_a_published_size_is_believed_before_the_layout_of_a_format() -> None:
    model = catalog.model("kimi-k2.5")
    assert catalog.weight_bits(model, "int4") * model.parameters / 8e9 == pytest.approx(595, rel=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_the_cache_grows_by_a_token_until_windows_are_full(name: str) -> None:
    model = catalog.model(name)
    short = min(model.window, 100) or 100
    assert model.kv_bytes(short) == short * model.kv_bytes_per_token()
    kept = (model.layers - model.window_layers) / model.layers
    grown = model.kv_bytes(200_001) - model.kv_bytes(200_000)
    assert grown == pytest.approx(model.kv_bytes_per_token() * kept, abs=1)


def test_a_window_bounds_the_cache_of_its_layers() -> None:
    model = catalog.model("gemma-3-4b")
    token_of_a_layer = 2 * 4 * 256 * 2
    assert model.kv_bytes(32768) == token_of_a_layer * (5 * 32768 + 29 * 1024)


def test_a_latent_cache_is_much_smaller_than_its_heads_would_be() -> None:
    assert catalog.model("deepseek-v3").kv_bytes_per_token() == 61 * 576 * 2


@pytest.mark.parametrize("spelling", ["awq", "AWQ", "gptq-marlin", "w4a16"])
def test_four_bit_groups_carry_their_scales(spelling: str) -> None:
    gigabytes = catalog.weight_bits(catalog.model("llama-2-7b"), spelling) * 6.738 / 8
    assert gigabytes == pytest.approx(3.89, abs=0.01)


def test_a_model_without_its_own_file_takes_the_generic_figure() -> None:
    without = dataclasses.replace(catalog.model("llama-3.1-70b"), gguf_bits={})
    assert catalog.weight_bits(without, "q4_k_m") == catalog.weight_bits(catalog.model("llama-3.1-8b"), "q4_k_m")
    assert catalog.weight_bits(without, "q5_0") == FORMATS["gguf"]["q5_0"]


def test_an_unknown_weight_format_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match="weight format 'q4_k_x'") as refusal:
        catalog.weight_bits(catalog.model("llama-3.1-8b"), "q4_k_x")
    assert "q4_k_m" in refusal.value.near


@pytest.mark.parametrize(
    ("kv_type", "size"), [("f16", 2), ("BF16", 2), ("fp8", 1), ("fp8_e4m3", 1), ("q8_0", 1.0625), ("q4_0", 0.5625)]
)
def test_a_cache_element_carries_its_share_of_the_scale(kv_type: str, size: float) -> None:
    assert catalog.kv_bytes_per_element(kv_type) == size


def test_an_unknown_cache_type_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match="q8_0"):
        catalog.kv_bytes_per_element("q8_1")


@pytest.mark.parametrize("name", catalog.names("gpu"))
def test_a_card_is_physically_sensible(name: str) -> None:
    card = catalog.gpu(name)
    assert 4 * GIB <= card.memory_bytes <= 512 * GIB
    flop_per_byte = card.fp16_tflops * 1e3 / card.bandwidth_gbs
    assert 10 < flop_per_byte < 600
    # Dense against sparse and FP16 against FP32 accumulation are factors of two: a mixed pair would show.
    assert card.fp8_tflops is None or card.fp8_tflops / card.fp16_tflops == pytest.approx(2, rel=0.03)
    assert card.pcie_gbs <= card.bandwidth_gbs


@pytest.mark.parametrize(
    ("name", "dense"), [("rtx-4090", 165.2), ("rtx-3090", 71), ("h100", 989.4), ("l40s", 362.05), ("a10g", 70)]
)
def test_tensor_rates_are_dense_and_accumulate_in_fp32(name: str, dense: float) -> None:
    assert catalog.gpu(name).fp16_tflops == dense


def test_a_card_of_ones_own_is_loaded_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "my-card.toml"
    path.write_text(A_CARD, encoding="utf-8")
    card = catalog.gpu(str(path))
    assert (card.id, card.name, card.memory_bytes, card.bandwidth_gbs) == ("my-card", "my-card", 8 * GIB, 256.0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("bandwidth_gbs = 256", "bandwidth_gbs = 'fast'"), "'bandwidth_gbs' must be a number above 0, not 'fast'"),
        (("bandwidth_gbs = 256", "bandwidth_gbs = -1"), "'bandwidth_gbs' must be a number above 0"),
        (("bandwidth_gbs = 256", "bandwidth_gbs = nan"), "'bandwidth_gbs' must be a number above 0"),
        (("bandwidth_gbs = 256", "bandwidth_gbs = true"), "'bandwidth_gbs' must be a number above 0"),
        (("bandwidth_gbs = 256", ""), "'bandwidth_gbs' is missing"),
        (("bandwidth_gbs", "bandwidth"), "unknown field 'bandwidth'"),
        (("8_589_934_592", "8.5"), "'memory_bytes' must be a whole number above 0"),
        (("gddr", "sram"), "'memory_class' must be one of hbm, gddr, unified"),
        (('"nvidia"', "7"), "'vendor' must be a string"),
        (("256", "256\nrecalled = 'all'"), "'recalled' must be a list of strings"),
        (("vendor =", "vendor"), "not valid TOML"),
    ],
)
def test_a_malformed_card_is_refused_with_file_and_field(
    tmp_path: Path, change: tuple[str, str], complaint: str
) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(A_CARD.replace(*change), encoding="utf-8")
    with pytest.raises(BadScenario) as refusal:
        catalog.gpu(str(path))
    assert "broken.toml: " in str(refusal.value)
    assert complaint in str(refusal.value)


A_MODEL = """
family = "llama"
parameters = 1000
active_parameters = 1000
layers = 4
hidden = 8
heads = 2
kv_heads = 1
head_dim = 4
vocab = 16
max_context = 64
"""


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("tied_embeddings = true\nvocab_size = 1", "unknown field 'vocab_size'"),
        ("experts = 8", "'experts', 'experts_per_token' and 'expert_parameters' go together"),
        ("experts = 2\nexperts_per_token = 3\nexpert_parameters = 9", "'experts_per_token' is more than 'experts'"),
        ("experts = 2\nexperts_per_token = 1\nexpert_parameters = 1000", "'expert_parameters' leaves nothing"),
        ("window = 32", "'window' and 'window_layers' go together"),
        ("window = 32\nwindow_layers = 5", "'window_layers' is more than 'layers'"),
        ("window = -1", "'window' must be a whole number, 0 or more"),
    ],
)
def test_a_model_that_contradicts_itself_is_refused(tmp_path: Path, change: str, complaint: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(A_MODEL + change, encoding="utf-8")
    with pytest.raises(BadScenario, match=r"mine\.toml: ") as refusal:
        catalog.model(str(path))
    assert complaint in str(refusal.value)


def test_tables_that_are_more_than_the_whole_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(A_MODEL.replace("vocab = 16", "vocab = 63"), encoding="utf-8")
    with pytest.raises(BadScenario, match="'vocab' x 'hidden' makes tables of more than all 'parameters'"):
        catalog.model(str(path))
    path.write_text(A_MODEL.replace("vocab = 16", "vocab = 62"), encoding="utf-8")
    assert catalog.model(str(path)).vocab == 62


def test_zero_says_that_a_model_has_no_window_and_no_experts(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(A_MODEL + "window = 0\nwindow_layers = 0\nexperts = 0\nlatent_kv = 0\n", encoding="utf-8")
    assert catalog.model(str(path)).kv_bytes(10) == 10 * 4 * 2 * 4 * 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match=r"nowhere\.toml: cannot be read"):
        catalog.model(str(tmp_path / "nowhere.toml"))


def test_a_kind_can_be_asked_for_in_the_plural_and_an_unknown_one_is_refused() -> None:
    assert catalog.names("gpus") == catalog.names("gpu")
    with pytest.raises(UnknownName, match="unknown catalogue 'engines'"):
        catalog.names("engines")
