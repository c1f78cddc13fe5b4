"""Names of cards and models as drivers and repositories spell them."""

import pytest

from calibration import catalog, naming


@pytest.mark.parametrize("name", catalog.names("gpu"))
def test_a_card_of_the_catalogue_is_itself(name: str) -> None:
    assert naming.card(name) == name
    assert naming.is_card(name)


@pytest.mark.parametrize("name", catalog.names("model"))
def test_a_model_of_the_catalogue_is_itself(name: str) -> None:
    assert naming.model_and_format(name) == (name, "")
    assert naming.is_model(name)


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA A100-SXM4-80GB", "a100-80g-sxm"),
        ("NVIDIA A100-SXM4-40GB", "a100-40g-sxm"),
        ("NVIDIA A100 80GB PCIe", "a100-80g-pcie"),
        ("NVIDIA H100 80GB HBM3", "h100-80g-sxm"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA GB10", "dgx-spark-gb10"),
        ("Tesla V100-SXM2-32GB", "v100-32g-sxm2"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "rtx-pro-6000"),
        ("AMD Instinct MI300X", "mi300x"),
    ],
)
def test_a_drivers_name_means_its_card(name: str, card: str) -> None:
    assert naming.card(name) == card


@pytest.mark.parametrize(
    "name",
    ["NVIDIA A100", "NVIDIA", "AMD Radeon Graphics", "RTX 9999", "80GB", "", "unstated", "my-card.toml", "x" * 10_000],
)
def test_a_name_that_means_no_one_card_stays_as_it_is(name: str) -> None:
    assert naming.card(name) == name
    assert not naming.is_card(name)


VARIANTS = [name for name in catalog.names("gpu") if {"ti", "super", "laptop"} & set(name.split("-"))]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_card_is_never_taken_for_its_bigger_sister(name: str) -> None:
    plain = " ".join(word for word in name.split("-") if word not in {"ti", "super", "laptop"})
    assert naming.card(plain) != name


@pytest.mark.parametrize(
    ("name", "model", "weights"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b", ""),
        ("Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b", ""),
        ("meta-llama/Llama-2-7b-chat-hf", "llama-2-7b", ""),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", "qwen2.5-7b", "awq"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic", "llama-3.1-8b", "fp8"),
        ("gemma-2-9b-it", "gemma-2-9b", ""),
        ("gpt-oss 20B", "gpt-oss-20b", ""),
    ],
)
def test_a_repositorys_name_means_its_model(name: str, model: str, weights: str) -> None:
    assert naming.model_and_format(name) == (model, weights)


@pytest.mark.parametrize("name", ["acme/Tiny-1B", "llama 8B", "-it-it-it", "", "models/config.json", "x" * 10_000])
def test_a_model_that_nobody_knows_keeps_its_name(name: str) -> None:
    assert naming.model_and_format(name) == (name, "")
    assert not naming.is_model(name)
