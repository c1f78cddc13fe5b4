"""A measurement is put together again as its columns say, and what the simulator measured itself it predicts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner, Result

from calibration import catalog, physics, profile
from calibration.points import Point
from sim import compose
from sim.batch import Batch, Pass, prefill_cells
from sim.cli.main import cli
from sim.cli.measured.case import Case, cases
from sim.cli.measured.clients import PROMPT_WORK_S, WAY_S
from sim.cli.measured.held_out import without_own_part
from sim.cli.measured.load import Passes, Served
from sim.cli.measured.outcome import of_result
from sim.cli.measured.server import with_even_contexts
from sim.cli.measured.version import RELEASED, modelled_version, stated_month, states_release
from sim.scenario import Scenario
from sim.simulate import simulate
from sim.variant import Variant
from sim.workload import Workload
from workloads.arrivals import Constant, Poisson
from workloads.distributions import Fixed, Lognormal, Uniform
from workloads.front_end import FrontEnd
from workloads.open_loop import Burst, OpenLoop
from workloads.remote import Remote
from workloads.think import ExponentialThink, FixedThink
from workloads.users import ClosedLoop

COLUMNS = [field.name for field in fields(Point)]
SERVER = Point(
    "own",
    "vllm",
    "single",
    1,
    engine_version="0.14.0",
    gpu="a100-40g-sxm",
    model="llama-3.1-8b",
    weights="bf16",
    slots=16,
    context=4096,
    prompt_tokens=300,
    output_tokens=40,
)
PROMPT, OUTPUT = Fixed(300), Fixed(40)
ABOUT_PROMPT, ABOUT_OUTPUT = Uniform(270, 330), Uniform(36, 44)


def simctl(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), prog_name="simctl")


def table(path: Path, *points: Point) -> Path:
    """A points table with blanks for whatever is not stated."""
    rows = [",".join("" if value is None else str(value) for value in asdict(point).values()) for point in points]
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n", encoding="utf-8")
    return path


def validated(*words: str) -> dict[str, Any]:
    """The JSON of a validation."""
    done = simctl("validate", "--quiet", "--jobs", "1", "-o", "json", *words)
    assert done.exit_code == 0, done.stderr
    return cast(dict[str, Any], json.loads(done.stdout))


def only_case(point: Point) -> Case:
    found, unmapped = cases([(1, point)], lambda *_: None)
    assert not unmapped, unmapped
    return found[0]


def why_not(point: Point) -> str:
    found, unmapped = cases([(1, point)], lambda *_: None)
    assert not found
    return unmapped[0].reason


# -- what the simulator measures itself


VLLM = Variant(
    "own",
    "vllm",
    "a100-40g-sxm",
    "llama-3.1-8b",
    "0.14.0",
    {"max_num_seqs": 16, "max_model_len": 4096},
    "bf16",
)
OLLAMA = Variant("own", "ollama", "rtx-4090", "llama-3.1-8b", "0.12.4", {"num_parallel": 4, "num_ctx": 4096}, "q4_k_m")
LLAMA = Variant("own", "llama_cpp", "rtx-4090", "llama-3.1-8b", "b6925", {"parallel": 4, "ctx_size": 16384}, "q8_0")
LOADS: Mapping[str, tuple[float, Any]] = {
    "single": (1, Burst(1, PROMPT, OUTPUT)),
    "burst": (24, Burst(24, PROMPT, OUTPUT)),
    "closed": (20, ClosedLoop(20, 200, ABOUT_PROMPT, ABOUT_OUTPUT)),
    "poisson": (4.0, OpenLoop(Poisson(4.0), 300, PROMPT, OUTPUT)),
    "constant": (4.0, OpenLoop(Constant(4.0), 300, PROMPT, OUTPUT)),
}
SERVERS = {
    "vllm": (VLLM, SERVER),
    "ollama": (
        OLLAMA,
        replace(SERVER, engine="ollama", engine_version="0.12.4", gpu="rtx-4090", weights="q4_k_m", slots=4),
    ),
    "llama.cpp": (
        LLAMA,
        replace(SERVER, engine="llama.cpp", engine_version="b6925", gpu="rtx-4090", weights="q8_0", slots=4),
    ),
}


def seen_by_clients(workload: Workload) -> Workload:
    """The load behind vLLM's front end."""
    way = FixedThink(WAY_S) if workload.requests == 1 else ExponentialThink(WAY_S)
    return FrontEnd(Remote(workload, way), PROMPT_WORK_S)


