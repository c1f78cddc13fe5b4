"""Of which time an engine is: releases whose kernels and host work are alike."""

BARE, V0, SYNC, ASYNC, ANY = "bare", "v0", "sync", "async", "any"
APART = (BARE, V0)  # what the releases that the simulator models are not

V1, DECIDES_AHEAD, MARLIN = (0, 8), (0, 14), (0, 5)  # of vLLM


def era(kernels: str, version: str) -> str:
    """The time of a release. Kernels that were timed one by one, without a server, are `bare`."""
    text = version.lower()
    if kernels != "vllm":
        return ANY
    if "kernels" in text:
        return BARE
    number = release(text)
    if "2024" in text or (number is not None and number < V1):
        return V0
    return ASYNC if "2026" in text or (number is not None and number >= DECIDES_AHEAD) else SYNC


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
