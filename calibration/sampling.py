"""What choosing a token takes on the CPU: every entry of the vocabulary is visited, by one thread, row after row."""

from collections.abc import Mapping

NANO = 1e-9

# Nanoseconds an entry, by who samples and how. A sampler on the GPU has no name.
SAMPLING_NS: Mapping[str, float] = {
    "": 0.0,
    # Candidates laid out and the best 40 found, by a program that does no more, on a 2023 server's core.
    "plain": 0.8,
    # A look into a table of recent tokens for every candidate, as llama.cpp's chain does for a repeat penalty. Others'
    # measurements with and without it, of 248,320 entries: 3.4 (unslothai/llama.cpp pull request 96: 147 -> 130 tok/s)
    # and 24.8 (ggml-org/llama.cpp issue 24871: 33.1 -> 27.5); between them, by ratio.
    "penalised": 9.2,
    # Ollama's own engine: no such penalty, but the logits are copied and laid out anew; reckoned, not measured.
    "own": 2.0,
}


def row_s(sampler: str, vocab: int) -> float:
    """Seconds for one token, on the thread that hosts are compared by."""
    return SAMPLING_NS[sampler] * NANO * vocab
