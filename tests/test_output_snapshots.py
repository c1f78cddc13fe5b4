"""What a small set of results looks like in every format, word for word.

`SIMCTL_SNAPSHOTS=write` makes the files again, to be read before they are committed.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from reports import tables
from reports.document import (
    Cliff,
    Counterfactual,
    Distribution,
    Document,
    Estimate,
    Judgement,
    Level,
    Memory,
    Outcomes,
    Point,
    Queueing,
    SteepRise,
    TtftBreakdown,
    VariantRow,
    Waste,
    to_text,
)
from reports.wording import verdict
from sim.cli.main import cli

FOLDER = Path(__file__).resolve().parent / "data" / "outputs"
RENDERINGS: dict[str, Callable[[Document], str]] = {
    "table.txt": tables.plain,
    "page.md": tables.markdown,
    "points.csv": tables.comma_separated,
    "points.jsonl": tables.json_lines,
    "results.json": to_text,
}


def spread(middle: float, samples: int) -> Distribution:
    return Distribution(middle, middle, 1.5 * middle, 2 * middle, 3 * middle, 2.9 * middle, 3.1 * middle, samples)


def point(users: int, attainment: float, judgement: str, binding: str | None) -> Point:
    return Point(
        variant="vllm",
        load="closed",
        users=users,
        rate=None,
        status="ok",
        window_s=120.5,
        seeds=3,
        requests=1200,
        outcomes=Outcomes(1200, 0, 0, 0, 0, 0),
        attainment=attainment,
        output_tps=Estimate(100.0 * users, 98.0 * users, 102.0 * users),
        request_rate=0.5 * users,
        ttft_ms=spread(50.0 * users, 1200),
        tpot_ms=spread(10.0 + users, 900),
        itl_ms=spread(10.0 + users, 200_000),
        stall_ms=spread(80.0, 1200),
        e2e_ms=spread(2000.0 + 100 * users, 1200),
        queue_ms=Queueing(0.0, 3.25),
        ttft_breakdown_ms=TtftBreakdown(0.0, 3.25, 40.0, 10.0, 5.0, 0.0, 0.0),
        running=Level(float(users), float(users)),
        waiting=Level(0.0, 2.0),
        kv_used=Level(0.25, 0.5),
        kv_waste=Waste(0.0, 0.01, 0.0),
        preemptions=0,
        binding=binding,  # type: ignore[arg-type]
        judgement=judgement,  # type: ignore[arg-type]
        attainment_low=attainment - 0.01,
        attainment_high=attainment,
    )


def row(name: str, status: str, reason: str | None) -> VariantRow:
    fits = status == "ok"
    return VariantRow(
        id=name,
        engine="vllm",
        version="0.32",
        weights="bf16",
        options={"max_num_seqs": 256},
        gpu="a100-40g-sxm",
        gpus=1,
        replicas=1,
        status=status,  # type: ignore[arg-type]
        reason=reason,
        missing_gib=None if fits else 92.5,
        memory=Memory(15.0, 20.5, 1.5, 167_856, 10_492, None, 131_072, 0) if fits else None,
        trust="datasheet" if fits else None,
        profile="datasheet",
    )


CLIFF = Cliff(
    variant="vllm",
    status="found",
    capacity_users=46,
    first_failing_users=48,
    low=41,
    high=52,
    people=190,
    breached="tpot",
    cliff=SteepRise(64, 128, 9.5),
    stability_rate=None,
    memory_cliff_slots=None,
    cause="decode_rate",
    knob="--gpu h100-pcie",
    counterfactual=Counterfactual("--gpu h100-pcie", 120),
    trust="datasheet",
    reason="30.1 ms of the 48 ms that a token takes are decode steps of the GPU",
)
SCENARIO = {
    "gpu": "a100-40g-sxm",
    "gpus": 1,
    "model": "llama-3.1-8b",
    "workload": "chat",
    "slo": "ttft=1000ms,tpot=50ms",
}
SAMPLE = Document(
    schema_version=1,
    simctl="0.1.0",
    scenario=SCENARIO,
    metric_definitions={},
    variants=(row("vllm", "ok", None), row("large", "does_not_fit", "nothing fits: 92.5 GiB are missing")),
    points=(point(1, 1.0, "pass", None), point(46, 0.96, "pass", "decode_rate"), point(48, 0.9, "fail", "decode_rate")),
    cliffs=(CLIFF,),
    warnings=("vllm: num_gpu_blocks is an estimate",),
    provenance={"catalogue": {"a100-40g-sxm": {"name": "NVIDIA A100"}, "llama-3.1-8b": {"name": "Llama 3.1 8B"}}},
    advice=("vllm: plan for 32 to 36 at once, 70 to 80% of its capacity: the rest is for busy minutes",),
)


@pytest.mark.parametrize("name", RENDERINGS)
def test_results_look_as_they_did(name: str) -> None:
    text = RENDERINGS[name](SAMPLE)
    if os.environ.get("SIMCTL_SNAPSHOTS") == "write":
        (FOLDER / name).write_text(text, encoding="utf-8")
    assert text == (FOLDER / name).read_text(encoding="utf-8")


def test_the_table_fits_a_terminal() -> None:
    assert max(map(len, tables.plain(SAMPLE).splitlines())) <= 100


@pytest.mark.parametrize("kind", ["table", "md", "csv", "jsonl"])
def test_kept_results_are_rendered_as_when_they_were_fresh(kind: str) -> None:
    names = {"table": "table.txt", "md": "page.md", "csv": "points.csv", "jsonl": "points.jsonl"}
    done = CliRunner().invoke(cli, ["report", str(FOLDER / "results.json"), "-o", kind], prog_name="simctl")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (FOLDER / names[kind]).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ("pass", "carries 46 at once and more, about 190 people"),
        ("undecided", "pausing 20 s between messages; at 48 it is too close to call"),
    ],
)
def test_what_is_too_close_to_call_is_not_said_to_be_carried(last: Judgement, said: str) -> None:
    open_end = replace(CLIFF, status="not_reached", first_failing_users=None, breached=None, cause=None)
    points = (*SAMPLE.points[:2], replace(SAMPLE.points[2], judgement=last))
    words = verdict(replace(SAMPLE, cliffs=(open_end,), points=points), SAMPLE.variants[0])
    assert said in " ".join(words.split())


def test_the_gain_is_told_from_what_is_surely_known() -> None:
    wide = replace(CLIFF, capacity_users=40, first_failing_users=48)
    words = " ".join(verdict(replace(SAMPLE, cliffs=(wide,)), SAMPLE.variants[0]).split())
    assert "--gpu h100-pcie: 40 to 47 → 120 users" in words
    lost = replace(CLIFF, capacity_users=0, first_failing_users=1)
    words = " ".join(verdict(replace(SAMPLE, cliffs=(lost,)), SAMPLE.variants[0]).split())
    assert "--gpu h100-pcie would carry 120 users" in words


def test_a_version_that_was_asked_for_is_named_once() -> None:
    asked = replace(SAMPLE.variants[0], id="vllm@0.32")
    assert verdict(SAMPLE, asked).startswith("vllm@0.32 (")
    assert verdict(SAMPLE, SAMPLE.variants[0]).startswith("vllm 0.32 (")
