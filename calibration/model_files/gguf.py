"""A model by a GGUF file's header: its shape, its parameters tensor by tensor, and the bits that they really take."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from calibration.entries import build
from calibration.model_files.gguf_header import Array, Header, Tensor, read_header
from calibration.model_files.gguf_keys import Keys
from calibration.model_files.gguf_types import BLOCKS, FILE_TYPES, UNNAMED_TYPE
from sim.hardware import Model

ROUTED = "_exps."  # in the names of the routed experts' tensors
EMBEDDING, HEAD = "token_embd.weight", "output.weight"
NOT_WEIGHTS = ("rope_freqs.", "rope_factors_")
SEEING = ("v.", "mm.", "a.")  # parts for images and sound, where a file holds them too
# What belongs to architectures whose layers keep a state instead of keys and values.
UNLIKE = ("ssm.state_size", "wkv.head_size", "shortconv.l_cache")
# Of these, those whose layers with a state and those with attention are told apart by an interval.
STATE, INTERVAL = "ssm.state_size", "full_attention_interval"
STATE_BYTES, CACHE_BYTES = 4, 2


def read_gguf(path: Path) -> Model:
    """The model that the file holds; its own weight format is what it runs in unless told otherwise."""
    return _Shape(path, read_header(path)).model()


class _Shape:
    """The header's figures under this project's names."""

    def __init__(self, path: Path, header: Header) -> None:
        self._keys = Keys(path, header.metadata)
        self._seeing = [each for each in header.tensors if each.name.startswith(SEEING)]
        # layers that predict a second token come last and are not run
        self._layers = self._keys.whole("block_count") - self._keys.count("nextn_predict_layers")
        if self._layers < 1:
            raise self._keys.wrong(self._keys.name("nextn_predict_layers"), "leaves no layer")
        self._tensors = [each for each in header.tensors if self._is_read(each.name)]

    def model(self) -> Model:
        self._refuse_what_is_not_modelled()
        parameters, bits = self._weights()
        experts = self._keys.count("expert_count")
        chosen = self._keys.count("expert_used_count")
        routed = sum(each.elements for each in self._tensors if ROUTED in each.name) if experts else 0
        if experts and (not 0 < chosen <= experts or not 0 < routed < parameters):
            raise self._keys.wrong(
                self._keys.name("expert_used_count"), f"is {chosen} of {experts} experts in {routed} weights"
            )
        idle = routed * (experts - chosen) // experts if experts else 0
        weights = self._file_type()
        return build(
            Model,
            {
                "id": self._keys.path.stem,
                "name": self._keys.text("general.name") or self._keys.path.stem,
                "family": self._keys.architecture,
                "parameters": parameters,
                "active_parameters": parameters - idle,
                "hidden": self._keys.whole("embedding_length"),
                "vocab": self._vocabulary(),
                "max_context": self._keys.whole("context_length"),
                "tied_embeddings": all(each.name != HEAD for each in self._tensors),
                "intermediate": self._keys.count("expert_feed_forward_length" if experts else "feed_forward_length"),
                "experts": experts,
                "experts_per_token": chosen if experts else 0,
                "expert_parameters": routed,
                "vision_parameters": sum(each.elements for each in self._seeing),
                "gguf_bits": {weights: bits},
                "native_weights": weights,
                **self._attention(),
            },
            str(self._keys.path),
        )

    def _is_read(self, name: str) -> bool:
        """Whether a tensor is a weight that every token is multiplied with."""
        block = name.split(".", 2)[1] if name.startswith("blk.") else ""
        extra = block.isdecimal() and int(block) >= self._layers
        return not extra and not name.startswith((*NOT_WEIGHTS, *SEEING))

    def _refuse_what_is_not_modelled(self) -> None:
        for name in UNLIKE:
            if self._keys.has(name) and not (name == STATE and self._keys.count(INTERVAL)):
                raise self._keys.wrong(
                    self._keys.name(name),
                    "belongs to an architecture that is not modelled: describe the model in a TOML file",
                )
        parts = self._keys.metadata.get("split.count", 0)
        if isinstance(parts, int) and parts > 1:
            raise self._keys.wrong(
                "split.count", f"is {parts}: a part's header does not name all tensors; merge them first"
            )

    def _weights(self) -> tuple[int, float]:
        """The number of parameters and the bits that one takes, over all tensors."""
        size = 0
        for each in self._tensors:
            if each.kind not in BLOCKS:
                raise self._keys.wrong(f"tensor {each.name}", f"has the unknown type {each.kind}")
            elements, block_bytes = BLOCKS[each.kind]
            size += -(-each.elements // elements) * block_bytes
        parameters = sum(each.elements for each in self._tensors)
        if not parameters:
            raise self._keys.wrong("tensor_count", "is 0: the file holds no weights")
        return parameters, size * 8 / parameters

    def _attention(self) -> dict[str, Any]:
        layers, heads = self._layers, self._keys.whole("attention.head_count")
        hidden = self._keys.whole("embedding_length")
        rank = self._keys.count("attention.kv_lora_rank")
        usual = hidden // heads if hidden % heads == 0 else None
        shape: dict[str, Any] = {"layers": layers, "heads": heads}
        if rank:
            head_dim = self._keys.whole("attention.key_length_mla", self._keys.count("attention.key_length") or usual)
            rotated = self._keys.whole("rope.dimension_count")
            shape |= {"kv_heads": 1, "head_dim": head_dim, "latent_kv": rank + rotated}
        else:
            kv_heads = self._keys.whole("attention.head_count_kv", heads)
            shape |= {"kv_heads": kv_heads, "head_dim": self._keys.whole("attention.key_length", usual)}
        if self._keys.count(INTERVAL) and self._keys.count(STATE):
            return shape | self._states(layers, 2 * shape["kv_heads"] * shape["head_dim"])
        return shape | self._windows(layers)

    def _states(self, layers: int, token_elements: int) -> dict[str, int]:
        """Layers that keep a state, written as a window whose tokens would take as much."""
        state = self._keys.whole("ssm.inner_size") * self._keys.whole(STATE) * STATE_BYTES
        limited = layers - layers // self._keys.whole(INTERVAL)
        tokens = -(-state // (token_elements * CACHE_BYTES))
        return {"window": tokens, "window_layers": limited} if limited else {}

    def _windows(self, layers: int) -> dict[str, int]:
        """The sliding window and the layers that have it, listed, by a pattern, or by the family's own habit."""
        window = self._keys.count("attention.sliding_window")
        if not 0 < window < self._keys.whole("context_length"):
            return {}
        listed = self._keys.metadata.get(self._keys.name("attention.sliding_window_pattern"))
        if isinstance(listed, Array):
            limited = sum(1 for value in listed.values[:layers] if value)
        else:
            pattern = listed if isinstance(listed, int) and listed > 0 else PATTERNS.get(self._keys.architecture, 0)
            limited = layers - layers // pattern if pattern else layers
        return {"window": window, "window_layers": limited} if limited else {}

    def _vocabulary(self) -> int:
        """Rows of the embedding, by the file's own figure, its list of tokens, or the tensor itself."""
        tokens = self._keys.metadata.get("tokenizer.ggml.tokens")
        if isinstance(tokens, Array) and tokens.length:
            return tokens.length
        if self._keys.has("vocab_size"):
            return self._keys.whole("vocab_size")
        table = _named(self._tensors, EMBEDDING)
        if table is None:
            raise self._keys.wrong(self._keys.name("vocab_size"), "is missing")
        return max(1, table.elements // self._keys.whole("embedding_length"))

    def _file_type(self) -> str:
        kind = self._keys.metadata.get("general.file_type")
        return FILE_TYPES.get(kind, UNNAMED_TYPE) if isinstance(kind, int) else UNNAMED_TYPE


# Every so manyth layer sees everything, where the file does not say.
PATTERNS = {"gemma2": 2, "gemma3": 6, "gpt-oss": 2, "gptoss": 2, "llama4": 4, "cohere2": 4}


def _named(tensors: Iterable[Tensor], name: str) -> Tensor | None:
    return next((each for each in tensors if each.name == name), None)