def measured(variant: Variant, workload: Workload, point: Point) -> Point:
    """The point with what a run of that variant shows."""
    deployment = compose.deploy(variant)
    cost = physics.step_cost(deployment, profile.load("datasheet"))
    outcome = of_result(simulate(Scenario(deployment, cost, workload, compose.router("round_robin"))), whole=False)
    assert not isinstance(outcome, str)
    return replace(
        point,
        output_tps=outcome.output_tps,
        ttft_ms_mean=outcome.ttft_ms,
        tpot_ms_mean=outcome.tpot_ms,
        e2e_ms_mean=outcome.e2e_ms,
        success_rate=1.0,
    )


@pytest.mark.parametrize("engine", SERVERS)
@pytest.mark.parametrize("load", LOADS)
def test_what_the_simulator_measured_itself_is_predicted_exactly(engine: str, load: str, tmp_path: Path) -> None:
    variant, point = SERVERS[engine]
    value, workload = LOADS[load]
    sent = seen_by_clients(workload) if engine == "vllm" else workload
    own = measured(variant, sent, replace(point, load=load, load_value=value))
    found = validated("--points", str(table(tmp_path / "own.csv", own)), "--profile", "datasheet")
    assert found["unmapped"] == []
    (row,) = found["rows"]
    assert set(row["metrics"]) == {"output_tps", "ttft_ms", "tpot_ms", "e2e_ms"}
    assert [each["error"] for each in row["metrics"].values()] == pytest.approx([0.0] * 4, abs=1e-9)


def test_an_offline_batch_is_measured_as_a_whole(tmp_path: Path) -> None:
    deployment = with_even_contexts(compose.deploy(VLLM))
    cost = physics.step_cost(deployment, profile.load("datasheet"))
    run = simulate(Scenario(deployment, cost, Burst(24, PROMPT, OUTPUT), compose.router("round_robin")))
    whole_ms = int(run.requests["end_ps"].max()) / 1e9
    batch = replace(SERVER, load="offline", load_value=24, e2e_ms_mean=whole_ms, output_tps=24 * 40 / whole_ms * 1000)
    (row,) = validated("--points", str(table(tmp_path / "own.csv", batch)), "--profile", "datasheet")["rows"]
    assert row["metrics"]["e2e_ms"]["error"] == pytest.approx(0.0, abs=1e-9)
    assert row["metrics"]["output_tps"]["error"] == pytest.approx(0.0, abs=1e-9)


def test_single_steps_are_priced_by_the_step_cost_itself(tmp_path: Path) -> None:
    cost = physics.step_cost(with_even_contexts(compose.deploy(VLLM)), profile.load("datasheet"))
    step = cost.stride(Batch(8, (Pass(8, 8 * 513, 0, outputs=8, padded=8),))).first_ps
    prompt = cost.stride(Batch(0, (Pass(0, 0, 0, 700, prefill_cells(700, 0), 1),))).first_ps
    decode = replace(SERVER, load="decode_step", load_value=8, prompt_tokens=None, output_tokens=None, depth_tokens=512)
    prefill = replace(SERVER, load="prefill", load_value=700, prompt_tokens=700, output_tokens=None)
    points = (replace(decode, tpot_ms_mean=step / 1e9), replace(prefill, ttft_ms_mean=prompt / 1e9))
    found = validated("--points", str(table(tmp_path / "own.csv", *points)), "--profile", "datasheet")
    assert found["unmapped"] == []
    assert [row["load"] for row in found["rows"]] == ["decode_step", "prefill"]
    for row in found["rows"]:
        assert [each["error"] for each in row["metrics"].values()] == pytest.approx([0.0], abs=1e-9)


# -- columns


