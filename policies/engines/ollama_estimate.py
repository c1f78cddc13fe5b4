"""What Ollama reckons a load will take, before it has tried: layers go to the CPU by this sum, not by what they take.

    reckoned  weights and cells + the graph, by family + one layer to spare + what looks at pictures
    graph     the larger of two sums, for all layers on the card and for some; a family without sums of its own is
              given a sixth of its cells for each head that shares a key: qwen3:32b at 32k has 67 GiB asked, 36 taken

Flash attention does not count: the sums hold the scores that it never writes. They match the server's log to its last
digit (gemma3:12b with one slot of 2,048: 10.3 GiB required, 608 MiB of cells, 1.0 GiB of graph for pictures).
"""

from sim.hardware import Model

FLOAT_BYTES = 4
# Of an element of the cache: without the scales that a quantised one has beside every 32 (ggml.go, v0.24.0).
RECKONED_KV_BYTES = {"f16": 2.0, "q8_0": 1.0, "q4_0": 0.5}
LAST_BY_SUMS = (0, 11, 10)  # later releases measure what Ollama's own engine takes; recalled
# A picture's scores: 64 x 64 patches of 14 x 14 pixels, 16 heads; and its 3 x 896 x 896 values.
PICTURE_VALUES = 4096 * 4096 * 16 + 3 * 896 * 896
CELLS_A_GROUP = 6  # of a family without sums of its own
TABLE_SHARE = (105, 128)  # of the head, unpacked when it is not on the card
MATRIX_SHARE = (9, 16)
LLAMA_FAMILIES = frozenset({"llama", "mistral", "mixtral"})
GEMMA_FAMILIES = frozenset({"gemma", "gemma2", "gemma3"})


def reserve_bytes(model: Model, cells: int, kv_bytes: int, batch: int, layer_bytes: int) -> int:
    """What is set aside on a card beside layers: `cells` and `kv_bytes` are those of all slots."""
    pictures = FLOAT_BYTES * PICTURE_VALUES if model.vision_parameters else 0
    return graph_bytes(model, cells, kv_bytes, batch) + layer_bytes + pictures


def graph_bytes(model: Model, cells: int, kv_bytes: int, batch: int) -> int:
    """The larger of the sums for all layers on the card and for some of them, which only a Llama's first can be."""
    if model.family in LLAMA_FAMILIES:
        return max(_llama_whole(model, cells, batch), _llama_part(model, cells, batch))
    if model.family in GEMMA_FAMILIES:
        return _gemma_part(model, cells, batch)
    if model.family == "qwen2":
        return _qwen2_part(model, cells, batch)
    return model.heads // max(1, model.kv_heads) * kv_bytes // CELLS_A_GROUP


def _logits(model: Model, batch: int) -> int:
    return batch * (model.hidden + model.vocab)


def _table(model: Model) -> int:
    """Bytes of the head that a card without it unpacks."""
    return model.hidden * model.vocab * TABLE_SHARE[0] // TABLE_SHARE[1]


def _matrix(values: int) -> int:
    return values * MATRIX_SHARE[0] // MATRIX_SHARE[1]


def _llama_whole(model: Model, cells: int, batch: int) -> int:
    attention = batch * (1 + 4 * model.hidden + cells * (1 + model.heads))
    return FLOAT_BYTES * max(attention, _logits(model, batch))


def _llama_part(model: Model, cells: int, batch: int) -> int:
    scores = cells * (batch * model.heads + model.head_dim * model.kv_heads)
    attention = FLOAT_BYTES * (batch * (1 + model.hidden + max(cells, model.hidden)) + scores)
    attention += _matrix(model.hidden * model.hidden)
    head = FLOAT_BYTES * _logits(model, batch) + _table(model)
    return FLOAT_BYTES * batch * model.hidden + max(attention, head)


def _gemma_part(model: Model, cells: int, batch: int) -> int:
    width = model.heads * model.head_dim
    scores = batch * (1 + 2 * model.hidden + 2 * width + cells * (1 + model.heads))
    attention = FLOAT_BYTES * (scores + 8 * model.head_dim * cells) + _matrix(model.hidden * width)
    return max(attention, FLOAT_BYTES * _logits(model, batch) + _table(model))


def _qwen2_part(model: Model, cells: int, batch: int) -> int:
    attention = batch * (1 + 2 * model.hidden + cells * (1 + model.heads)) + model.hidden * (1 + cells)
    return max(FLOAT_BYTES * attention, FLOAT_BYTES * _logits(model, batch) + _table(model))
