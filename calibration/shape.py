"""What a model's figures must not say about each other."""

from sim.hardware import Gpu, Host, Model


def contradiction(entry: Gpu | Host | Model) -> str | None:
    """Why no transformer can have this shape, or None; of cards and hosts nothing is asked."""
    if not isinstance(entry, Model):
        return None
    return next((complaint for wrong, complaint in (*_too_much(entry), *_half_said(entry)) if wrong), None)


def _too_much(model: Model) -> list[tuple[bool, str]]:
    """Parts that are larger than the whole they belong to."""
    tables = model.vocab * model.hidden * (1 if model.tied_embeddings else 2)
    return [
        (tables > model.parameters, "'vocab' x 'hidden' makes tables of more than all 'parameters'"),
        (model.active_parameters > model.parameters, "field 'active_parameters' is more than 'parameters'"),
        (model.kv_heads > model.heads, "field 'kv_heads' is more than 'heads'"),
        (model.window_layers > model.layers, "field 'window_layers' is more than 'layers'"),
        (model.experts_per_token > model.experts, "field 'experts_per_token' is more than 'experts'"),
        (model.expert_parameters >= model.parameters, "field 'expert_parameters' leaves nothing of 'parameters'"),
    ]


def _half_said(model: Model) -> list[tuple[bool, str]]:
    """Fields of which one means nothing without the other."""
    expert_fields = [model.experts, model.experts_per_token, model.expert_parameters]
    return [
        (bool(model.window) != bool(model.window_layers), "fields 'window' and 'window_layers' go together"),
        (
            any(expert_fields) and not all(expert_fields),
            "fields 'experts', 'experts_per_token' and 'expert_parameters' go together",
        ),
    ]