def test_columns_become_the_engine_s_own_options() -> None:
    stated = replace(
        SERVER, load="burst", gpu_count=2, kv_tokens=32_000, engine_options="max-num-batched-tokens=4096;enforce-eager"
    )
    deployment = only_case(stated).server.deployment
    assert deployment.options["max_num_seqs"] == 16
    assert deployment.options["max_model_len"] == 4096
    assert deployment.options["num_gpu_blocks"] == 2001
    assert deployment.options["max_num_batched_tokens"] == 4096
    assert deployment.options["enforce_eager"] is True
    assert deployment.traits.tensor_parallel == 2


@pytest.mark.parametrize(
    ("version", "options", "tokens"),
    [
        ("0.5.5", "enable_chunked_prefill=True", 512),
        ("v0.6.4", "enable_chunked_prefill", 512),
        ("0.5.5", "enable_chunked_prefill=True;max_num_batched_tokens=1024", 1024),
        ("0.6.5", "enable_chunked_prefill=True", 2048),
        ("0.14", "enable_chunked_prefill=True", 2048),
    ],
)
def test_early_releases_cut_prompts_smaller_when_asked_to(version: str, options: str, tokens: int) -> None:
    point = replace(SERVER, engine_version=version, engine_options=options, gpu="rtx-4090", load="burst")
    assert only_case(point).server.deployment.options["max_num_batched_tokens"] == tokens


def test_a_bench_program_s_negative_number_of_layers_is_all_of_them() -> None:
    stated = replace(SERVERS["llama.cpp"][1], engine_options="n-gpu-layers=-1;flash-attn=1;n-ubatch=256")
    deployment = only_case(stated).server.deployment
    assert deployment.memory.layers_on_host == 0
    assert deployment.options["ubatch_size"] == 256


def test_a_context_of_llama_cpp_is_a_slot_s() -> None:
    point = replace(SERVERS["llama.cpp"][1], load="burst", slots=4, context=2048)
    assert only_case(point).server.deployment.memory.context == 2048


def test_a_blank_says_what_is_assumed() -> None:
    blank = replace(SERVER, load="burst", slots=None, context=None, prompt_tokens=None, weights="", engine_version="")
    told = "; ".join(only_case(blank).assumed)
    for word in ("version blank", "weights blank", "slots blank", "context blank", "prompt_tokens blank"):
        assert word in told


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gpu": "unstated"}, "gpu not stated"),
        ({"gpu": "gpu-of-the-future"}, "unknown gpu"),
        ({"model": "model-of-the-future"}, "unknown model"),
        ({"engine": "tensorrt-llm"}, "engine not modelled"),
        ({"engine": ""}, "engine not stated"),
        ({"engine_options": "speculative-config=eagle"}, "not modelled"),
        ({"prompt_tokens": 4000, "output_tokens": 400}, "in a context of 4096"),
        ({"model": "llama-3.1-70b"}, "would not start"),
        ({"load": "microbatch"}, "no physical batches"),
    ],
)
def test_what_cannot_be_predicted_says_why(change: dict[str, Any], reason: str) -> None:
    assert reason in why_not(replace(SERVER, **change))


def test_every_modelled_version_has_a_date() -> None:
    assert {engine: tuple(dates) for engine, dates in RELEASED.items()} == {
        engine: tuple(compose.engine(engine).VERSIONS) for engine in RELEASED
    }


@pytest.mark.parametrize(
    ("engine", "words", "version"),
    [
        ("vllm", "0.11.2", "0.11.2"),
        ("vllm", "v0.15.1-0.17", "0.15.1"),
        ("vllm", "0.4.x model runner (Jun 2024)", "0.8"),
        ("vllm", "2024 (see repo)", "0.8"),
        ("vllm", "Mar 2026", "0.14"),
        ("vllm", "", "0.32"),
        ("ollama", "2025 (unstated)", "0.12.4"),
        ("ollama", "v0.6.8", "0.6.8"),
        ("llama_cpp", "llama.cpp Nov 2025", "b6925"),
        ("llama_cpp", "llama.cpp November 2026, v2", "b11434"),
        ("llama_cpp", "July 2025", "b5913"),
        ("vllm", "2025 decode kernels", "0.9"),
        ("ollama", "Sept 2025", "0.11.9"),
        ("llama_cpp", "build b7941", "b7941"),
        ("llama_cpp", "af51726", "b11434"),
    ],
)
def test_words_for_a_version_mean_the_release_of_that_number_or_date(engine: str, words: str, version: str) -> None:
    assert modelled_version(engine, words)[0] == version


