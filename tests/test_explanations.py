"""What stands beside a capacity: its band, the cliff's shape, stability, memory, close-ups, conditions and advice."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from sim import compose
from sim.batch import Batch, Pass
from sim.cli.conditions import parse_conditions
from sim.cli.main import cli
from sim.cli.memory_cliff import memory_cliff_slots
from sim.cli.variants import Prepared
from sim.errors import SimctlError, UsageError
from sim.slowed import Slowed
from sim.stability import falls_behind
from sim.steepness import Rise, steepest_rise
from sim.variant import Variant

QUICK = "--gpu a100-40g --profile datasheet --seeds 2 --requests 120 --jobs 1 --prompt-tokens 200 --output-tokens 100"
SEATS = f"sweep --engine vllm --max-num-seqs 6 --slo ttft=1s,tpot=40ms --users 1..32 {QUICK}"


def simctl(words: str) -> Result:
    return CliRunner().invoke(cli, words.split(), prog_name="simctl")


def results(words: str) -> dict[str, Any]:
    done = simctl(f"{words} --quiet -o json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# -- the band


def banded(patch: pytest.MonkeyPatch, low: float, high: float) -> dict[str, Any]:
    patch.setattr(compose, "step_band", lambda *_: (low, high))
    (found,) = results(f"sweep --engine vllm --slo tpot=15ms --no-explain --users 1..128 {QUICK}")["cliffs"]
    return dict(found)


def test_the_band_is_the_search_with_slower_and_faster_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    found = banded(monkeypatch, 0.95, 1.05)
    assert found["low"] < found["capacity_users"] < found["high"]
    wider = banded(monkeypatch, 0.9, 1.1)
    assert wider["low"] < found["low"]
    assert wider["high"] > found["high"]


def test_the_ends_of_the_band_are_what_sweeps_with_such_steps_find(monkeypatch: pytest.MonkeyPatch) -> None:
    found = banded(monkeypatch, 0.95, 1.05)
    usual: Any = compose.scenario
    monkeypatch.setattr(compose, "scenario", lambda *parts: usual(*parts[:5], 1.05))
    slow = banded(monkeypatch, 1.0, 1.0)
    assert slow["capacity_users"] * 0.9 <= found["low"] <= slow["first_failing_users"]
    assert (slow["low"], slow["high"]) == (None, None)


def test_the_band_stands_beside_the_capacity(monkeypatch: pytest.MonkeyPatch) -> None:
    found = banded(monkeypatch, 0.95, 1.05)
    text = simctl(f"sweep --engine vllm --slo tpot=15ms --no-explain --quiet {QUICK}").stdout
    assert f"carries {found['capacity_users']} ({found['low']}-{found['high']}) at once" in " ".join(text.split())


@pytest.mark.parametrize(
    ("engine", "gpu", "model", "profile", "expected"),
    [
        ("vllm", "a100-40g-sxm", "llama-3.1-8b", None, "measured"),
        ("vllm", "h200", "qwen3-14b", None, "interpolated"),
        ("ollama", "h200", "llama-3.1-8b", None, "extrapolated"),
        ("vllm", "h200", "llama-3.1-8b", "datasheet", "datasheet"),
    ],
)
def test_step_times_are_trusted_as_their_profile_says(
    engine: str, gpu: str, model: str, profile: str | None, expected: str
) -> None:
    variant = Variant("one", engine, gpu, model, profile=profile)
    deployment = compose.deploy(variant)
    assert compose.step_trust(variant, deployment) == compose.step_cost(variant, deployment).trust == expected


@given(st.floats(0.5, 2), st.integers(1, 200), st.integers(1, 50))
def test_a_slowed_stride_is_as_long_as_its_steps(factor: float, decodes: int, steps: int) -> None:
    variant = Variant("vllm", "vllm", "a100-40g-sxm", "llama-3.1-8b")
    cost = Slowed(compose.step_cost(variant, compose.deploy(variant)), factor)
    cells = 500 * decodes
    whole = cost.stride(batch(decodes, cells))
    assert whole.total(steps) == sum(whole.duration(step) for step in range(steps))
    usual = cost.cost.stride(batch(decodes, cells))
    assert whole.first_ps == pytest.approx(factor * usual.first_ps, abs=1)
    assert cost.trust == cost.cost.trust


def batch(decodes: int, cells: int) -> Batch:
    one = Pass(decodes, cells, decodes, outputs=decodes, padded=decodes)
    return Batch(decodes, (one,), context=cells - decodes)


# -- the cliff


@pytest.mark.parametrize(
    ("waits", "rise"),
    [
        ({1: 100.0, 2: 110.0, 4: 130.0, 8: 4000.0, 16: 9000.0}, Rise(4, 8, 4000 / 130)),
        ({1: 100.0, 2: 150.0, 4: 300.0, 8: 600.0}, None),
        ({1: 100.0, 2: 101.0, 4: 1000.0, 8: 10_000.0, 16: 11_000.0}, Rise(2, 8, 10_000 / 101)),
        ({48: 100.0, 50: 120.0, 52: 119.0}, None),
        ({1: 100.0}, None),
        ({}, None),
    ],
)
def test_the_cliff_is_where_the_wait_grows_faster_than_the_cube_of_the_users(
    waits: dict[int, float], rise: Rise | None
) -> None:
    assert steepest_rise(waits) == rise


@given(st.dictionaries(st.integers(1, 64), st.floats(1, 1e5), min_size=2, max_size=8), st.floats(0.1, 10))
def test_the_cliff_does_not_depend_on_the_unit_of_time(waits: dict[int, float], unit: float) -> None:
    found = steepest_rise(waits)
    if found is not None:
        assert waits[found.last] >= 2 * waits[min(waits)]
        assert found.height == pytest.approx(waits[found.last] / waits[found.first])
        scaled = steepest_rise({users: wait * unit for users, wait in waits.items()})
        assert scaled is None or scaled.height == pytest.approx(found.height)


def test_the_cliff_of_full_seats_lies_where_they_are_full() -> None:
    (found,) = results(f"{SEATS} --no-explain")["cliffs"]
    assert found["cliff"]["from"] >= 6
    assert found["cliff"]["to"] <= 8
    assert found["cliff"]["height"] > 3


# -- open loops


def test_the_stability_limit_is_the_service_rate() -> None:
    words = f"{QUICK.replace('--requests 120', '--requests 800')} --engine vllm --max-num-seqs 1"
    alone = results(f"run --users 1 {words}")["points"][0]
    found = results(f"run --load poisson:1 {words}")
    rate = found["cliffs"][0]["stability_rate"]
    assert rate == pytest.approx(alone["request_rate"], rel=0.12)
    assert found["cliffs"][0]["capacity_users"] is None
    said = " ".join(simctl(f"run --load poisson:1 --quiet {words}").stdout.split())
    assert f"keeps up with {rate:.3g} requests a second" in said


def test_more_arrivals_than_a_server_answers_are_the_queues_fault() -> None:
    words = f"{QUICK.replace('--requests 120', '--requests 800')} --engine vllm --max-num-seqs 1"
    found = results(f"run --load poisson:50 {words}")
    assert [(point["status"], point["binding"]) for point in found["points"]] == [("unstable", "queue")]
    assert found["cliffs"][0]["cause"] == "queue"
    assert results(f"run --load poisson:0.2 {words}")["cliffs"][0]["cause"] is None


@pytest.mark.parametrize(
    ("piled", "answered", "behind"),
    [
        ((0.0, 0.01, -0.01, 0.0, 0.0), 10.0, False),
        ((0.1, 0.12, 0.09, 0.11, 0.1), 9.5, True),
        ((0.5, -0.4, 0.4, -0.3, 0.1), 10.0, False),
        ((), 8.0, True),
        ((), 10.0, False),
    ],
)
def test_a_queue_that_grows_for_sure_is_unstable(piled: tuple[float, ...], answered: float, behind: bool) -> None:
    assert falls_behind(piled, answered, 10.0) is behind


# -- memory


@pytest.mark.parametrize("engine", ["ollama", "llama_cpp"])
@pytest.mark.parametrize(("vram_gib", "slots"), [(8, 2), (12, 3), (6.2, 1)])
def test_the_memory_cliff_is_the_last_slot_that_fits(engine: str, vram_gib: float, slots: int) -> None:
    options = (
        {"num_parallel": slots, "num_ctx": 4096}
        if engine == "ollama"
        else {"parallel": slots, "ctx_size": 4096 * slots}
    )
    variant = Variant(engine, engine, "rtx-4090", "llama-3.1-8b", options=options, vram_bytes=int(vram_gib * 2**30))
    most = memory_cliff_slots(Prepared(variant, compose.deploy(variant)))
    assert most is not None
    assert not spills(variant, most) or most == 0
    assert spills(variant, most + 1)


def spills(variant: Variant, slots: int) -> bool:
    total = variant.engine == "llama_cpp"
    options = {"parallel": slots, "ctx_size": 4096 * slots} if total else {"num_parallel": slots, "num_ctx": 4096}
    try:
        memory = compose.deploy(replace(variant, options=options)).memory
    except SimctlError:
        return True
    return memory.layers_on_host > 0 or memory.slots != slots


def test_paged_memory_has_no_slots_to_fall_off() -> None:
    variant = Variant("vllm", "vllm", "a100-40g-sxm", "llama-3.1-8b")
    assert memory_cliff_slots(Prepared(variant, compose.deploy(variant))) is None


# -- close-ups


def test_a_close_up_shows_the_first_failing_load_request_by_request() -> None:
    found = results(f"{SEATS} --no-explain")
    (seen,), (cliff,) = found["details"], found["cliffs"]
    assert seen["users"] == cliff["first_failing_users"]
    assert len(seen["waterfall"]) <= 120
    assert len(seen["gantt"]) <= 400
    assert {bar["kind"] for bar in seen["gantt"]} == {"queue", "prompt", "decode"}
    assert {bar["slot"] for bar in seen["gantt"]} == {None, *range(6)}
    for life in seen["waterfall"]:
        assert life["arrival_s"] <= life["queue_end_s"] <= life["prompt_end_s"] <= life["end_s"]
    rows: dict[int, list[dict[str, Any]]] = {}
    for bar in seen["gantt"]:
        if bar["slot"] is not None:
            rows.setdefault(bar["slot"], []).append(bar)
    for bars in rows.values():
        for one, other in pairwise(sorted(bars, key=lambda bar: float(bar["start_s"]))):
            assert one["end_s"] <= other["start_s"] + 1e-3
    assert max(moment["running"] for moment in seen["occupancy"]) == 6
    assert all(0 <= moment["used_tokens"] <= seen["capacity_tokens"] for moment in seen["occupancy"])
    assert all(one["t_s"] <= other["t_s"] for one, other in pairwise(seen["occupancy"]))


# -- conditions


@pytest.mark.parametrize(
    ("condition", "code", "said"),
    [
        ("capacity<50", 99, "capacity is 6, and --fail-if says capacity<50"),
        ("capacity<2", 0, ""),
        ("people<=1", 0, ""),
    ],
)
def test_a_condition_on_the_capacity_decides_the_exit_code(condition: str, code: int, said: str) -> None:
    done = simctl(f"{SEATS} --no-explain --fail-if {condition}")
    assert (done.exit_code, said in done.stderr) == (code, True)


@pytest.mark.parametrize(("condition", "code"), [("capacity<2", 0), ("capacity<4", 99), ("capacity>1", 99)])
def test_a_capacity_of_so_many_and_more_is_no_less_and_maybe_more(condition: str, code: int) -> None:
    done = simctl(f"{SEATS.replace('1..32', '1,2')} --no-explain --fail-if {condition}")
    assert done.exit_code == code
    assert ("no load up to 2 breaks the SLO" in done.stderr) == (code == 99)


@pytest.mark.parametrize(
    ("condition", "code"),
    [("ttft_p99>1us", 99), ("ttft_p99>10m", 0), ("slo", 0), ("attainment<1.1", 99), ("output_tps<1", 0)],
)
def test_a_condition_on_a_load_decides_the_exit_code(condition: str, code: int) -> None:
    done = simctl(f"run --engine vllm --users 2 {QUICK} --fail-if {condition}")
    assert done.exit_code == code, done.stderr


NO_SEAT = "sweep --gpu rtx-4090 --engine vllm --engine llama_cpp --seeds 1 --requests 20 --jobs 1 --prompt-tokens 200"
NO_SEAT += " --output-tokens 10 --profile datasheet --users 1,2 --weights fp16 --vram 17GiB"


@pytest.mark.parametrize(
    ("words", "condition", "code", "said"),
    [
        ("--users 8,64", "capacity<5", 99, "vllm: capacity was not measured (8 users break the SLO)"),
        ("--users 8,64", "capacity<50", 99, "vllm: capacity is at most 7 (8 users break the SLO)"),
        ("--users 8,64", "capacity>7", 0, ""),
        ("--users 8,64", "people<1", 99, "vllm: people was not measured, and --fail-if asks for people<1"),
        ("--users 8 --timeout 150ms", "ttft_p50>10m", 0, ""),
        ("--users 8 --timeout 150ms", "e2e_p50>10m", 99, "e2e_p50 is beyond any bound (0 of "),
        ("--users 8 --timeout 150ms", "e2e_p50<10m", 0, ""),
        ("--users 8 --output-tokens 1", "tpot_p99>10m", 99, "vllm at 8: tpot_p99 was not measured"),
        ("--load poisson:2", "capacity<50", 99, "vllm: capacity was not measured"),
    ],
)
def test_what_was_not_measured_passes_no_condition(words: str, condition: str, code: int, said: str) -> None:
    seats = "--engine vllm --max-num-seqs 6 --slo ttft=1us --no-explain"
    done = simctl(f"sweep {seats} {QUICK.replace('--seeds 2', '--seeds 1')} {words} --fail-if {condition}")
    assert (done.exit_code, said in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize(
    ("condition", "code"), [("capacity<1", 99), ("output_tps>1000000", 0), ("slo", 99), ("ttft_p50>10m", 99)]
)
def test_a_variant_that_does_not_fit_carries_nobody(condition: str, code: int) -> None:
    done = simctl(f"{NO_SEAT} --fail-if {condition}")
    assert done.exit_code == code, done.stderr
    assert ("vllm: " in done.stderr and "(it does not fit in memory)" in done.stderr) == (code == 99)


@pytest.mark.parametrize(
    ("text", "refines", "said"),
    [
        ("capacity", False, "is not written as capacity<50"),
        ("capacity=50", False, "is not written as capacity<50"),
        ("capcity<50", False, "did you mean capacity"),
        ("ttft_p99>500", False, "needs a unit"),
        ("ttft_p99>500ms", True, "list them, as --users 32"),
        ("capacity<many", False, "many"),
    ],
)
def test_a_condition_that_means_nothing_is_refused(text: str, refines: bool, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_conditions([text], refines=refines)


# -- words


def test_advice_names_a_share_of_the_capacity_and_what_to_measure() -> None:
    told = results(f"{SEATS} --no-explain")["advice"]
    assert told[0].startswith("vllm: plan for 4 at once, 70 to 80% of its capacity")
    assert "vllm bench serve" in told[1]
    assert "--max-concurrency 6" in told[1]


def test_verdicts_come_on_stderr_as_soon_as_each_variant_is_known() -> None:
    done = simctl(f"sweep {QUICK} --requests 40 --users 1..4 -o json")
    told = [line.split()[0] for line in done.stderr.splitlines() if " carries " in f" {line}"]
    assert told[:2] == ["ollama", "ollama-tuned"]
    assert json.loads(done.stdout)["schema_version"] == 1


def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    monkeypatch.setattr("sim.cli.study.summarise", refuse)
    done = simctl(f"{SEATS} -o json={tmp_path / 'results.json'}")
    assert done.exit_code == 1
    assert "Permission denied; choose another place" in done.stderr


def test_parquet_asks_for_a_file_and_for_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "write -o parquet=points.parquet" in simctl(f"{SEATS} -o parquet").stderr
    monkeypatch.setattr("sim.cli.outputs.find_spec", lambda _: None)
    done = simctl(f"{SEATS} -o parquet=points.parquet")
    assert done.exit_code == 2
    assert "pip install 'simctl[parquet]'" in done.stderr
