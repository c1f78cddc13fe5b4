"""The weight format that a config.json says its weights are published in."""

from typing import Any

from calibration.model_files.hf_fields import Fields

FIELD = "quantization_config"
# What quantisers write, the most telling field first, and what it is called here.
TELLING = ("quant_algo", "format", "quant_method")
FORMATS = {
    "nvfp4": "nvfp4",
    "nvfp4-pack-quantized": "nvfp4",
    "mxfp4": "mxfp4",
    "mxfp4-pack-quantized": "mxfp4",
    "fp8": "fp8",
    "float-quantized": "fp8",
    "fbgemm_fp8": "fp8",
    "awq": "awq",
    "gptq": "gptq",
    "pack-quantized": "int4",
    "int-quantized": "int8",
    "w4a16": "int4",
    "w8a8": "int8",
}
EIGHT_BITS = 8


def native_weights(fields: Fields) -> str:
    """The format, or nothing where the weights are not quantised or nobody here knows how."""
    table = fields.table(FIELD)
    for name in TELLING:
        known = FORMATS.get(str(table.get(name, "")).lower())
        if known:
            return "int8" if known in ("gptq", "awq", "int4") and _bits(table) == EIGHT_BITS else known
    return ""


def _bits(table: dict[str, Any]) -> object:
    """Bits of a weight, which some quantisers state beside the format and some inside its groups."""
    groups = table.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    weights = first.get("weights") if isinstance(first, dict) else None
    return table.get("bits", weights.get("num_bits") if isinstance(weights, dict) else None)
