"""Writes small GGUF headers, right and wrong ones, for tests that read them."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10
F16, Q4_K, Q6_K, Q8_0, MXFP4 = 1, 12, 14, 8, 39

Tensors = Sequence[tuple[str, tuple[int, ...], int]]


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(item: Any) -> bytes:
    """An item with its type before it."""
    if isinstance(item, bool):
        return struct.pack("<I?", BOOL, item)
    if isinstance(item, int):
        return struct.pack("<II", U32, item)
    if isinstance(item, float):
        return struct.pack("<If", F32, item)
    if isinstance(item, str):
        return struct.pack("<I", STRING) + text(item)
    kind = struct.unpack("<I", value(item[0])[:4])[0] if item else U32
    return struct.pack("<IIQ", ARRAY, kind, len(item)) + b"".join(value(each)[4:] for each in item)


def tensor(name: str, dimensions: tuple[int, ...], kind: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions) + struct.pack("<IQ", kind, 0)


def gguf(metadata: Mapping[str, Any], tensors: Tensors, version: int = 3) -> bytes:
    """A file's header, with nothing behind it."""
    entries = b"".join(text(key) + value(item) for key, item in metadata.items())
    infos = b"".join(tensor(*each) for each in tensors)
    return b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata)) + entries + infos


def llama(**changes: Any) -> dict[str, Any]:
    """What a small Llama says of itself; a change to None leaves the key out."""
    facts = {
        "general.architecture": "llama",
        "general.name": "small llama",
        "general.file_type": 15,
        "llama.block_count": 2,
        "llama.context_length": 4096,
        "llama.embedding_length": 512,
        "llama.feed_forward_length": 1024,
        "llama.attention.head_count": 8,
        "llama.attention.head_count_kv": 2,
        "tokenizer.ggml.tokens": ["<s>", *(f"w{number}" for number in range(999))],
    }
    renamed = {key.replace("__", "."): item for key, item in changes.items()}
    return {key: item for key, item in {**facts, **renamed}.items() if item is not None}


def llama_tensors(kind: int = Q4_K) -> list[tuple[str, tuple[int, ...], int]]:
    """Its tensors: embedding and head in Q6_K, two layers in the type asked for."""
    layers = [
        (f"blk.{layer}.{name}.weight", shape, kind)
        for layer in range(2)
        for name, shape in (
            ("attn_q", (512, 512)),
            ("attn_k", (512, 128)),
            ("attn_v", (512, 128)),
            ("attn_output", (512, 512)),
            ("ffn_gate", (512, 1024)),
            ("ffn_up", (512, 1024)),
            ("ffn_down", (1024, 512)),
        )
    ]
    return [("token_embd.weight", (512, 1000), Q6_K), ("output.weight", (512, 1000), Q6_K), *layers]
