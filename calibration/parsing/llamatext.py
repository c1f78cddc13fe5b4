"""What llama.cpp's programs print: Markdown tables, and around them the model, the card and the build."""

import re
from bisect import bisect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from calibration.parsing.csvrows import named
from calibration.parsing.rows import Row

SEPARATOR = re.compile(r"[|\s:-]+")
HEADING = re.compile(r"#+ (\S.*)|Model: (\S+)|.*\s-m (\S+\.gguf)\b.*|.* tensors from (\S+\.gguf) \(.*")
# `main: n_kv_max = 8192, n_batch = 2048, ...`
SETTING = re.compile(r"\b(n_kv_max|n_batch|n_ubatch|flash_attn|is_pp_shared|is_tg_separate|n_gpu_layers) = (-?\d+)")
DEVICES = re.compile(r"\bfound \d+ \w+ devices")
DEVICE = re.compile(r"\s*Device (\d+): ([^,]+), ")
LONGEST_LINE = 2_000  # characters; what is longer is none of these
LONGEST_NAME = 200
BUILD = re.compile(r"build: ([0-9a-f]{6,40}) \((\d+)\)")
BUILD_ABOVE = re.compile(r"build: (\d+) \([0-9a-f]{6,40}\).*")
QUANT = re.compile(r"(?i)[-.](i?q\d(?:_[a-z0-9]+)*|[bf]?f?(?:16|32)|mxfp4|fp16)$")
PART = re.compile(r"-\d{5}-of-\d{5}$")
# `qwen2 7B Q4_K - Medium`, `llama 7B mostly Q4_0`, `gpt-oss 20B MXFP4 MoE`, `llama 8B all F32`
KIND = re.compile(r"(.*?)\s+(?:mostly |all )?(I?Q\d\w*|B?F16|F32|MXFP4)(?: MoE)?(?: - ([\w.]+).*)?$")
SIZES = {"Small": "_s", "Medium": "_m", "Large": "_l"}


@dataclass(slots=True)
class Surroundings:
    """What was printed last before a row."""

    build: str = ""
    heading: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)  # names by number

    def see(self, line: str) -> None:
        if len(line) > LONGEST_LINE:
            return
        if DEVICES.search(line):
            self.devices = {}
        elif device := DEVICE.match(line):
            self.devices[device[1]] = device[2].strip()
        elif settings := SETTING.findall(line):
            self.settings = dict(settings)
        elif build := BUILD_ABOVE.fullmatch(line.strip()):
            self.build = f"b{build[1]}"
        elif heading := HEADING.fullmatch(line.strip()):
            self.heading = next(filter(None, heading.groups()))

    def values(self) -> dict[str, str]:
        first = next(iter(self.devices.values()), "")
        return {"heading": self.heading, "device": first, "devices": str(max(1, len(self.devices))), **self.settings}


def has_table(head: str, *columns: str) -> bool:
    """Whether some line is a Markdown header with these columns."""
    lines = (line for line in head.split("\n") if line.lstrip().startswith("|"))
    return any(set(columns) <= {cell.strip() for cell in line.split("|")} for line in lines)


def table_rows(text: str, columns: Mapping[str, str], needed: str) -> Iterator[Row]:
    """The rows of every table that has the column `needed`, under `columns`' names, with what surrounds them."""
    around, header, build_of = Surroundings(), list[str](), _builds(text)
    for number, line in enumerate(text.split("\n"), 1):
        if not line.lstrip().startswith("|"):
            header = header if line.strip() and not line.startswith("+") else []
            around.see(line)
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if needed in cells:
            header = [columns.get(cell, cell) for cell in cells]
        elif header and not SEPARATOR.fullmatch(line):
            yield Row({**around.values(), "build": build_of(number) or around.build, **named(header, cells)}, number)


@dataclass(frozen=True, slots=True)
class BuildAfter:
    """The build that llama-bench prints below its table, for each line."""

    lines: list[int]
    builds: list[str]

    def __call__(self, line: int) -> str:
        after = bisect(self.lines, line)
        return self.builds[after] if after < len(self.builds) else ""


def _builds(text: str) -> BuildAfter:
    lines = enumerate(text.split("\n"), 1)
    found = [(number, build[2]) for number, line in lines if (build := BUILD.match(line.strip()))]
    return BuildAfter([number for number, _ in found], [f"b{build}" for _, build in found])


def weights_by_heading(text: str) -> dict[str, str]:
    """The weight format below each heading, where a table of llama-bench tells it: other tables leave it out."""
    rows = [row for row in table_rows(text, {}, "test") if "model" in row]
    return {row.text("heading"): weights for row in rows if (weights := model_and_weights(row.text("model"))[1])}


def model_and_weights(name: str) -> tuple[str, str]:
    """The model and the weight format that a file name, a repository or llama-bench's own description holds."""
    name = name[:LONGEST_NAME]
    stem = PART.sub("", name.strip().replace("\\", "/").rpartition("/")[2].removesuffix(".gguf")).removesuffix("-GGUF")
    if kind := KIND.fullmatch(name.strip()):
        return kind[1], weights_id(kind[2] + SIZES.get(kind[3] or "", ""))
    if quant := QUANT.search(stem):
        return stem[: quant.start()], weights_id(quant[1])
    return stem, ""


def weights_id(quant: str) -> str:
    """A weight format as the catalogue spells it."""
    quant = quant.lower()
    # the whole file is of this type, though its name says "medium"
    quant = "q2_k" if quant == "q2_k_m" else quant
    return {"f16": "fp16", "all f32": "f32"}.get(quant, quant)
