"""Of which time an engine is: releases whose kernels and host work are alike."""

import re

BARE, V0, SYNC, ASYNC, EARLY, ANY = "bare", "v0", "sync", "async", "early", "any"
APART = (BARE, V0, EARLY)  # a deployment keeps the words for these: its release would mean another time

V1, DECIDES_AHEAD, MARLIN = (0, 8), (0, 14), (0, 5)  # of vLLM
# llama.cpp's kernels of today are those since the middle of 2025: its builds and pull requests, Ollama's releases
BUILD, PULL_REQUEST, OLLAMA = 5500, 13000, (0, 9)
NUMBERED = re.compile(r"\b(b|pr )(\d{3,5})\b")
BEFORE = re.compile(r"\b202[34]\b")


def era(kernels: str, version: str) -> str:
    """The time of a release. Kernels that were timed one by one, without a server, are `bare`."""
    text = version.lower()
    if kernels != "vllm":
        return EARLY if is_early(text) else ANY
    if "kernels" in text:
        return BARE
    number = release(text)
    if "2024" in text or (number is not None and number < V1):
        return V0
    return ASYNC if "2026" in text or (number is not None and number >= DECIDES_AHEAD) else SYNC


def is_early(version: str) -> bool:
    """Whether a build of llama.cpp, or a release of Ollama with one, is from before its kernels of today."""
    if found := NUMBERED.search(version):
        return int(found.group(2)) < (BUILD if found.group(1) == "b" else PULL_REQUEST)
    number = release(version)
    return bool(BEFORE.search(version)) or (number is not None and number < OLLAMA)


def widens_weights(weights: str, version: str) -> bool:
    """Whether a release of vLLM widens 4-bit weights for every pass, as it did before it had Marlin."""
    number = release(version.lower())
    return number is not None and number < MARLIN and "marlin" not in weights.lower()


def release(version: str) -> tuple[int, int] | None:
    """The first two numbers of a version, if it begins with any."""
    parts = version.lstrip("~v").replace("-", " ").replace("+", " ").split(" ")[0].split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return int(parts[0]), int(parts[1])
