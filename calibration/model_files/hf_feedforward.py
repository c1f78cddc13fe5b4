"""The parameters of the feed-forward layers: dense ones, routed experts and experts that every token uses."""

from dataclasses import dataclass

from calibration.model_files.hf_families import Family
from calibration.model_files.hf_fields import Fields


@dataclass(frozen=True, slots=True)
class FeedForward:
    """All feed-forward layers together."""

    width: int  # of an expert, or of the dense layer
    shared_parameters: int  # what every token goes through, the routers included
    experts: int = 0
    experts_per_token: int = 0
    expert_parameters: int = 0  # all routed experts of all layers


def feed_forward_of(fields: Fields, family: Family, hidden: int, layers: int) -> FeedForward:
    """Dense throughout, or with experts in the layers that have them."""
    experts = fields.count("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
    if experts <= 1:
        unknown = fields.counted_like("expert")
        if unknown:
            raise fields.refuse(unknown, "counts experts, and under no known name is said how many there are")
        width = _width(fields, hidden)
        return FeedForward(width, layers * _block(family, hidden, width))
    return _routed(fields, family, hidden, layers, experts)


def _routed(fields: Fields, family: Family, hidden: int, layers: int, experts: int) -> FeedForward:
    chosen = fields.whole("num_experts_per_tok", "experts_per_token", "top_k_experts", "moe_topk", "moe_k")
    if chosen > experts:
        raise fields.refuse("num_experts_per_tok", f"{chosen} is more than the {experts} experts")
    width = fields.whole("moe_intermediate_size", "intermediate_size", "ffn_hidden_size")
    routed = _routed_layers(fields, layers)
    expert = _block(family, hidden, width) + (2 * width + hidden if family.expert_biases else 0)
    always = fields.count("n_shared_experts") * width or fields.count(
        "shared_expert_intermediate_size", "shared_intermediate_size"
    )
    if fields.flag("enable_moe_block"):  # experts beside a dense layer, not in its place
        always += fields.whole("intermediate_size")
    shared = routed * (_block(family, hidden, always) + hidden * experts)
    if layers > routed:
        shared += (layers - routed) * _block(family, hidden, _dense_width(fields))
    return FeedForward(width, shared, experts, chosen, routed * experts * expert)


def _routed_layers(fields: Fields, layers: int) -> int:
    """How many layers have experts: one by one, or by what is left out."""
    listed = fields.items("moe_layer_freq")
    if listed:
        routed = sum(1 for each in listed[:layers] if each)
    else:
        step = fields.whole("decoder_sparse_step", "moe_layer_freq", "interleave_moe_layer_step", default=1)
        routed = (layers - fields.count("first_k_dense_replace") - len(fields.items("mlp_only_layers"))) // step
    if routed < 1:
        raise fields.refuse("num_hidden_layers", "leaves no layer its experts")
    return routed


def _dense_width(fields: Fields) -> int:
    return fields.whole("intermediate_size_mlp", "intermediate_size", "ffn_hidden_size")


def _width(fields: Fields, hidden: int) -> int:
    named = ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim")
    usual = any(name in fields for name in ("n_embd", "n_embed", "d_model")) or "ffn_hidden_size" in fields
    return fields.whole(*named, default=4 * hidden if usual else None)


def _block(family: Family, hidden: int, width: int) -> int:
    """One feed-forward of that width."""
    biases = (family.matrices - 1) * width + hidden if family.all_biases and not family.expert_biases else 0
    return family.matrices * hidden * width + (biases if width else 0)
