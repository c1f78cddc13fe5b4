"""What choosing a token takes on the CPU: every entry of the vocabulary is visited, by one thread, row after row."""

from collections.abc import Mapping

NANO = 1e-9

# Nanoseconds an entry, by who samples and how. A sampler on the GPU has no name.
SAMPLING_NS: Mapping[str, float] = {
    "": 0.0,
    # llama.cpp's chain as its server sets it: 0.9 to 1.2 of 128,256 to 262,144 entries, timed on one core of an EPYC
    # 9004 at 3 to 3.7 GHz, of March 2025 (7841fc7) and of October 2026 (b11434) alike.
    "plain": 1.0,
    # With a repeat penalty, for which every candidate is looked up among the recent tokens: 3.6 to 4.0 there, mostly
    # divisions. Others with and without it, of 248,320 entries: 3.4 (unslothai/llama.cpp pull request 96: 147 -> 130
    # tok/s) and 24.8 (ggml-org/llama.cpp issue 24871: 33.1 -> 27.5). Between 3.6 and 24.8, by ratio.
    "penalised": 9.4,
    # Ollama's own engine (sample/ of 0.6.6), there too: 2.0 to 2.3, and 2.8 of 262,144 with collecting garbage.
    "own": 2.8,
}


def row_s(sampler: str, vocab: int) -> float:
    """Seconds for one token, on the thread that hosts are compared by."""
    return SAMPLING_NS[sampler] * NANO * vocab
