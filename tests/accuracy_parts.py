"""Parts of the promise by themselves: batches by card, llama.cpp, attention heads, sources kept out of the fit."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from calibration import profile, sources
from calibration.points import Point
from calibration.sources import is_check
from calibration.validate import METRICS, Comparison, accuracy
from sim.cli.measured.case import cases
from sim.cli.measured.comparing import compared
from sim.cli.measured.physics_gate import refusal
from sim.cli.measured.predictions import predictions
from sim.compose import PROFILE
from tests.accuracy_cells import NEW_MODEL, cell, found, sizes
from tests.held_out import Missed, dense, kind

BATCHED = {"llamacpp-dgx-spark": "GB10", "llamacpp-m2-ultra": "M2 Ultra"}
BATCH_OWN, BATCH_NEW = 5, 18  # per cent, medians
TRIO = ("a100-40g-sxm", "h100-80g-sxm", "gh200-96g")


def of_source(way: str, source_id: str) -> list[Missed]:
    return [one for one in found(way) if one.observation.point.source_id == source_id]


def offline_table() -> str:
    """Whole batches of LLM-Inference-Bench by card, the model left out."""
    batches = [one for one in of_source("model", "argonne") if kind(one.observation) == "throughput"]
    lines = ["| cards | dense, model left out | experts, model left out |", "|--|--|--|"]
    groups = {"A100-40, H100, GH200": TRIO, **{gpu: (gpu,) for gpu in sorted(_cards(batches))}}
    for name, gpus in groups.items():
        own = [one for one in batches if one.observation.family.gpu in gpus]
        cells = [cell([one for one in own if dense(one.observation) is plain], None) for plain in (True, False)]
        if gpus is TRIO:
            cells[0] = cell([one for one in own if dense(one.observation)], NEW_MODEL["throughput"])
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cards(batches: Sequence[Missed]) -> set[str]:
    return {one.observation.family.gpu for one in batches}


def single_stream(*, batched: bool) -> list[Missed]:
    """llama.cpp, one stream, predicted without its card: of the batched benchmarks, or of all other tables."""
    return [
        one
        for one in found("gpu")
        if one.observation.point.load == "single"
        and one.observation.family.kernels == "llama.cpp"
        and (one.observation.point.source_id in BATCHED) is batched
    ]


def llama_table() -> str:
    """The promises about llama.cpp."""
    lines = ["| | median/p90: target · reached |", "|--|--|"]
    lines.append(f"| one stream, the card left out | {cell(single_stream(batched=False), (10, 30))} |")
    lines.append(f"| one stream on GB10 and M2 Ultra, each left out | {cell(single_stream(batched=True), None)} |")
    for source_id, name in BATCHED.items():
        steps = [one for one in of_source("model", source_id) if kind(one.observation) == "step"]
        median, worse = sizes([one.in_sample for one in steps])
        own = f"{median:.1f}/{worse:.0f}" if median <= BATCH_OWN else f"**{median:.1f}/{worse:.0f}**"
        lines.append(
            f"| batches on {name}, the model's own curve (in sample) | {BATCH_OWN}/- · {own} (n {len(steps)}) |"
        )
        median, worse = sizes([one.error for one in steps])
        new = f"{median:.1f}/{worse:.0f}" if median <= BATCH_NEW else f"**{median:.1f}/{worse:.0f}**"
        lines.append(f"| batches on {name}, the model left out | {BATCH_NEW}/- · {new} (n {len(steps)}) |")
    return "\n".join(lines)


# -- through the simulator


@cache
def played(source_id: str) -> tuple[Comparison, ...]:
    """A source's rows, each through the simulator with its own load, on the shipped profile."""
    return compare(sources.load(source_id))


def compare(points: Iterable[Point]) -> tuple[Comparison, ...]:
    """Measurements beside what the shipped profile says of them."""
    shipped, (mapped, _) = profile.load(PROFILE), cases(enumerate(points, 1), refusal)
    told = predictions(mapped, [shipped] * len(mapped), 1, lambda *_: None)
    return tuple(
        compared(case, one.outcome, shipped, one.trust)
        for case, one in zip(mapped, told, strict=True)
        if not isinstance(one.outcome, str)
    )


def checks_table() -> str:
    """Sources in no fit."""
    lines = [f"| source | why it is kept out | {' | '.join(METRICS)} |", "|--|--|--|--|--|--|"]
    for name, source in sources.sources().items():
        if not is_check(name) or name == "llmservingsim-gt":  # that one has a page of its own
            continue
        for label, rows in _by_cards(name).items():
            lines.append(f"| {name}{label} | {source.held_out} | {' | '.join(_errors(rows))} |")
    return "\n".join(lines)


def _by_cards(source_id: str) -> dict[str, list[Comparison]]:
    """One card apart from several, where a source has both: the link between cards is seldom stated."""
    points = sources.load(source_id)
    groups: dict[str, list[Comparison]] = defaultdict(list)
    mixed = len({points[row.row - 1].gpu_count > 1 for row in played(source_id)}) > 1
    for row in played(source_id):
        label = (", several cards" if points[row.row - 1].gpu_count > 1 else ", one card") if mixed else ""
        groups[label].append(row)
    return groups


def _errors(rows: Sequence[Comparison]) -> list[str]:
    cells = []
    for metric in METRICS:
        off = accuracy(row.figures[metric] for row in rows if metric in row.figures)
        known = off.median_abs_error is not None and off.p90_abs_error is not None and off.bias is not None
        cells.append(
            f"{100 * off.median_abs_error:.0f}/{100 * off.p90_abs_error:.0f} ({100 * off.bias:+.0f}; n {off.n})"  # type: ignore[operator]
            if known
            else "-"
        )
    return cells


HEADS = {"llama-2-7b": "Llama 2 7B, 32 of 32 heads keep KV", "llama-3-8b": "Llama 3 8B, 8 of 32"}
BATCHES = (1, 16, 32, 64)


@cache
def heads(model: str) -> Mapping[int, tuple[float, float | None]]:
    """Tok/s of whole batches of 2,048 + 2,048 tokens on one H100, by size: simulated, and measured where it was."""
    real = [point for point in sources.load("argonne") if _of_heads(point)]
    asked = [replace(point, model=model, output_tps=point.output_tps) for point in real]
    measured = {point.load_value: point.output_tps for point in real if point.model == model}
    return {
        int(row.load_value): (row.figures["output_tps"].predicted, measured.get(row.load_value))
        for row in compare(asked)
    }


def _of_heads(point: Point) -> bool:
    size = (point.prompt_tokens, point.gpu_count, point.load_value in BATCHES)
    return (point.engine, point.gpu, point.model, *size) == ("vllm", "h100-80g-sxm", "llama-2-7b", 2048, 1, True)


def heads_table() -> str:
    """The two models side by side."""
    lines = [f"| batch | {' | '.join(HEADS.values())} |", "|--|--|--|"]
    for size in BATCHES:
        cells = [
            f"{real:,.0f} · {ours:,.0f}" if real else f"not measured · {ours:,.0f}"
            for ours, real in (heads(model)[size] for model in HEADS)
        ]
        lines.append(f"| {size} | {' | '.join(cells)} |")
    return "\n".join(lines)
