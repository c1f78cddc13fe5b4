"""What a measurement says of its server's options, under the engine's own names."""

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from calibration.points import Point
from sim import compose
from sim.cli.measured.version import is_before
from sim.errors import NotSupported
from sim.hardware import GIB

OPTION_FILES = {"vllm": "vllm_options", "ollama": "ollama_options", "llama_cpp": "llama_options"}
SLOTS = {"vllm": "max_num_seqs", "ollama": "num_parallel", "llama_cpp": "parallel"}
MORE_NAMES = {"nubatch": "ubatch_size"}  # as llama.cpp's bench programs have it
HARMLESS = ("flashattn", "threads")  # known to the engines, without effect on what is simulated
USUAL_VALUES = ("0", "1", "false", "none", "off", "layer", "auto")
BLOCK_TOKENS = 16
WIDER_CHUNKS = "0.6.5"  # vLLM's first release whose chunked prefill takes 2,048 tokens a step of itself (#10544)
NARROW_CHUNK = 512  # before (#4580)
UBATCH = re.compile(r"\bn?[-_]?ubatch[ =](\d+)\b")  # where a note has it


def options_of(point: Point, engine: str) -> tuple[dict[str, Any], list[str]]:
    """The engine's own options, and those that could not be used."""
    options: dict[str, Any] = {}
    if point.slots:
        options[SLOTS[engine]] = point.slots
    if engine == "vllm" and point.kv_tokens:
        options["num_gpu_blocks"] = point.kv_tokens // BLOCK_TOKENS + 1  # one is the null block
    elif engine == "vllm" and point.kv_gib:
        options["kv_cache_memory_bytes"] = int(point.kv_gib * GIB)  # of each GPU, as the log has it
    noted = UBATCH.search(point.notes)
    if engine == "llama_cpp" and noted:
        options["ubatch_size"] = int(noted.group(1))
    written, ignored = _written_options(point, engine)
    return _early_default(point, engine, written) | options | written, ignored


def _early_default(point: Point, engine: str, written: Mapping[str, Any]) -> dict[str, Any]:
    """What an option left out meant to a release before those that are modelled."""
    early = engine == "vllm" and is_before(engine, point.engine_version, WIDER_CHUNKS)
    return {"max_num_batched_tokens": NARROW_CHUNK} if early and written.get("enable_chunked_prefill") else {}


def _written_options(point: Point, engine: str) -> tuple[dict[str, Any], list[str]]:
    """What stands in the options' column, and as flags beside the version."""
    beside = [word.strip("(),") for word in point.engine_version.split() if word.strip("(,").startswith("--")]
    texts = [*point.engine_options.replace(",", ";").split(";"), *beside]
    known, refused = _option_names(engine)
    options, ignored = {}, []
    for text in filter(None, (text.strip().lstrip("-") for text in texts)):
        name, equals, value = text.replace(" ", "=", 1).partition("=") if "=" not in text else text.partition("=")
        key = compose.fold(name)
        if known.get(key) == "n_gpu_layers" and value.startswith("-"):
            continue  # all of them, which is what it takes of itself
        if key in known:
            options[known[key]] = compose.option_value(value) if equals else True
        elif key in refused or key.startswith("speculative"):
            if key not in HARMLESS and value.lower() not in USUAL_VALUES:
                raise NotSupported(f"{point.engine}'s {refused.get(key, text)} is not modelled")
        else:
            ignored.append(f"option '{text}' is not known and left out")
    return options, ignored


def _option_names(engine: str) -> tuple[dict[str, str], dict[str, str]]:
    """An engine's options by compared name: those modelled, and those known and not modelled."""
    module = import_module(f"policies.engines.{OPTION_FILES[engine]}")
    known = {compose.fold(name): name for name in module.OPTIONS}
    known |= {compose.fold(alias): name for alias, name in module.ALIASES.items()}
    known |= {alias: name for alias, name in MORE_NAMES.items() if name in module.OPTIONS}
    return known, {compose.fold(name): name for name in module.NOT_MODELLED}
