"""The parameters of a layer's attention, and what it keeps of every token."""

from dataclasses import dataclass

from calibration.model_files.hf_families import Family
from calibration.model_files.hf_fields import Fields

STATE_BYTES = 4  # a linear layer's state is FP32
CACHE_BYTES = 2


@dataclass(frozen=True, slots=True)
class Attention:
    """One layer's attention by its shape."""

    heads: int
    kv_heads: int
    head_dim: int
    parameters: int
    latent_kv: int = 0
    limited_parameters: int = 0  # of a layer that keeps a state or a window, where that one is built otherwise
    limited_tokens: int = 0  # tokens of a full layer that would take as much as such a layer keeps


def attention_of(fields: Fields, family: Family, hidden: int) -> Attention:
    """Latent, grouped or plain attention, whichever the fields describe."""
    heads = fields.whole("num_attention_heads", "n_head", "num_heads", "n_heads")
    if "kv_lora_rank" in fields:
        return _latent(fields, hidden, heads)
    if "global_head_dim" in fields:
        return _two_kinds(fields, hidden, heads)
    kv_heads = _kv_heads(fields, heads)
    if "head_dim" not in fields and "kv_channels" not in fields and hidden % heads:
        raise fields.refuse("head_dim", f"is missing and hidden_size {hidden} is no multiple of {heads} heads")
    head_dim = fields.whole("head_dim", "kv_channels", default=hidden // heads)
    queries = heads * head_dim
    keys = kv_heads * head_dim
    gates = queries if fields.flag("attn_output_gate") else 0
    count = hidden * (queries + gates + 2 * keys) + queries * hidden
    if family.attention_biases or family.all_biases or fields.flag("attention_bias"):
        count += queries + 2 * keys
    if family.all_biases:
        count += hidden
    if family.head_norms:
        count += 2 * head_dim
    linear, state = _linear(fields, hidden, 2 * keys)
    return Attention(heads, kv_heads, head_dim, count, limited_parameters=linear, limited_tokens=state)


def _kv_heads(fields: Fields, heads: int) -> int:
    if fields.flag("multi_query") and not fields.flag("new_decoder_architecture"):
        return 1
    kv_heads = fields.whole("num_key_value_heads", "num_kv_heads", "multi_query_group_num", default=heads)
    if kv_heads > heads or heads % kv_heads:
        raise fields.refuse("num_key_value_heads", f"{kv_heads} cannot share {heads} heads evenly")
    return kv_heads


def _latent(fields: Fields, hidden: int, heads: int) -> Attention:
    """MLA: one latent and one rotated part a token, which all heads share, so there is one KV head."""
    rank, rope = fields.whole("kv_lora_rank"), fields.whole("qk_rope_head_dim")
    nope, values = fields.whole("qk_nope_head_dim"), fields.whole("v_head_dim")
    query_rank = fields.count("q_lora_rank")
    queries = heads * (nope + rope)
    count = query_rank * (hidden + 1 + queries) if query_rank else hidden * queries
    count += hidden * (rank + rope) + rank + rank * heads * (nope + values) + heads * values * hidden
    index_dim = fields.count("index_head_dim")  # a sparse variant's keys for choosing tokens
    if index_dim:
        index_heads = fields.whole("index_n_heads")
        count += (query_rank or hidden) * index_heads * index_dim + hidden * (index_dim + index_heads)
    return Attention(heads, 1, nope + rope, count, latent_kv=rank + rope + index_dim)


def _two_kinds(fields: Fields, hidden: int, heads: int) -> Attention:
    """Full layers with heads of their own size, whose values may be their keys, beside layers with a window."""
    small_heads, small_dim = _kv_heads(fields, heads), fields.whole("head_dim")
    large_heads = fields.whole("num_global_key_value_heads", default=small_heads)
    large_dim = fields.whole("global_head_dim")
    projected = 1 if fields.flag("attention_k_eq_v") else 2
    large = hidden * large_dim * (2 * heads + projected * large_heads) + 2 * large_dim
    small = hidden * small_dim * 2 * (heads + small_heads) + 2 * small_dim
    tokens = -(-fields.whole("sliding_window") * small_heads * small_dim // (large_heads * large_dim))
    return Attention(heads, large_heads, large_dim, large, limited_parameters=small, limited_tokens=tokens)


def _linear(fields: Fields, hidden: int, token_elements: int) -> tuple[int, int]:
    """A gated delta layer's parameters, and its state in tokens of a full layer."""
    if "linear_num_value_heads" not in fields:
        return 0, 0
    value_heads, value_dim = fields.whole("linear_num_value_heads"), fields.whole("linear_value_head_dim")
    key_dim = fields.whole("linear_key_head_dim")
    keys, values = fields.whole("linear_num_key_heads") * key_dim, value_heads * value_dim
    mixed = 2 * keys + values
    count = hidden * (mixed + values + 2 * value_heads) + mixed * fields.whole("linear_conv_kernel_dim")
    state = value_heads * value_dim * key_dim * STATE_BYTES
    return count + values * hidden + 2 * value_heads + value_dim, -(-state // (token_elements * CACHE_BYTES))
