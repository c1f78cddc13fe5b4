"""What `vllm bench serve` prints when it ends, and SGLang's after it: figures below the options it was started with."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from calibration.parsing.pitfalls import warnings
from calibration.parsing.rows import Row, gather
from calibration.points import Reading
from calibration.readers import vllm_bench

FORMAT = "vllm bench serve, printed"
PITFALLS = vllm_bench.PITFALLS
ASSUMED = vllm_bench.ASSUMED

TITLE = "= Serving Benchmark Result ="
END = re.compile(r"={20,}")
FIGURE = re.compile(r"([A-Za-z0-9][^:]{2,60}):\s+(\S+)")
OPTION = re.compile(r"\b(model|backend|num_prompts|max_concurrency|request_rate|burstiness)='?([^',) ]+)")
NAMES = {
    "Successful requests": "completed",
    "Failed requests": "failed",
    "Maximum request concurrency": "max_concurrency",
    "Max request concurrency": "max_concurrency",
    "Request rate configured (RPS)": "request_rate",
    "Traffic request rate": "request_rate",
    "Backend": "backend",
    "Total input tokens": "total_input_tokens",
    "Total generated tokens": "total_output_tokens",
    "Request throughput (req/s)": "request_throughput",
    "Output token throughput (tok/s)": "output_throughput",
    **{
        f"{statistic} {figure} (ms)": f"{statistic.lower()}_{figure.lower().replace('e2e latency', 'e2el')}_ms"
        for statistic in ("Mean", "Median", "P99")
        for figure in ("TTFT", "TPOT", "ITL", "E2EL", "E2E Latency")
    },
}
ANNOUNCED = {
    "Traffic request rate": "request_rate",
    "Burstiness factor": "burstiness",
    "Maximum request concurrency": "max_concurrency",
}


def recognises(head: str) -> bool:
    """By the title of the block."""
    return TITLE in head


def read(text: str, source: str, path: Path) -> Reading:
    """A point a block."""
    points, rejected = gather(_blocks(text), partial(vllm_bench.point, source), str(path))
    return Reading(FORMAT, tuple(points), tuple(rejected), warnings=warnings(PITFALLS, points))


def _blocks(text: str) -> Iterator[Row]:
    """Each block's figures with the options that were printed since the block before; one cut short counts too."""
    above: dict[str, object] = {}
    block: dict[str, object] | None = None
    start = 0
    for number, line in enumerate(text.split("\n"), 1):
        if TITLE in line:
            if block is not None:
                yield _complete({**above, **block}, start)
            block, start = {}, number
        elif block is None:
            above |= _announced(line)
        elif END.fullmatch(line.strip()):
            yield _complete({**above, **block}, start)
            above, block = {}, None
        elif (figure := FIGURE.fullmatch(line.strip())) and figure[1] in NAMES:
            block[NAMES[figure[1]]] = figure[2]
    if block is not None:
        yield _complete({**above, **block}, start)


def _announced(line: str) -> dict[str, object]:
    if line.startswith("Namespace("):
        options = {name: value for name, value in OPTION.findall(line) if value != "None"}
        return {"model_id" if name == "model" else name: value for name, value in options.items()}
    name, _, value = line.partition(": ")
    first = (value.split() or ["None"])[0]
    return {ANNOUNCED[name]: first} if name in ANNOUNCED and first != "None" else {}


def _complete(values: dict[str, object], line: int) -> Row:
    """Without the options, the requests sent are those that came back one way or the other."""
    row = Row(values, line)
    if "num_prompts" in row or "completed" not in row:
        return row
    return Row({"num_prompts": f"{_count(row, 'completed') + _count(row, 'failed')}", **values}, line)


def _count(row: Row, name: str) -> int:
    text = row.text(name)
    return int(text) if text.isdecimal() and len(text) < 16 else 0