@pytest.mark.parametrize(
    ("words", "month", "states"),
    [
        ("Nov 2025", "2025-11", True),
        ("november 2025", "2025-11", True),
        ("Sept-Oct 2025", "2025-10", True),
        ("nightly (2026-04)", "2026-04", True),
        ("2025 decode kernels", "2025-12", False),
        ("2025, Marlin", "2025-12", False),
        ("nov", None, False),
    ],
)
def test_words_for_a_month_are_words_of_their_own(words: str, month: str | None, states: bool) -> None:
    assert (stated_month(words.lower()), states_release("vllm", words)) == (month, states)


# -- what a source says of its clients


def sent(point: Point) -> Workload:
    run = only_case(point).asked.run
    assert isinstance(run, Served)
    return run.workload


def inside(point: Point) -> Any:
    """The load as it is without a front end."""
    load = sent(point)
    while isinstance(load, FrontEnd | Remote):
        load = load.workload
    return load


@pytest.mark.parametrize(
    ("source_id", "prompt", "output"),
    [
        ("own", ABOUT_PROMPT, ABOUT_OUTPUT),
        ("nvidia-silicon", PROMPT, OUTPUT),
        ("nvidia-inferencex", Uniform(240, 300), Uniform(32, 40)),
    ],
)
def test_users_ask_for_lengths_as_their_source_draws_them(source_id: str, prompt: Any, output: Any) -> None:
    point = replace(SERVER, source_id=source_id, load="closed", load_value=20)
    assert sent(point) == seen_by_clients(ClosedLoop(20, 200, prompt, output))
    assert ("spread by 10%" in " ".join(only_case(point).assumed)) == (source_id == "own")


@pytest.mark.parametrize("load", ["closed", "poisson", "burst"])
def test_conversations_of_sharegpt_vary_about_the_stated_means(load: str) -> None:
    point = replace(SERVER, load=load, load_value=20)
    talk = replace(point, notes="ShareGPT, 400 prompts")
    for tokens, lengths in ((300, inside(talk).prompt), (40, inside(talk).output)):
        assert isinstance(lengths, Lognormal)
        assert lengths.max_tokens == 1024
        assert lengths.mean == pytest.approx(tokens, rel=0.1)
    assert not isinstance(inside(point).prompt, Lognormal)
    assert only_case(talk).assumed[0] == "lengths vary about the means as ShareGPT's do"


@pytest.mark.parametrize("load", ["single", "offline"])
def test_one_request_and_one_batch_are_as_long_as_is_stated(load: str) -> None:
    talk = replace(SERVER, load=load, load_value=1, notes="ShareGPT")
    assert isinstance(inside(talk).prompt, Fixed)


@pytest.mark.parametrize("load", ["closed", "poisson", "burst", "single"])
def test_latencies_that_count_from_the_engine_have_no_front_end_in_them(load: str) -> None:
    point = replace(SERVER, load=load, load_value=1)
    assert isinstance(sent(point), FrontEnd)
    assert not isinstance(sent(replace(point, source_id="llmservingsim-gt")), FrontEnd)


def test_chats_are_more_work_for_the_front_end_than_prompts() -> None:
    point = replace(SERVER, load="burst", load_value=40)
    prompts, chats = (sent(replace(point, source_id=source_id)) for source_id in ("crusoe-l40s", "violet-4090"))
    assert isinstance(prompts, FrontEnd)
    assert isinstance(chats, FrontEnd)
    assert chats.work_s > 2 * prompts.work_s
    assert chats.workload == prompts.workload


@pytest.mark.parametrize("engine", ["ollama", "llama.cpp"])
def test_the_front_end_is_vllm_s(engine: str) -> None:
    assert not isinstance(sent(replace(SERVERS[engine][1], load="closed", load_value=4)), FrontEnd)


