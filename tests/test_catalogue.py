"""What the catalogue promises: names that find the right card, figures with an origin, sizes that are possible."""

import dataclasses
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

CATALOGUE = Path(__file__).resolve().parents[1] / "calibration"
KINDS: dict[str, type[Gpu] | type[Host] | type[Model]] = {"gpu": Gpu, "host": Host, "model": Model}
ENTRIES = [(kind, name) for kind in KINDS for name in catalog.names(kind)]
MODELS = catalog.names("model")
FORMATS = tomllib.loads((CATALOGUE / "weights.toml").read_text(encoding="utf-8"))
WEIGHTS = [
    *(name for group in ("whole", "linear", "gguf") for name in FORMATS[group]),
    *catalog.model(catalog.GENERIC_GGUF).gguf_bits,
]
WORDS = {"id", "name", "vendor", "memory_class", "family", "price_date", "aliases", "recalled", "sources"}

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
        catalog._fold(spelling): name
        for name in catalog.names(kind)
        for spelling in [name, *table(kind, name).get("aliases", [])]
    }
    for name in catalog.names(kind):
        assert all(
            owners[catalog._fold(spelling)] == name for spelling in [name, *table(kind, name).get("aliases", [])]
        )


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
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b"),
    ],
)
def test_names_of_ollama_and_hugging_face_are_known(name: str, meant: str) -> None:
    assert catalog.model(name).id == meant


def counted_parameters(model: Model) -> int:
    """The parameters of a dense transformer with gated feed-forward, tensor by tensor."""
    attention = 2 * model.hidden * model.head_dim * (model.heads + model.kv_heads)
    layer = attention + 3 * model.hidden * model.intermediate + 2 * model.hidden
    embeddings = model.vocab * model.hidden * (1 if model.tied_embeddings else 2)
    return embeddings + model.layers * layer + model.hidden


@pytest.mark.parametrize("name", MODELS)
def test_parameters_follow_from_the_shape(name: str) -> None:
    model = catalog.model(name)
    # Biases and norms inside attention, which some families have, are what is left.
    assert model.parameters == pytest.approx(counted_parameters(model), rel=1e-3)
    assert model.active_parameters == model.parameters


@pytest.mark.parametrize("name", [name for name in MODELS if name.endswith("b")])
def test_a_model_has_about_as_many_parameters_as_its_name_says(name: str) -> None:
    billions = float(name.rpartition("-")[2].removesuffix("b"))
    assert catalog.model(name).parameters / 1e9 == pytest.approx(billions, rel=0.25)


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
    assert 4 * GIB < card.memory_bytes <= 512 * GIB
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


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match=r"nowhere\.toml: cannot be read"):
        catalog.model(str(tmp_path / "nowhere.toml"))


def test_a_kind_can_be_asked_for_in_the_plural_and_an_unknown_one_is_refused() -> None:
    assert catalog.names("gpus") == catalog.names("gpu")
    with pytest.raises(UnknownName, match="unknown catalogue 'engines'"):
        catalog.names("engines")
