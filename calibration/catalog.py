"""GPUs, hosts, models and weight formats by name, one TOML file an entry."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from calibration.entries import Entry, build, parse
from calibration.model_files.gguf import read_gguf
from calibration.model_files.hf_config import read_config
from sim.errors import BadScenario, UnknownName
from sim.hardware import Gpu, Host, Model
from sim.naming import fold

FOLDERS = {"gpu": "gpus", "host": "hosts", "model": "models"}
# Its published table is the most complete one, so it stands in for models that have no figure of their own.
GENERIC_GGUF = "llama-3.1-8b"
UNQUANTISED_BITS = 16.0
REPACKING = "llama.cpp"


def gpu(name: str) -> Gpu:
    """The card that a name, an alias or the path of a TOML file means."""
    return _find(Gpu, "gpu", name)


def host(name: str) -> Host:
    """The machine that a name, an alias or the path of a TOML file means."""
    return _find(Host, "host", name)


def model(name: str) -> Model:
    """The model that a name, an alias or a path means: of a TOML file, a config.json or a GGUF file."""
    ending = Path(name).suffix.lower()
    if ending == ".json":
        return read_config(Path(name))
    if ending == ".gguf":
        return read_gguf(Path(name))
    return _find(Model, "model", name)


def names(kind: str) -> list[str]:
    """Every id that the catalogue holds of a kind: gpu, host or model (the plural will do)."""
    singular = kind.lower().removesuffix("s")
    if singular not in FOLDERS:
        raise UnknownName("catalogue", kind, list(FOLDERS))
    return sorted(_stems(FOLDERS[singular]).values())


def weight_bits(model: Model, weights: str, engine: str = "") -> float:
    """Bits per parameter of the whole model in a weight format, so that bytes = parameters x bits / 8.

    A model's own figure, from the size of a file, comes first.
    llama.cpp repacks a published mixture in MXFP4 and narrows what is around its experts; other engines load it as is.
    """
    formats, key = _formats(), fold(weights)
    repacked = f"{key}moe"
    if fold(engine) == fold(REPACKING) and repacked in _folded(model.gguf_bits):
        return _gguf_bits(model, repacked)
    if key in _folded(model.gguf_bits):
        return _folded(model.gguf_bits)[key]
    if key in formats["whole"]:
        return formats["whole"][key]
    if key in formats["experts"] and model.experts:
        return _partly(formats["experts"][key], model.expert_parameters / model.parameters)
    if key in formats["linear"]:
        return _partly(formats["linear"][key], 1 - _embedding_share(model))
    return _gguf_bits(model, weights)


def is_gguf(weights: str) -> bool:
    """Whether a GGUF file can hold this format."""
    key, formats = fold(weights), _formats()
    return key not in formats["linear"] or key in formats["experts"]


def kv_bytes_per_element(kv_type: str) -> float:
    """Bytes that one element of the KV cache takes, its share of the block's scale included."""
    sizes = _formats()["kv"]
    if fold(kv_type) not in sizes:
        raise UnknownName("KV cache type", kv_type, _spellings("kv"))
    return sizes[fold(kv_type)]


def _gguf_bits(model: Model, weights: str) -> float:
    """A GGUF type's bits: the model's own file first, then another 8B Llama's.

    No smaller than the model's own file of a narrower type: shapes that blocks do not divide are quantised less.
    """
    generic = _find(Model, "model", GENERIC_GGUF).gguf_bits
    usual, own, key = {**_formats()["gguf"], **_folded(generic)}, _folded(model.gguf_bits), fold(weights)
    if key in own:
        return own[key]
    if key not in usual:
        known = [*generic, *_spellings("gguf"), *_spellings("whole"), *_spellings("linear")]
        raise UnknownName("weight format", weights, known)
    narrower = (bits for name, bits in own.items() if usual.get(name, usual[key]) < usual[key])
    return max(usual[key], *narrower, 0.0)


def _partly(bits: float, share: float) -> float:
    """Bits where that share of the weights is in a format and the rest is not quantised."""
    return bits * share + UNQUANTISED_BITS * (1 - share)


def _embedding_share(model: Model) -> float:
    """The part of the parameters that quantisers of linear layers leave alone: embedding and output head."""
    return model.vocab * model.hidden * (1 if model.tied_embeddings else 2) / model.parameters


def _find(kind: type[Entry], word: str, name: str) -> Entry:
    if name.lower().endswith(".toml"):
        return _custom(kind, Path(name))
    folder, key = FOLDERS[word], fold(name)
    stem = _stems(folder).get(key) or _aliases(folder).get(key)
    if stem is None:
        begun = [known for known in names(word) if fold(known).startswith(key)]
        raise UnknownName(word, name, begun or names(word))
    return build(kind, _table(folder, stem), f"{folder}/{stem}.toml")


def _custom(kind: type[Entry], path: Path) -> Entry:
    """An entry that the user wrote; its file name is its id where it states none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadScenario(f"{path}: cannot be read: {error}") from None
    table = parse(text, str(path))
    return build(kind, {"id": path.stem, "name": table.get("id", path.stem), **table}, str(path))


@cache
def _stems(folder: str) -> dict[str, str]:
    """The ids of a folder by their compared form; no file is opened."""
    paths = files("calibration").joinpath(folder).iterdir()
    stems = (path.name.removesuffix(".toml") for path in paths if path.name.endswith(".toml"))
    return {fold(stem): stem for stem in stems}


@cache
def _aliases(folder: str) -> dict[str, str]:
    """The ids of a folder by every other name they go by; this opens all its files."""
    stems = _stems(folder).values()
    return {fold(alias): stem for stem in stems for alias in _table(folder, stem).get("aliases", ())}


@cache
def _table(folder: str, stem: str) -> dict[str, Any]:
    name = f"{stem}.toml"
    return parse(files("calibration").joinpath(folder, name).read_text(encoding="utf-8"), f"{folder}/{name}")


@cache
def _weights() -> dict[str, Any]:
    return parse(files("calibration").joinpath("weights.toml").read_text(encoding="utf-8"), "weights.toml")


@cache
def _formats() -> dict[str, dict[str, float]]:
    """The tables of weights.toml, their names in compared form."""
    return {group: _folded(_weights()[group]) for group in ("whole", "linear", "experts", "gguf", "kv")}


def _folded(sizes: dict[str, float]) -> dict[str, float]:
    return {fold(name): size for name, size in sizes.items()}


def _spellings(group: str) -> list[str]:
    return list(_weights()[group])