def test_an_offline_batch_has_no_clients() -> None:
    assert sent(replace(SERVER, load="offline", load_value=4)) == Burst(4, PROMPT, OUTPUT)


# -- bench programs


def test_one_stream_of_llama_cpp_without_latencies_is_a_bench_program_and_its_rate_the_answer_s() -> None:
    case = only_case(replace(SERVERS["llama.cpp"][1], context=None, prompt_tokens=512, output_tps=100.0))
    assert case.asked.run == Passes(1, 512, 40, 0)


def test_the_same_with_latencies_is_a_server() -> None:
    case = only_case(replace(SERVERS["llama.cpp"][1], output_tps=100.0, e2e_ms_mean=500.0))
    assert isinstance(case.asked.run, Served)


@pytest.mark.parametrize(("rate", "alone"), [(4 * 40 / 1.0, True), (4 * 40 / 1.5, False)])
def test_a_batch_s_rate_is_compared_with_what_its_own_times_say_it_is(rate: float, alone: bool, tmp_path: Path) -> None:
    stated = replace(SERVERS["llama.cpp"][1], load="offline", load_value=4, context=None, output_tps=rate)
    stated = replace(stated, ttft_ms_mean=500.0, tpot_ms_mean=1000 / 40, e2e_ms_mean=1500.0)
    (row,) = validated("--points", str(table(tmp_path / "own.csv", stated)), "--profile", "datasheet")["rows"]
    figures = {name: each["predicted"] for name, each in row["metrics"].items()}
    phase_ms = figures["tpot_ms"] * 40 if alone else figures["e2e_ms"]
    assert figures["output_tps"] == pytest.approx(4 * 40 / phase_ms * 1000)


def test_a_micro_batch_is_one_pass_of_so_many_tokens() -> None:
    point = replace(SERVERS["llama.cpp"][1], load="microbatch", load_value=64, prompt_tokens=512, output_tokens=None)
    assert only_case(replace(point, tpot_ms_mean=9.0)).asked.run == Passes(1, 512, 0, 0, 64, averaged=True)


def test_an_end_to_end_time_of_longer_answers_is_left_out(tmp_path: Path) -> None:
    batch = replace(SERVER, load="offline", load_value=16, output_tokens=1, ttft_ms_mean=900.0, e2e_ms_mean=9000.0)
    (row,) = validated("--points", str(table(tmp_path / "own.csv", batch)))["rows"]
    assert set(row["metrics"]) == {"ttft_ms"}


# -- held out


def test_a_profile_that_predicts_a_card_has_not_seen_it_and_filters_take_nothing_from_the_fit() -> None:
    cards = ["a100-40g-sxm", "h100-80g-sxm", "rtx-4090"]
    lines = [(row, replace(SERVER, gpu=card, output_tps=30.0)) for card in cards for row in range(1, 11)]
    pool, _ = cases(lines, lambda *_: None)
    asked_for = [case for case in pool if case.point.gpu == "rtx-4090"]
    fits: list[list[str]] = []

    def refit(points: Sequence[Point]) -> profile.Profile:
        fits.append([point.gpu for point in points])
        return profile.load("datasheet")

    assigned = without_own_part(asked_for, pool, "gpu", refit, 1, lambda *_: None)
    assert fits == [["a100-40g-sxm"] * 10 + ["h100-80g-sxm"] * 10]
    assert assigned.held_out == ["gpu rtx-4090"] * 10


# -- the command


def test_rows_are_numbered_as_in_the_file_and_rejected_ones_are_listed(tmp_path: Path) -> None:
    good = replace(SERVER, load="decode_step", load_value=8, tpot_ms_mean=20.0)
    path = table(tmp_path / "own.csv", good, replace(good, load_value=-8), replace(good, gpu="nowhere"), good)
    found = validated("--points", str(path))
    assert [row["row"] for row in found["rows"]] == [1, 4]
    assert [left["row"] for left in found["unmapped"]] == [2, 3]
    assert "load_value" in found["unmapped"][0]["reason"]


