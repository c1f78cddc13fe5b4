"""What llama-server, or Ollama around it, prints of itself when it starts: build, model, card, slots and context."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from calibration import naming
from calibration.parsing.agreeing import agreeing
from calibration.parsing.llamatext import model_and_weights
from calibration.parsing.recorded_run import options_of

OLLAMA = re.compile(r"\bOLLAMA_[A-Z]+|\[GIN\] ")
COMMAND = re.compile(r"llama-server(?:\.exe)?\"? (-[^\n\"]{2,4000})")
FIELDS = {
    "path": re.compile(r"loading model '([^'\n]{1,1000})'"),
    "name": re.compile(r"general\.name\s+str\s+= ([^\n]{1,200})"),
    "file_type": re.compile(r"file type\s+= ([^\n]{1,80})"),
    "slots": re.compile(r"\bn_slots ?= ?(\d+)"),
    "context": re.compile(r"(?:\bn_ctx_slot ?= ?|new slot, n_ctx = )(\d+)"),
    "unified": re.compile(r"\bkv_unified ?= ?'?(\w+)"),
    # `build: 5163 (0a1b2c3d)`, `build_info: b8680-15f786e65`, `build=3614 commit="a1631e53"`
    "build": re.compile(r"\bbuild(?::? |_info: b|=)(\d+)(?: \(|-| commit=\"?)[0-9a-f]{6,40}\b"),
    "device": re.compile(r"(?:using device \w+ \(|Device 0: )([^(),\n]{1,100})"),
    "ollama": re.compile(r"\(version ([^()\s]{1,40})\)"),
}

DIFFER_ANYWAY = ("device", "context", "name", "file_type")  # of several cards, slots or models of one server


@dataclass(frozen=True, slots=True)
class Header:
    """The server of a log; blanks where it does not say, or says different things of different starts."""

    engine: str
    version: str
    options: str
    gpu: str
    model: str
    weights: str
    slots: int | None
    context: int | None
    kv_tokens: int | None
    changed: tuple[str, ...]  # what differed between starts

    @property
    def facts(self) -> Mapping[str, str | float]:
        """What is known of it by name."""
        named: dict[str, str | float | None] = {
            "engine_version": self.version,
            "gpu": self.gpu,
            "model": self.model,
            "weights": self.weights,
            "slots": self.slots,
            "context": self.context,
            "kv_tokens": self.kv_tokens,
        }
        return {name: value for name, value in named.items() if value}


def header_of(text: str) -> Header:
    """The header of a whole log: what all its starts agree on."""
    only, changed = agreeing(text, FIELDS)
    model, weights = model_and_weights(only.text("path"))
    if not naming.is_format(weights, naming.model_and_format(model)[0]):
        weights = model_and_weights(f"model {only.text('file_type')}")[1] or weights
    ollama = bool(OLLAMA.search(text))
    slots, context = only.whole("slots"), only.whole("context")
    return Header(
        engine="ollama" if ollama else "llama.cpp",
        version=only.text("ollama") if ollama else f"b{only.text('build')}" if "build" in only else "",
        options=_options(text),
        gpu=only.text("device"),
        # a blob's name is its checksum
        model=only.text("name") if ollama or not model else model,
        weights=weights,
        slots=slots,
        context=context,
        kv_tokens=_pool(slots, context, only.text("unified")),
        changed=tuple(name for name in changed if name not in DIFFER_ANYWAY),
    )


def _pool(slots: int | None, context: int | None, unified: str) -> int | None:
    """Cells of all slots together: a unified cache has one slot's worth, which any of them may fill."""
    if slots is None or context is None or not unified:
        return None
    return context if unified == "true" else slots * context


def _options(text: str) -> str:
    commands = {command.strip() for command in COMMAND.findall(text)}
    if len(commands) != 1:
        return ""
    return ";".join(f"{name}={value}" if value else name for name, value in options_of(commands.pop()).items())
