"""What the file beside a recording says of the server: engine, version, slots, context and options."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from calibration.parsing.jsonrows import parsed
from calibration.parsing.rows import Row
from sim.errors import BadScenario

ENGINES = {"llamacpp": "llama.cpp", "llama.cpp": "llama.cpp", "vllm": "vllm", "ollama": "ollama"}
# llama-server's short options by their long names
LONG = {
    "np": "parallel",
    "c": "ctx-size",
    "b": "batch-size",
    "ub": "ubatch-size",
    "ngl": "n-gpu-layers",
    "fa": "flash-attn",
    "t": "threads",
    "tb": "threads-batch",
    "kvu": "kv-unified",
    "no-kvu": "no-kv-unified",
    "cb": "cont-batching",
    "nocb": "no-cont-batching",
    "cram": "cache-ram",
}
# where the server is reached and what it reports, which changes no figure
ASIDE = ("m", "model", "host", "port", "metrics", "slots", "no-warmup", "served-model-name")
BLOCK_SIZE = 16  # vLLM's own default, tokens


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """The server of a recording; blanks where the file does not say or is not there."""

    engine: str = ""
    version: str = ""
    gpu: str = ""
    model: str = ""
    machine: str = ""
    slots: int | None = None
    context: int | None = None
    kv_tokens: int | None = None
    options: str = ""


def beside(path: Path) -> RecordedRun:
    """The server of the recording at `path`, from NAME.meta.json next to NAME.jsonl."""
    name = path.name.removesuffix(".gz").removesuffix(".jsonl")
    meta = path.with_name(f"{name}.meta.json")
    try:
        text = meta.read_text(encoding="utf-8")
    except FileNotFoundError:
        return RecordedRun()
    except (OSError, ValueError) as error:
        raise BadScenario(f"{meta}: cannot be read: {error}") from None
    try:
        table = parsed(text)
    except ValueError as error:
        raise BadScenario(f"{meta}:{getattr(error, 'lineno', 1)}: not valid JSON: {error}") from None
    if not isinstance(table, dict):
        raise BadScenario(f"{meta}:1: an object was expected, not a {type(table).__name__}")
    return _run(Row(table, 1), f"{meta}")


def _run(meta: Row, where: str) -> RecordedRun:
    labels, props = meta.inside("labels"), meta.inside("props")
    options = options_of(labels.text("command"))
    engine = ENGINES.get(meta.inside("args").text("engine"), "")
    counts = Row(options, None, f"{where}: labels.command.")
    pool = counts.whole("ctx-size") if engine == "llama.cpp" else _pool(counts)
    return RecordedRun(
        engine=engine,
        version=meta.inside("version").text("version") or labels.text("engine"),
        gpu=_name(labels.text("gpu")),
        model=_name(labels.text("model")),
        machine=labels.text("machine"),
        slots=props.whole("total_slots") or counts.whole("parallel") or counts.whole("max-num-seqs"),
        context=props.whole("default_n_ctx") or counts.whole("max-model-len"),
        kv_tokens=pool,
        options=";".join(f"{name}={value}" if value else name for name, value in options.items()),
    )


def _pool(options: Row) -> int | None:
    blocks = options.whole("num-gpu-blocks-override")
    return blocks * (options.whole("block-size") or BLOCK_SIZE) if blocks else None


def _name(text: str) -> str:
    """A catalogue's id; a description in words is none."""
    return "" if " " in text else text


def options_of(command: str) -> Mapping[str, str]:
    """The options of a server's command line under their long names; blank where one takes no value."""
    options: dict[str, str] = {}
    name = ""
    for word in command.partition(" (")[0].split():
        if word.startswith("-") and not word.lstrip("-")[:1].isdigit():
            bare, _, value = word.lstrip("-").partition("=")
            name = LONG.get(bare, bare)
            options[name] = value
        elif name:
            options[name], name = word, ""
    return {name: value for name, value in options.items() if name not in ASIDE}
