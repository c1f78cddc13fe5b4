"""What tools call a card or a model, as the catalogue calls it: a driver's name, a repository, a file."""

import re
from collections.abc import Iterator
from functools import cache

from calibration import catalog
from sim.errors import SimctlError

FILES = (".toml", ".json", ".gguf")  # names that the catalogue would open
PROCESSOR = "cpu"
LONGEST = 120  # characters
LONGEST_PATH = 400
# words of a driver that tell no card from another
MAKERS = {"nvidia", "amd", "intel", "geforce", "tesla", "quadro", "instinct", "radeon", "gpu", "graphics", "tm", "r"}
EDITIONS = {"generation", "edition", "workstation", "server", "blackwell", "hbm2", "hbm2e", "hbm3e", "oam", "vf"}
# what Vulkan's drivers add of themselves: `AMD Radeon RX 7900 XTX (RADV NAVI31)`
DRIVER = re.compile(r"\((?:radv|nvk|dg2|bmg)\b[^()]*\)")
# words of an id that a driver's name leaves out
UNSAID = re.compile(r"\d+g|sxm|dgx|spark")
# endings of a repository's name that leave the shape of the model alone
TUNINGS = re.compile(r"(?:[-_ ](instruct|it|chat|hf|base|gguf|ud|\d{4}|v\d(\.\d)?)|:latest|-\d{5}-of-\d{5})$")
QUANTISED = re.compile(
    r"[-_.:](?:quantized\.)?(awq|gptq|fp8|w8a8|w4a16|nvfp4|mxfp4|bf16|fp16|f16|i?q\d(?:_[a-z0-9]+)*)"
    r"((?:[-_](?:int4|int8|4bit|8bit|dynamic|marlin))*)$"
)
EIGHT_BITS = re.compile(r"int8|8bit")
CACHED = re.compile(r"models--([^/]+)/snapshots/[^/]+$")  # a repository where the hub's client keeps it


def card(name: str) -> str:
    """The catalogue's id of a card, or the name as it is where no card or several answer to it."""
    known = _gpus().get(_words(name)) or _known("gpu", DRIVER.sub("", name[:LONGEST].lower()).strip())
    return known or _only_with(_words(name)) or name


def model_and_format(name: str) -> tuple[str, str]:
    """The catalogue's id of a model, and the weight format that its name ends on; the name as it is where unknown."""
    shortened = list(_shortened(name[-LONGEST_PATH:].replace("\\", "/").strip("/")))
    known = next(filter(None, (_known("model", candidate) for candidate, _ in shortened)), "")
    # the catalogue may know a repository by its whole name, its format included
    return (known, shortened[-1][1]) if known else (name, "")


def is_card(name: str) -> bool:
    """Whether the catalogue has this card, or it is the processor."""
    return name == PROCESSOR or bool(_known("gpu", name))


def is_model(name: str) -> bool:
    """Whether the catalogue has this model."""
    return bool(_known("model", name))


def is_format(weights: str, model: str) -> bool:
    """Whether the catalogue has this weight format, of the model where it has figures of its own."""
    try:
        return bool(catalog.weight_bits(catalog.model(model if is_model(model) else catalog.GENERIC_GGUF), weights))
    except SimctlError:
        return False


def _shortened(name: str) -> Iterator[tuple[str, str]]:
    """The name, then what is left of it without its owner, its quantiser and its tuning, one after another."""
    weights = ""
    yield name, weights
    name = _own_name(name).lower().removesuffix(".gguf").removeprefix("meta-")
    yield name, weights
    while ending := QUANTISED.search(name) or TUNINGS.search(name):
        weights = weights or (_format(ending) if ending.re is QUANTISED else "")
        name = name[: ending.start()]
        yield name, weights


def _own_name(path: str) -> str:
    """What a path or a repository ends on, without those that it belongs to."""
    if cached := CACHED.search(path):
        return cached[1].rpartition("--")[2]
    # llama.cpp calls what it downloads by owner, repository and file
    return path.rpartition("/")[2].rpartition("-GGUF_")[2]


def _format(ending: re.Match[str]) -> str:
    """The format that an ending names; a quantiser of 4 bits that says 8 means 8."""
    return "int8" if ending[1] in ("awq", "gptq") and EIGHT_BITS.search(ending[2]) else ending[1]


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
    words = re.findall(r"[a-z0-9]+", DRIVER.sub("", name[:LONGEST].lower()))
    alike = (re.sub(r"^sxm\d$", "sxm", re.sub(r"^(\d+)gb$", r"\1g", word)) for word in words)
    # only boards with sockets have this memory
    return frozenset("sxm" if word == "hbm3" else word for word in alike) - MAKERS - EDITIONS
