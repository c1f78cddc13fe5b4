"""What is said about a start: prompts that are cut, formats and cards that an engine does not load."""

import pytest

from sim import compose
from sim.cli.notices import cut_prompts
from sim.cli.variants import Prepared
from sim.errors import NotSupported
from sim.variant import Demand, Variant


def told(engine: str, prompt: int, version: str | None = None, **options: object) -> list[str]:
    """What is said of prompts of so many tokens."""
    variant = Variant("start", engine, "a100-40g-sxm", "llama-3.1-8b", version, options)
    traffic = compose.traffic(Demand(prompt_tokens=str(prompt), output_tokens="64"))
    return list(cut_prompts(Prepared(variant, compose.deploy(variant)), traffic))


@pytest.mark.parametrize("version", [None, "0.24", "0.9"])
def test_ollama_says_when_prompts_are_cut(version: str | None) -> None:
    (said,) = told("ollama", 3000, version, num_ctx=2048)
    assert said == "100% of the prompts are cut to fit into a context of 2,048: --num-ctx 4096 cuts fewer"
    assert not told("ollama", 1500, version, num_ctx=2048)


def test_a_server_that_refuses_cuts_nothing() -> None:
    assert not told("vllm", 3000, max_model_len=2048)
    assert not told("llama_cpp", 3000, ctx_size=2048, parallel=1)
    assert not told("ollama", 3000, num_ctx=2048, truncate=False)


@pytest.mark.parametrize("engine", ["ollama", "llama_cpp"])
@pytest.mark.parametrize("weights", ["awq", "fp8", "w8a8"])
def test_engines_of_gguf_files_load_no_others(engine: str, weights: str) -> None:
    with pytest.raises(NotSupported, match=f"GGUF files, which hold no {weights}"):
        compose.deploy(Variant("start", gpu="a100-40g-sxm", model="llama-3.1-8b", engine=engine, weights=weights))


@pytest.mark.parametrize(("gpu", "bf16"), [("v100-32g-sxm2", False), ("t4", False), ("a10", True), ("l4", True)])
def test_a_card_without_bf16_is_told_of(gpu: str, bf16: bool) -> None:
    start = Variant("start", gpu=gpu, model="qwen2.5-1.5b", engine="vllm", options={"max_model_len": 4096})
    assert any("has no BF16" in warning for warning in compose.deploy(start).warnings) is not bf16


@pytest.mark.parametrize("gpu", ["p40", "m40-24g"])
def test_vllm_does_not_run_on_cards_before_volta(gpu: str) -> None:
    with pytest.raises(NotSupported, match="from Volta on"):
        compose.deploy(Variant("start", gpu=gpu, model="qwen2.5-1.5b", engine="vllm"))
