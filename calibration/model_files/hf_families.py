"""What a model's family settles and its config.json leaves unsaid."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture, by what it does otherwise than Llama."""

    engine_name: str = ""  # what the engines call it; empty: as Hugging Face does
    defaults: Mapping[str, Any] = field(default_factory=dict)  # fields that its config may leave out
    matrices: int = 3  # of the feed-forward: gate, up and down; 2 without a gate
    attention_biases: bool = False  # on query, key and value
    all_biases: bool = False  # on every matrix
    head_norms: bool = False  # of query and key
    norms: int = 2  # of a layer
    norm_vectors: int = 1  # 2 where a norm has a bias beside its scale
    learned_positions: int = 0  # rows beside the positions themselves; -1 when the positions are not learned
    window_pattern: int = 0  # every so manyth layer sees everything, the others the window; 0: all have the window
    expert_biases: bool = False


PLAIN = Family(learned_positions=-1)
GEMMA2: dict[str, Any] = {
    "tie_word_embeddings": True,
    "vocab_size": 256_000,
    "head_dim": 256,
    "sliding_window": 4096,
    "max_position_embeddings": 8192,
}
GEMMA3: dict[str, Any] = {
    "tie_word_embeddings": True,
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "num_hidden_layers": 26,
    "intermediate_size": 9216,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "sliding_window": 4096,
    "max_position_embeddings": 131_072,
}
TIED: dict[str, Any] = {"tie_word_embeddings": True}


def _family(engine_name: str = "", **differences: Any) -> Family:
    return Family(**{"engine_name": engine_name, "learned_positions": -1, **differences})


_GEMMA3 = _family("gemma3", defaults=GEMMA3, norms=4, head_norms=True, window_pattern=6)
_DEEPSEEK = _family("deepseek2")
_GEMMA4 = _family("gemma4", defaults=TIED, norms=4, head_norms=True)
_LLAMA4 = _family("llama4", defaults={"n_shared_experts": 1}, window_pattern=4)
_QWEN35 = _family("qwen35", head_norms=True)
_QWEN35_MOE = _family("qwen35moe", head_norms=True)

FAMILIES: dict[str, Family] = {
    "mixtral": _family("llama"),
    "qwen2": _family(attention_biases=True),
    "qwen2_moe": _family("qwen2moe", attention_biases=True),
    "qwen3": _family(head_norms=True),
    "qwen3_moe": _family("qwen3moe", head_norms=True),
    "qwen2_5_vl": _family("qwen25vl", attention_biases=True),
    "qwen2_5_vl_text": _family("qwen25vl", attention_biases=True),
    "qwen3_vl": _family("qwen3vl", head_norms=True),
    "qwen3_vl_text": _family("qwen3vl", head_norms=True),
    "qwen3_vl_moe": _family("qwen3vlmoe", head_norms=True),
    "qwen3_vl_moe_text": _family("qwen3vlmoe", head_norms=True),
    "qwen3_5": _QWEN35,
    "qwen3_5_text": _QWEN35,
    "qwen3_5_moe": _QWEN35_MOE,
    "qwen3_5_moe_text": _QWEN35_MOE,
    "gemma": _family(defaults={**TIED, "head_dim": 256}),
    "gemma2": _family(defaults=GEMMA2, norms=4, window_pattern=2),
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "gemma4": _GEMMA4,
    "gemma4_text": _GEMMA4,
    "llama4": _LLAMA4,
    "llama4_text": _LLAMA4,
    "gpt_oss": _family("gptoss", all_biases=True, expert_biases=True, window_pattern=2),
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "deepseek_v32": _DEEPSEEK,
    "kimi_k2": _DEEPSEEK,
    "glm4_moe_lite": _DEEPSEEK,
    "glm_moe_dsa": _DEEPSEEK,
    "minimax_m2": _family("minimax-m2", head_norms=True),
    "opt": _family(norm_vectors=2, matrices=2, all_biases=True, learned_positions=2, defaults=TIED),
    "gpt2": _family(norm_vectors=2, matrices=2, all_biases=True, learned_positions=0, defaults=TIED),
    "gptj": _family(norm_vectors=2, matrices=2, norms=1),
    "gpt_neox": _family("gptneox", norm_vectors=2, matrices=2, all_biases=True),
    "bloom": _family(norm_vectors=2, matrices=2, all_biases=True, defaults=TIED),
    "falcon": _family(norm_vectors=2, matrices=2, defaults=TIED),
    "gpt_bigcode": _family(
        "starcoder", norm_vectors=2, matrices=2, all_biases=True, learned_positions=0, defaults=TIED
    ),
    "nemotron": _family(norm_vectors=2, matrices=2),
    "cohere": _family("command-r", norms=1, defaults=TIED),
    "cohere2": _family(norms=1, defaults=TIED, window_pattern=4),
    "qwen3_next": _family("qwen3next", head_norms=True),
    "mpt": _family(matrices=2, defaults=TIED),
    "phi": _family("phi2", norm_vectors=2, matrices=2, all_biases=True, norms=1),
    "starcoder2": _family(norm_vectors=2, matrices=2, all_biases=True, defaults=TIED),
}


def family_of(model_type: str) -> Family:
    """The family of that name; one that is not listed is taken for a Llama."""
    return FAMILIES.get(model_type, PLAIN)
