"""A model by the config.json that Hugging Face keeps beside its weights: the shape as it stands, parameters counted.

Llama and what follows its field names is read as it is; a family that does otherwise is listed in hf_families. An
architecture of another name is read like a Llama and accepted when every field that a Llama needs is there.
"""

from pathlib import Path

from calibration.entries import build
from calibration.model_files.hf_attention import Attention, attention_of
from calibration.model_files.hf_families import Family, family_of
from calibration.model_files.hf_feedforward import FeedForward, feed_forward_of
from calibration.model_files.hf_fields import Fields, read_table
from calibration.model_files.hf_quantised import native_weights
from sim.errors import BadScenario
from sim.hardware import Model

LINEAR, SLIDING = "linear_attention", ("sliding_attention", "chunked_attention")
# Fields of architectures whose layers are not attention and feed-forward, or differ one by one.
PER_LAYER_INPUT = "hidden_size_per_layer_input"  # 0 where there is none
UNLIKE = (
    "hybrid_override_pattern",
    "layers_block_type",
    "block_configs",
    "mamba_d_state",
    "ssm_state_size",
    "state_size",
    "attn_layer_indices",
    "full_attn_idxs",
    "compress_ratios",
    "linear_attn_config",
    "attn_layer_period",
    "attn_type_list",
    "block_types",
    "conv_L_cache",
    "ffn_config",
    PER_LAYER_INPUT,
)


def read_config(path: Path) -> Model:
    """The model that the file describes."""
    table = read_table(path)
    model_type = table.get("model_type", "")
    if not isinstance(model_type, str):
        raise BadScenario(f"{path}: field 'model_type' must be a string, not {model_type!r:.80}")
    family = family_of(model_type)
    fields = Fields(table, family.defaults, str(path))
    if fields.flag("is_encoder_decoder"):
        raise fields.refuse("is_encoder_decoder", "is true: only models that decode from left to right are modelled")
    unlike = fields.marker(UNLIKE)
    if unlike and (unlike != PER_LAYER_INPUT or fields.count(unlike)):
        raise fields.refuse(
            unlike, "belongs to an architecture that is not modelled: describe the model in a TOML file"
        )
    return _model(fields, family, path, family.engine_name or model_type.removesuffix("_text") or "unknown")


def _model(fields: Fields, family: Family, path: Path, engine_name: str) -> Model:
    hidden = fields.whole("hidden_size", "n_embd", "n_embed", "d_model")
    layers = fields.whole("num_hidden_layers", "n_layer", "num_layers", "n_layers")
    vocab = fields.whole("vocab_size", "padded_vocab_size")
    tied = fields.flag("tie_word_embeddings")
    context = fields.whole("max_position_embeddings", "n_positions", "seq_length", "max_seq_len", "model_max_length")
    attention = attention_of(fields, family, hidden)
    forward = feed_forward_of(fields, family, hidden, layers)
    window, window_layers = _windows(fields, family, attention, layers)
    if window >= context:  # a window that no request outgrows
        window, window_layers = 0, 0
    limited = window_layers if attention.limited_parameters else 0
    body = (layers - limited) * attention.parameters + limited * attention.limited_parameters
    body += (
        (layers * family.norms + 1) * hidden * family.norm_vectors
        + forward.shared_parameters
        + forward.expert_parameters
    )
    outside = vocab * hidden * (1 if tied else 2)
    if family.learned_positions >= 0:
        outside += (context + family.learned_positions) * hidden
    parameters = body + outside
    idle = forward.expert_parameters * (forward.experts - forward.experts_per_token) // max(1, forward.experts)
    return build(
        Model,
        {
            "id": _name(path),
            "name": _name(path),
            "family": engine_name,
            "parameters": parameters,
            "active_parameters": parameters - idle,
            "layers": layers,
            "hidden": hidden,
            "vocab": vocab,
            "max_context": context,
            "tied_embeddings": tied,
            "native_weights": native_weights(fields),
            "window": window,
            "window_layers": window_layers,
            **_attention_table(attention),
            **_forward_table(forward),
        },
        str(path),
    )


def _attention_table(attention: Attention) -> dict[str, int]:
    names = ("heads", "kv_heads", "head_dim", "latent_kv")
    return {name: getattr(attention, name) for name in names}


def _forward_table(forward: FeedForward) -> dict[str, int]:
    names = ("experts", "experts_per_token", "expert_parameters")
    return {"intermediate": forward.width, **{name: getattr(forward, name) for name in names}}


def _windows(fields: Fields, family: Family, attention: Attention, layers: int) -> tuple[int, int]:
    """Tokens that some layers are limited to, and how many layers those are."""
    kinds = fields.names("layer_types")[:layers]
    if LINEAR in kinds:
        if not attention.limited_tokens:
            raise fields.refuse("linear_num_value_heads", "is missing, and layer_types names linear layers")
        return attention.limited_tokens, kinds.count(LINEAR)
    window = attention.limited_tokens or fields.count("sliding_window", "attention_chunk_size")
    if not window or not fields.flag("use_sliding_window", default=True):
        return 0, 0
    limited = sum(kinds.count(kind) for kind in SLIDING) if kinds else _by_pattern(fields, family, layers)
    return (window, limited) if limited else (0, 0)


def _by_pattern(fields: Fields, family: Family, layers: int) -> int:
    """Layers with a window where the file does not list them."""
    if "max_window_layers" in fields:
        return max(0, layers - fields.count("max_window_layers"))
    pattern = fields.count("sliding_window_pattern") or family.window_pattern
    return layers - layers // pattern if pattern else layers


def _name(path: Path) -> str:
    """What the file is called, or its folder when every model's file is called that."""
    named = path.stem if path.stem != "config" else path.resolve().parent.name
    return named.removesuffix("_config") or "config"
