"""What a vLLM server prints of itself when it starts: version, model, options and the size of its KV cache."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from calibration.parsing.agreeing import agreeing
from calibration.parsing.rows import Row
from calibration.points import Point

FIELDS = {
    "version": re.compile(r"LLM engine \(v?([\w.+-]{1,60})\)"),
    "model": re.compile(r"with config: model='([^'\n]{1,500})'"),
    "dtype": re.compile(r"\bdtype=(?:torch\.)?(\w+)"),
    "quantization": re.compile(r"\bquantization='?([\w-]+)"),
    "kv_dtype": re.compile(r"\bkv_cache_dtype=(\w+)"),
    "context": re.compile(r"\bmax_(?:seq|model)_len=(\d+)"),
    "tensor": re.compile(r"\btensor_parallel_size=(\d+)"),
    "pipeline": re.compile(r"\bpipeline_parallel_size=(\d+)"),
    "slots": re.compile(r"max_num_seqs'?[=:] ?(\d+)|--max-num-seqs[ =](\d+)"),
    "budget": re.compile(r"max_num_batched_tokens'?[=:] ?(\d+)|--max-num-batched-tokens[ =](\d+)"),
    "eager": re.compile(r"\benforce_eager=(\w+)"),
    "prefixes": re.compile(r"\benable_prefix_caching=(\w+)"),
    "guesses": re.compile(r"\bspeculative_config=(\w+)"),
    "block_size": re.compile(r"block_size'?[=:] ?(\d+)|--block-size[ =](\d+)"),
    # a terminal may have wrapped the line
    "blocks": re.compile(r"# GPU blocks: (\d+)|num_gpu_blocks is\s{0,4}:\s{0,4}(\d+)|num_gpu_blocks_override=(\d+)"),
    "cells": re.compile(r"KV cache size: ([\d,]+) tokens"),
    "kv_gib": re.compile(r"Available KV cache memory: ([\d.]+) GiB"),
    "weights_gib": re.compile(r"[Mm]odel (?:loading|weights) took ([\d.]+) Gi?B"),
    "gpu": re.compile(r"device_name=([\w-]{1,60})\.json"),
}
WHILE_SERVING = ("Iteration(", "throughput: ", '" 200 OK')
BLOCK_SIZE = 16  # tokens, by default
# a container of formats, which does not say which of them it holds
UNTOLD = "compressed-tensors"
WEIGHTS = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "auto": ""}


@dataclass(frozen=True, slots=True)
class Header:
    """The server of a log; blanks where it does not say, or says different things of different starts."""

    said: Row
    changed: tuple[str, ...]

    @property
    def kv_tokens(self) -> int | None:
        """The pool, in tokens."""
        blocks = self.said.whole("blocks")
        cells = Row({"KV cache size": self.said.text("cells").replace(",", "")}).whole("KV cache size")
        return cells or (blocks * (self.said.whole("block_size") or BLOCK_SIZE) if blocks else None)

    @property
    def facts(self) -> Mapping[str, str | float]:
        """What is known of it by name; of several cards, the GiB are those of one."""
        numbers = {name: self.said.measured(name) for name in ("blocks", "kv_gib", "weights_gib", "slots", "context")}
        known = {"engine_version": self.said.text("version"), "model": self.said.text("model"), **numbers}
        return {name: value for name, value in {**known, "kv_tokens": self.kv_tokens}.items() if value}

    def server(self, source: str) -> Point:
        """A point that describes the server and measures nothing yet."""
        cards = (self.said.whole("tensor") or 1) * (self.said.whole("pipeline") or 1)
        return Point(
            source_id=source,
            engine="vllm",
            engine_version=self.said.text("version"),
            engine_options=";".join(self._options()),
            gpu=self.said.text("gpu").replace("_", " ") or "unstated",
            gpu_count=cards,
            model=self.said.text("model") or "unstated",
            weights=self._weights(),
            load="single",
            load_value=1.0,
            slots=self.said.whole("slots"),
            context=self.said.whole("context"),
            kv_gib=self.said.measured("kv_gib"),
            kv_tokens=self.kv_tokens,
        )

    def _weights(self) -> str:
        quantized, dtype = self.said.text("quantization"), self.said.text("dtype")
        if quantized in ("", "None"):
            return WEIGHTS.get(dtype, dtype)
        return "" if quantized == UNTOLD else quantized

    def _options(self) -> list[str]:
        found = [f"max-num-batched-tokens={self.said.text('budget')}"] if "budget" in self.said else []
        found += ["enforce-eager"] if self.said.text("eager") == "True" else []
        found += ["no-enable-prefix-caching"] if self.said.text("prefixes") == "False" else []
        found += ["speculative-config"] if self.said.text("guesses") not in ("", "None") else []
        kv = self.said.text("kv_dtype")
        return found + ([f"kv-cache-dtype={kv}"] if kv not in ("", "auto") else [])


def header_of(text: str) -> Header:
    """The header of a whole log; what is printed while it serves is passed over, for there is much of it."""
    kept = (line for line in text.split("\n") if not any(mark in line for mark in WHILE_SERVING))
    return Header(*agreeing("\n".join(kept), FIELDS))