def test_impossible_rates_are_refused_with_the_arithmetic(tmp_path: Path) -> None:
    points = [replace(SERVER, output_tps=rate) for rate in (30.0, 510.0)]
    found = validated("--points", str(table(tmp_path / "own.csv", *points)))
    assert [row["row"] for row in found["rows"]] == [1]
    assert "TB/s" in found["unmapped"][0]["reason"]


def test_filters_keep_the_engines_and_cards_asked_for(tmp_path: Path) -> None:
    ours = [replace(point, output_tps=30.0, success_rate=1.0) for _, point in SERVERS.values()]
    path = str(table(tmp_path / "own.csv", *ours))
    assert [row["engine"] for row in validated("--points", path, "--engine", "llama_cpp")["rows"]] == ["llama.cpp"]
    assert [row["engine"] for row in validated("--points", path, "--gpu", "a100-40g")["rows"]] == ["vllm"]


def test_blanks_of_a_file_may_be_filled_on_the_command_line(tmp_path: Path) -> None:
    path = str(table(tmp_path / "own.csv", replace(SERVER, gpu="unstated", output_tps=30.0)))
    assert "row 1: " in simctl("validate", "--points", path).stderr
    (row,) = validated("--points", path, "--given", "gpu=rtx-4090")["rows"]
    assert row["gpu"] == "rtx-4090"


@pytest.mark.parametrize("text", ["", "no,points\n1,2\n", "not a table at all"])
def test_a_file_that_is_no_measurement_exits_with_3(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    done = simctl("validate", "--points", str(path))
    assert done.exit_code == 3
    assert "bad.csv" in done.stderr


@pytest.mark.parametrize(
    ("points", "words", "reason"),
    [
        ([replace(SERVER, gpu="nowhere", output_tps=30.0)] * 2, (), "of 2; row 1: unknown gpu 'nowhere'"),
        ([replace(SERVER, output_tps=30.0)], ("--engine", "ollama"), "no measurement of that engine and card"),
        ([], (), "no measurement is among them"),
    ],
)
def test_a_file_of_which_nothing_can_be_compared_says_why_and_exits_with_3(
    points: list[Point], words: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    done = simctl("validate", "--points", str(table(tmp_path / "own.csv", *points)), *words)
    assert (done.exit_code, done.stdout) == (3, "")
    assert reason in " ".join(done.stderr.split())


def test_a_file_that_is_not_there_exits_with_3() -> None:
    assert simctl("validate", "--points", "nowhere.csv").exit_code == 3


@pytest.mark.parametrize(
    "words",
    [
        ("--points", "a.csv", "--hold-out", "gpu"),
        ("--claims", "--points", "a.csv"),
        ("-o", "yaml"),
        ("--given", "gpu=l4"),
        ("--gpu", "m1-ultra", "--engine", "vllm"),
    ],
)
def test_flags_that_contradict_each_other_exit_with_2(words: tuple[str, ...]) -> None:
    assert simctl("validate", *words).exit_code == 2


@pytest.mark.parametrize("kind", ["table", "md", "csv", "html"])
def test_every_rendering_holds_the_errors(kind: str, tmp_path: Path) -> None:
    path = table(
        tmp_path / "own.csv", replace(SERVER, output_tps=30.0), replace(SERVER, gpu="nowhere", output_tps=30.0)
    )
    out = tmp_path / f"out.{kind}"
    done = simctl("validate", "--quiet", "--points", str(path), "-o", f"{kind}={out}")
    assert done.exit_code == 0, done.stderr
    text = out.read_text(encoding="utf-8")
    assert "vllm" in text
    assert ("nowhere" in text) == (kind != "csv")
    assert kind != "html" or ("Predicted against measured" in text and '<script src="' not in text)


def test_the_card_of_a_row_is_named_as_the_catalogue_names_it(tmp_path: Path) -> None:
    path = table(tmp_path / "own.csv", replace(SERVER, gpu="A100-40G", output_tps=30.0))
    (row,) = validated("--points", str(path))["rows"]
    assert row["gpu"] == catalog.gpu("a100-40g-sxm").id
