"""What tools call a card or a model, as the catalogue calls it: a driver's name, a repository, a file."""

import re
from collections.abc import Iterator
from functools import cache

from calibration import catalog
from sim.errors import SimctlError

FILES = (".toml", ".json", ".gguf")  # names that the catalogue would open
PROCESSOR = "cpu"
LONGEST = 120  # characters
# words of a driver that tell no card from another
MAKERS = {"nvidia", "amd", "geforce", "tesla", "quadro", "instinct", "radeon", "gpu", "graphics", "tm", "r"}
EDITIONS = {"generation", "edition", "workstation", "server", "blackwell", "hbm2", "hbm2e", "hbm3e", "oam"}
# words of an id that a driver's name leaves out
UNSAID = re.compile(r"\d+g|sxm|dgx|spark")
# endings of a repository's name that leave the shape of the model alone
TUNINGS = re.compile(r"[-_ ](instruct|it|chat|hf|base|gguf|\d{4}|v\d(\.\d)?)$")
QUANTISED = re.compile(r"[-_](awq|gptq|fp8|w8a8|nvfp4|mxfp4)((?:[-_](?:int4|int8|dynamic|marlin))*)$")


def card(name: str) -> str:
    """The catalogue's id of a card, or the name as it is where no card or several answer to it."""
    return _gpus().get(_words(name)) or _known("gpu", name) or _only_with(_words(name)) or name


def model_and_format(name: str) -> tuple[str, str]:
    """The catalogue's id of a model, and the weight format that its name ends on; the name as it is where unknown."""
    for candidate, weights in _shortened(name[:LONGEST].replace("\\", "/").strip("/")):
        if known := _known("model", candidate):
            return known, weights
    return name, ""


def is_card(name: str) -> bool:
    """Whether the catalogue has this card, or it is the processor."""
    return name == PROCESSOR or bool(_known("gpu", name))


def is_model(name: str) -> bool:
    """Whether the catalogue has this model."""
    return bool(_known("model", name))


def _shortened(name: str) -> Iterator[tuple[str, str]]:
    """The name, then what is left of it without its owner, its quantiser and its tuning, one after another."""
    weights = ""
    yield name, weights
    name = name.rpartition("/")[2].lower().removeprefix("meta-")
    yield name, weights
    while ending := QUANTISED.search(name) or TUNINGS.search(name):
        weights = weights or (ending[1] if ending.re is QUANTISED else "")
        name = name[: ending.start()]
        yield name, weights


@cache
def _known(kind: str, name: str) -> str:
    """The id that the catalogue has for a name; blank where it has none."""
    if not name or len(name) > LONGEST or name.lower().endswith(FILES):
        return ""
    try:
        return catalog.gpu(name).id if kind == "gpu" else catalog.model(name).id
    except SimctlError:
        return ""


@cache
def _gpus() -> dict[frozenset[str], str]:
    """Cards by the words of their ids, whose order differs from maker to maker."""
    return {_words(name): name for name in catalog.names("gpu")}


def _only_with(words: frozenset[str]) -> str:
    """The one card whose id adds only its memory or its socket to these words; blank where none or several do."""
    found = [name for known, name in _gpus().items() if words <= known and all(map(UNSAID.fullmatch, known - words))]
    return found[0] if words - {"sxm"} and len(found) == 1 else ""


def _words(name: str) -> frozenset[str]:
    """The words that tell a card from another: `NVIDIA A100-SXM4-80GB` and `a100-80g-sxm` have the same."""
    words = re.findall(r"[a-z0-9]+", name[:LONGEST].lower())
    alike = (re.sub(r"^sxm\d$", "sxm", re.sub(r"^(\d+)gb$", r"\1g", word)) for word in words)
    # only boards with sockets have this memory
    return frozenset("sxm" if word == "hbm3" else word for word in alike) - MAKERS - EDITIONS
