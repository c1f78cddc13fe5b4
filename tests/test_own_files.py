"""A card, a model and its weights that no catalogue holds: given as files, run like any other."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from calibration import catalog
from sim import compose
from sim.cli.main import cli
from sim.variant import Variant
from tests.gguf_files import Q8_0, gguf, llama, llama_tensors
from tests.test_catalogue import A_CARD
from tests.test_hf_config import GPT_OSS, LLAMA


def ran(*words: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["run", *words, "--users", "2", "--requests", "20", "-o", "json"])
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA), encoding="utf-8")
    return str(path)


def test_a_card_of_ones_own_runs(tmp_path: Path) -> None:
    path = tmp_path / "my-card.toml"
    path.write_text(A_CARD, encoding="utf-8")
    (variant,) = ran("--gpu", str(path), "--engine", "llama_cpp", "--model", "qwen3-0.6b")["variants"]
    assert (variant["gpu"], variant["status"]) == ("my-card", "ok")


def test_a_config_runs_like_the_model_it_describes(config: str) -> None:
    words = ("--gpu", "a100-80g", "--engine", "vllm", "--max-model-len", "8192")
    own, listed = ran(*words, "--model", config), ran(*words, "--model", "llama-3.1-8b")
    assert own["points"] == listed["points"]


def test_a_gguf_file_runs_in_its_own_format(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(gguf(llama(general__file_type=7), llama_tensors(Q8_0)))
    (variant,) = ran("--gpu", "rtx-4090", "--engine", "llama_cpp", "--model", str(path), "--ctx-size", "8192")[
        "variants"
    ]
    assert variant["weights"] == "q8_0"
    model = catalog.model(str(path))
    on_gpu = model.parameters - model.vocab * model.hidden  # the embedding table is looked up on the host
    gigabytes = variant["memory"]["weights_gib"]
    assert gigabytes == pytest.approx(on_gpu * model.gguf_bits["q8_0"] / 8 / 2**30, rel=1e-3)


def test_a_broken_file_leaves_with_three_and_names_the_field(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**LLAMA, "hidden_size": "wide"}), encoding="utf-8")
    result = CliRunner().invoke(cli, ["run", "--gpu", "a100-80g", "--model", str(path)])
    assert result.exit_code == 3
    assert "config.json: field 'hidden_size'" in result.output


@pytest.mark.parametrize(
    ("model", "engine", "weights"),
    [
        ("gpt-oss-20b", "vllm", "mxfp4"),
        ("gpt-oss-20b", "ollama", "mxfp4"),
        ("deepseek-v3", "vllm", "fp8"),
        ("deepseek-v3", "llama_cpp", "q4_k_m"),
        ("llama-3.1-8b", "vllm", "bf16"),
        ("llama-3.1-8b", "ollama", "q4_k_m"),
    ],
)
def test_a_model_runs_as_it_is_published_where_the_engine_can_load_that(model: str, engine: str, weights: str) -> None:
    assert compose.default_weights(engine, catalog.model(model)) == weights


def test_experts_in_mxfp4_are_deployed_with_what_is_published(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(GPT_OSS), encoding="utf-8")
    variant = Variant("vllm", gpu="a100-80g", model=str(path), engine="vllm", weights="mxfp4")
    assert compose.deploy(variant).memory.weight_bytes == pytest.approx(13.76e9, rel=3e-3)


@pytest.mark.parametrize(("gpu", "host"), [("m1", "mac-studio"), ("dgx-spark-gb10", "unified-box")])
def test_a_memory_that_card_and_machine_share_is_the_cards(gpu: str, host: str) -> None:
    card, machine, _ = compose.machine(Variant("row", "llama_cpp", gpu, "llama-3.2-1b"))
    assert machine.id == host
    assert machine.ram_gbs == card.bandwidth_gbs
    assert card.memory_bytes <= machine.ram_bytes < 1.4 * card.memory_bytes
    assert compose.machine(Variant("row", "llama_cpp", gpu, "llama-3.2-1b", host=host))[1] == machine
