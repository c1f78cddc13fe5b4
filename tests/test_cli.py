"""The command line keeps its contract: data on stdout, words on stderr, the right exit code, never a traceback."""

import csv
import errno
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from reports.document import from_json
from sim.cli import engine_options
from sim.cli.main import cli
from sim.metrics import summarise
from tests.test_document import schema_violations

ROOT = Path(__file__).resolve().parents[1]
ONCE = ["--engine", "vllm", "--seeds", "1", "--jobs", "1", "--prompt-tokens", "64", "--output-tokens", "32"]
QUICK = [*ONCE, "--requests", "20"]
SWEEP = ["sweep", "--gpu", "a100-40g", *QUICK]


def simctl(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), prog_name="simctl")


def results(*words: str) -> dict[str, Any]:
    """The JSON that a command prints."""
    done = simctl(*words, "-o", "json")
    assert done.exit_code == 0, done.stderr
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


# -- results


def test_json_alone_on_stdout_satisfies_the_published_schema() -> None:
    found = results(*SWEEP, "--users", "1..4")
    assert schema_violations(found) == []
    assert from_json(found).schema_version == 1
    assert {"ttft_ms", "tpot_ms", "itl_ms", "attainment"} <= set(found["metric_definitions"])
    assert [point["users"] for point in found["points"]] == [1, 2, 4]


def test_a_short_gpu_name_is_resolved_to_one_card_and_the_output_says_which() -> None:
    found = results(*SWEEP, "--users", "1")
    assert found["scenario"]["gpu"] == found["variants"][0]["gpu"] == "a100-40g-sxm"
    assert "NVIDIA A100 SXM4 40GB (a100-40g-sxm)" in simctl(*SWEEP, "--users", "1").stdout


@pytest.mark.parametrize(
    "words",
    [
        [*QUICK, "--users", "2,3", "--think", "exp:2s", "--max-num-seqs", "2", "--no-enable-prefix-caching"],
        [*QUICK, "--load", "poisson:2", "--slo", "rag"],
        [*QUICK, "--load", "closed:3"],
        [*ONCE, "--users", "4", "--load", "burst", "--replicas", "2", "--router", "least-loaded", "--kv-type", "fp8"],
    ],
)
def test_the_scenario_in_the_results_gives_the_same_results_again(words: list[str]) -> None:
    first = results("sweep", "--gpu", "a100-40g", *words)
    again = ["sweep"]
    for flag, value in first["scenario"].items():
        for each in value if isinstance(value, list) else [value]:
            again += [] if each is None else [f"--{flag}", str(each)]
    assert results(*again, "--jobs", "1") == first


def test_outcomes_and_shares_are_whole_and_finite() -> None:
    (point,) = results(*SWEEP, "--users", "3")["points"]
    assert sum(point["outcomes"].values()) == point["requests"] == 20
    assert 0 <= point["attainment"] <= 1
    assert point["ttft_ms"]["p50"] <= point["ttft_ms"]["p99"]


def test_the_verdict_comes_before_the_table_and_names_what_was_compared() -> None:
    text = simctl(*SWEEP, "--users", "1,2").stdout
    verdict, table = text.index("vllm 0."), text.index("TTFT p99")
    assert verdict < table
    assert "BF16" in text
    assert "[datasheet]" in simctl(*SWEEP, "--users", "1,2", "--profile", "datasheet").stdout
    assert max(map(len, text.splitlines())) <= 100


def test_csv_and_json_lines_have_a_row_for_every_point(tmp_path: Path) -> None:
    table, lines = tmp_path / "points.csv", tmp_path / "points.jsonl"
    found = results(*SWEEP, "--users", "1,2", "-o", f"csv={table}", "-o", f"jsonl={lines}")
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
    assert [row["users"] for row in rows] == ["1", "2"]
    assert float(rows[0]["ttft_ms.p99"]) == found["points"][0]["ttft_ms"]["p99"]
    assert [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()] == found["points"]


def test_markdown_holds_the_same_points() -> None:
    text = simctl(*SWEEP, "--users", "1,2", "-o", "md").stdout
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:] == ["1", "2"]


def test_quiet_leaves_stderr_empty_and_a_warning_is_no_part_of_stdout() -> None:
    loud, quiet = simctl(*SWEEP, "--users", "1"), simctl(*SWEEP, "--users", "1", "--quiet")
    assert "simctl: warning: vllm: num_gpu_blocks" in loud.stderr
    assert quiet.stderr == ""
    assert quiet.stdout == loud.stdout


def test_a_dry_run_says_what_fits_and_how_much_would_be_run() -> None:
    text = simctl(*SWEEP, "--users", "1..8", "--dry-run").stdout
    assert "4 runs of 125 requests in all" in text
    assert "layers on host" in text


def test_people_follow_from_users_by_littles_law() -> None:
    found = results(*SWEEP, "--users", "4")
    answer_s = found["points"][0]["e2e_ms"]["mean"] / 1000
    assert found["cliffs"][0]["people"] == round(4 * (answer_s + 20) / answer_s)
    assert results(*SWEEP, "--users", "4", "--think", "5s")["cliffs"][0]["people"] == 4


def test_more_requests_than_a_server_can_answer_are_called_unstable() -> None:
    found = results(*SWEEP, "--load", "poisson:2000", "--requests", "2000", "--max-num-seqs", "1")
    assert [point["status"] for point in found["points"]] == ["unstable"]
    assert found["points"][0]["users"] is None
    assert found["points"][0]["rate"] == 2000.0
    text = simctl(*SWEEP, "--load", "poisson:2000", "--requests", "2000", "--max-num-seqs", "1").stdout
    assert "unstable" in text


def test_run_answers_for_one_load() -> None:
    found = results("run", "--gpu", "h100-80g-sxm", *QUICK, "--users", "2")
    assert [(point["users"], point["seeds"]) for point in found["points"]] == [(2, 1)]


def test_a_measured_step_table_takes_the_place_of_the_data_sheet() -> None:
    table = ROOT / "calibration" / "measurements" / "rand78m-vllm-seqs128_b2048.json"
    slow = results(*SWEEP, "--users", "1")["points"][0]["tpot_ms"]["p50"]
    fast = results(*SWEEP, "--users", "1", "--step-table", str(table))["points"][0]["tpot_ms"]["p50"]
    assert fast != slow


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_leaves_the_step_table_is_called_extrapolated(monkeypatch: pytest.MonkeyPatch, jobs: str) -> None:
    """Also where the steps are taken in another process."""
    monkeypatch.setattr("sim.runner.WORTH_PROCESSES", 0)
    table = ROOT / "calibration" / "measurements" / "rand78m-llamacpp-unified.json"
    words = ["sweep", "--gpu", "a100-40g", "--engine", "llama_cpp", "--step-table", str(table), "--parallel", "32"]
    words += ["--prompt-tokens", "200", "--output-tokens", "20", "--requests", "20", "--seeds", "2", "--jobs", jobs]
    found = results(*words, "--users", "2,32")
    assert [point["trust"] for point in found["points"]] == ["measured", "extrapolated"]
    assert found["variants"][0]["trust"] == found["cliffs"][0]["trust"] == "extrapolated"
    found = results(*words, "--users", "2,4")
    assert {point["trust"] for point in found["points"]} == {"measured"}
    assert found["variants"][0]["trust"] == found["cliffs"][0]["trust"] == "measured"


def test_a_policy_takes_the_place_of_the_engines_own_with_its_options() -> None:
    done = simctl(*SWEEP, "--users", "4", "--scheduler", "sjf:noise=0.3", "-o", "json")
    assert done.exit_code == 0
    assert "true output length" in done.stderr
    assert results(*SWEEP, "--users", "4", "--scheduler", "policies.schedulers.sarathi:Sarathi")["points"]


def test_the_card_can_be_given_less_memory() -> None:
    whole, half = (results(*SWEEP, "--users", "1", *vram)["variants"][0] for vram in ([], ["--vram", "36GiB"]))
    assert half["memory"]["kv_gib"] < whole["memory"]["kv_gib"]


DEFAULT = ["--users", "1,2", "--requests", "20", "--seeds", "1", "--jobs", "1"]
DEFAULT += ["--prompt-tokens", "64", "--output-tokens", "32"]


def test_by_default_three_engines_are_compared_as_installed_and_two_of_them_tuned() -> None:
    found = results("sweep", "--gpu", "a100-40g", *DEFAULT)
    assert [row["id"] for row in found["variants"]] == [
        "ollama",
        "ollama-tuned",
        "llama.cpp",
        "llama.cpp-tuned",
        "vllm",
    ]
    assert [row["weights"] for row in found["variants"]] == ["q4_k_m"] * 4 + ["bf16"]
    slots = {row["id"]: row["memory"]["slots"] for row in found["variants"]}
    assert (slots["ollama"], slots["llama.cpp"], slots["vllm"]) == (1, 4, None)
    assert slots["ollama-tuned"] > 1
    assert slots["llama.cpp-tuned"] > 4
    assert {point["variant"] for point in found["points"]} == set(slots)


def test_an_option_reaches_the_engines_that_have_it_under_any_of_their_names() -> None:
    words = ["sweep", "--gpu", "a100-40g", *DEFAULT, "-np", "3", "-c", "6000"]
    rows = {row["id"]: row for row in results(*words)["variants"]}
    assert rows["llama.cpp"]["memory"]["slots"] == 3
    assert "llama.cpp-tuned" not in rows
    assert rows["ollama"]["memory"]["slots"] == 1


def test_the_default_comparison_is_repeated_by_its_scenario() -> None:
    first = results("sweep", "--gpu", "a100-40g", *DEFAULT)
    words = [
        word for flag, value in first["scenario"].items() if value is not None for word in (f"--{flag}", str(value))
    ]
    assert first["scenario"]["engine"] is None
    assert results("sweep", *words) == first


def test_one_weight_format_can_be_asked_of_every_engine() -> None:
    found = results("sweep", "--gpu", "a100-40g", "--weights", "fp16", *DEFAULT)
    assert {row["weights"] for row in found["variants"]} == {"fp16"}


@pytest.mark.parametrize(("card", "status"), [("rtx-4060-ti-16g", "does_not_fit"), ("m2-ultra", "not_supported")])
def test_an_engine_that_cannot_run_here_does_not_stop_the_others(card: str, status: str) -> None:
    found = results("sweep", "--gpu", card, *DEFAULT)
    statuses = {row["id"]: row["status"] for row in found["variants"]}
    assert statuses.pop("vllm") == status
    assert set(statuses.values()) == {"ok"}
    assert schema_violations(found) == []
    text = simctl("sweep", "--gpu", card, *DEFAULT).stdout
    assert "\nvllm: " in text


def test_a_client_without_patience_times_out_and_tries_again() -> None:
    words = ["--users", "2", "--timeout", "200ms", "--retries", "2"]
    (point,) = results("run", "--gpu", "a100-40g", *QUICK, *words)["points"]
    assert point["outcomes"]["timed_out"] == point["requests"] == 60
    assert point["attainment"] == 0


# -- refusals: message and exit code

REFUSED: dict[str, tuple[list[str], int, str]] = {
    "unknown gpu": (["--gpu", "a100-40"], 2, "unknown gpu 'a100-40': did you mean a100-40g-sxm"),
    "unknown model": (["--model", "lama-3.1-8b"], 2, "did you mean llama-3.1-8b"),
    "unknown host": (["--host", "sever-ddr4"], 2, "unknown host 'sever-ddr4': did you mean server-ddr4"),
    "unknown engine": (["--engine", "vlm"], 2, "unknown engine 'vlm': did you mean vllm"),
    "a helper file is no engine": (["--engine", "vllm_memory"], 2, "unknown engine 'vllm_memory'"),
    "unknown version": (["--engine", "vllm@nine"], 2, "unknown vLLM version 'nine'"),
    "the same engine twice": (["--engine", "vllm"], 2, "--engine names the same engine twice"),
    "unknown router": (["--router", "least-load"], 2, "did you mean least_loaded"),
    "unknown scheduler": (["--scheduler", "sfj"], 2, "unknown scheduler 'sfj': did you mean sjf"),
    "unknown scheduler option": (["--scheduler", "sjf:nose=1"], 2, "did you mean noise"),
    "scheduler without options": (["--scheduler", "sjf:0.3"], 2, "'sjf:0.3'"),
    "scheduler outside": (["--scheduler", "no.such.module:Policy"], 2, "'no.such.module:Policy' cannot be loaded"),
    "unknown workload": (["--workload", "chatt"], 2, "did you mean chat"),
    "unknown load": (["--load", "opened"], 2, "unknown load 'opened'"),
    "unknown weights": (["--weights", "q4_k_x"], 2, "did you mean q4_k_"),
    "unknown KV type": (["--kv-type", "fp7"], 2, "did you mean fp"),
    "unknown SLO": (["--slo", "chatty"], 2, "did you mean chat"),
    "unknown SLO bound": (["--slo", "tfft=1s"], 2, "did you mean ttft"),
    "SLO without unit": (["--slo", "ttft=500"], 2, "needs a unit"),
    "no users": (["--users", "0"], 2, "'0' is not a whole number from 1"),
    "negative users": (["--users", "-5"], 2, "'-5' is not a whole number from 1"),
    "empty range": (["--users", "8..2"], 2, "empty range: write 2..8"),
    "words for users": (["--users", "many"], 2, "'many' is not a whole number"),
    "NaN lengths": (["--prompt-tokens", "nan"], 2, "unknown lengths 'nan'"),
    "NaN mean": (["--output-tokens", "lognormal:mean=nan"], 2, "not a finite number"),
    "negative lengths": (["--prompt-tokens", "-3"], 2, "-3"),
    "missing lengths file": (["--prompt-tokens", "no-such.csv"], 3, "cannot read lengths from no-such.csv"),
    "missing step table": (["--step-table", "no-such.json"], 3, "step table no-such.json: cannot be read"),
    "users of a load that has its own": (["--load", "closed:32"], 2, "--load closed:32 does not use --users"),
    "users of a rate": (["--load", "poisson:2"], 2, "it states its own size: leave --users out"),
    "infinite rate": (["--load", "poisson:inf"], 2, "not a finite number"),
    "negative think time": (["--think", "-1s"], 2, "negative"),
    "think time without unit": (["--think", "10"], 2, "needs a unit"),
    "no patience at all": (["--timeout", "0s"], 2, "--timeout 0"),
    "memory without unit": (["--vram", "40"], 2, "needs a unit"),
    "no seeds": (["--seeds", "0"], 2, "0 is not in the range"),
    "no requests": (["--requests", "0"], 2, "0 is not in the range"),
    "option not modelled": (["--speculative-config", "x"], 2, "speculative_config is not modelled"),
    "unknown option": (["--max-num-seq", "3"], 2, "unknown option '--max-num-seq': did you mean --max-num-seqs"),
    "option of another engine": (["--num-parallel", "4"], 2, "option --num-parallel belongs to ollama, not to vllm"),
    "option with a bad value": (["--max-num-seqs", "few"], 2, "max_num_seqs"),
    "unknown format": (["-o", "jsn"], 2, "did you mean json"),
    "two formats on stdout": (["-o", "json", "-o", "table"], 2, "both go to stdout"),
    "format without a file": (["-o", "json="], 2, "names no file"),
    "no folder": (["-o", "json=no/such/folder/x.json"], 1, "there is no folder no/such/folder; make it first"),
    "a folder": (["-o", "json=."], 1, "is a folder"),
    "model too large": (["--model", "llama-3.1-70b"], 4, "nothing fits"),
    "card too small": (["--vram", "1GiB"], 4, "GiB"),
}


@pytest.mark.parametrize(("words", "code", "said"), REFUSED.values(), ids=REFUSED)
def test_what_means_nothing_is_refused_with_a_reason(words: list[str], code: int, said: str) -> None:
    done = simctl(*SWEEP, "--users", "1", *words)
    assert done.exit_code == code, done.output
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_does_not_fit_is_told_how_much_is_missing() -> None:
    done = simctl(*SWEEP, "--users", "1", "--model", "llama-3.1-70b", "-o", "json")
    found = json.loads(done.stdout)
    assert schema_violations(found) == []
    assert found["points"] == []
    (row,) = found["variants"]
    assert row["status"] == "does_not_fit"
    assert row["missing_gib"] > 90  # 141 GB of weights on a card of 39.5 GiB
    assert f"{row['missing_gib']:.0f}" in done.stderr or "missing" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Usage"),
        (["sweep"], "Missing option '--gpu'"),
        (["sweeep"], "No such command 'sweeep'"),
        (["list", "planets"], "unknown kind 'planets'"),
        (["list"], "Missing argument"),
    ],
)
def test_usage_errors_leave_with_two(words: list[str], said: str) -> None:
    done = simctl(*words)
    assert done.exit_code == 2
    assert said in done.output


@pytest.mark.parametrize(
    "words",
    [
        [*SWEEP, "--users", "1"],
        ["plan", "--gpu", "l4", "--users", "1", "--weights", "fp8", "--slo", "e2e=10m", *QUICK],
        ["validate", "--claims", "--engine", "ollama"],
    ],
    ids=["sweep", "plan", "validate"],
)
def test_a_full_disk_takes_nothing_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]) -> None:
    """Neither what stood in the file before nor what was found now."""

    def refuse(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    place = tmp_path / "results.json"
    place.write_text("before", encoding="utf-8")
    monkeypatch.setattr(Path, "write_bytes", refuse)
    done = simctl(*words, "-o", f"json={place}")
    assert done.exit_code == 1
    assert place.read_text(encoding="utf-8") == "before"
    assert f"cannot write {place}: No space left on device" in done.stderr
    kept = Path(done.stderr.strip().rpartition("the results are in ")[2])
    assert json.loads(kept.read_text(encoding="utf-8"))
    kept.unlink()


def test_a_full_disk_does_not_lose_the_results() -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("this system has no device that is always full")
    done = simctl(*SWEEP, "--users", "1", "-o", "json=/dev/full")
    assert done.exit_code == 1
    assert "cannot write /dev/full" in done.stderr
    kept = Path(done.stderr.strip().rpartition("the results are in ")[2])
    assert json.loads(kept.read_text(encoding="utf-8"))["points"]
    kept.unlink()


def test_results_replace_an_older_file_whole(tmp_path: Path) -> None:
    place = tmp_path / "results.json"
    place.write_text("x" * 100_000, encoding="utf-8")
    assert simctl(*SWEEP, "--users", "1", "-o", f"json={place}").exit_code == 0
    assert json.loads(place.read_text(encoding="utf-8"))["schema_version"] == 1
    assert os.listdir(tmp_path) == ["results.json"]


def test_an_interrupt_keeps_what_is_done_and_leaves_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = summarise, []

    def interrupted_later(*arguments: Any, **named: Any) -> Any:
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr("sim.cli.study.summarise", interrupted_later)
    done = simctl(*SWEEP, "--users", "1,2,3,4", "-o", "json")
    assert done.exit_code == 130
    found = json.loads(done.stdout)
    assert [point["users"] for point in found["points"]] == [1, 2]
    assert any("interrupted" in warning for warning in found["warnings"])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("oops"), 1, "internal error: ZeroDivisionError: oops"),
        (OSError(28, "No space left on device", "x"), 1, "x: No space left on device"),
        (MemoryError(), 1, "memory is full"),
    ],
)
def test_whatever_goes_wrong_the_user_gets_a_sentence(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr("sim.cli.searching.document", fail)
    done = simctl(*SWEEP, "--users", "1")
    assert (done.exit_code, said in done.stderr) == (code, True)
    assert "Traceback" not in done.stderr


# -- engines' options among simctl's own

OWN = {"--gpu": True, "--quiet": False, "-o": True, "--output": True}


@pytest.mark.parametrize(
    ("words", "own", "others"),
    [
        ("--gpu a --num-ctx 4096", "--gpu a", [("num-ctx", "4096")]),
        ("--num-ctx=4096 --quiet", "--quiet", [("num-ctx", "4096")]),
        ("--enforce-eager --gpu a", "--gpu a", [("enforce-eager", None)]),
        ("--watermark -0.5", "", [("watermark", "-0.5")]),
        ("-np 4 -nocb -o json", "-o json", [("np", "4"), ("nocb", None)]),
        ("-ojson --gpu --quiet", "-ojson --gpu --quiet", []),
        ("scenario.toml --gpu -5", "scenario.toml --gpu -5", []),
    ],
)
def test_an_engines_options_are_told_from_simctls_own(
    words: str, own: str, others: list[tuple[str, str | None]]
) -> None:
    assert engine_options.split_words(words.split(), OWN) == (own.split(), tuple(others))


# -- catalogue


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("gpus", "a100-40g-sxm"),
        ("hosts", "server-ddr4"),
        ("models", "llama-3.1-8b"),
        ("engines", "--max-num-seqs"),
        ("workloads", "chat"),
        ("policies", "vllm_v1"),
    ],
)
def test_list_shows_every_kind_within_a_hundred_columns(kind: str, shown: str) -> None:
    text = simctl("list", kind).stdout
    assert shown in text
    assert max(map(len, text.splitlines())) <= 100


def test_list_says_how_many_figures_are_recalled() -> None:
    lines = simctl("list", "gpus").stdout.splitlines()
    assert "recalled" in lines[1]
    (card,) = (line.split() for line in lines if line.startswith("a100-40g-sxm"))
    assert card[-2:] == ["1", "pcie_gbs"]


# -- as a process

# A shell's background jobs ignore interrupts, and so would what they start.
HEARS_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
MAIN = HEARS_INTERRUPTS + "from sim.cli.main import main; main()"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_key_press_ends_a_long_sweep_without_noise(jobs: str) -> None:
    words = [*SWEEP, "--users", "1..128", "--requests", "100000", "--jobs", jobs, "-o", "json"]
    running = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(2)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said


def test_the_version_is_said() -> None:
    done = simctl("--version")
    assert (done.exit_code, done.stdout.split()[0]) == (0, "simctl")
    assert done.stdout.split()[1] == results(*SWEEP, "--users", "1")["simctl"]


def test_help_loads_nothing_that_takes_time() -> None:
    code = "import sys\nfrom sim.cli.main import cli\ntry:\n    cli.main(['--help'])\nfinally:\n    print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "click" in loaded
    assert not loaded & {"numpy", "pandas", "joblib", "rich", "simpy", "plotly"}


def test_help_costs_little_more_than_loading_click() -> None:
    click_s, help_s = (min(cpu_seconds(*words) for _ in range(3)) for words in (["import click"], [MAIN, "--help"]))
    assert help_s < 2 * click_s


def cpu_seconds(code: str, *words: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_reader_that_leaves_early_causes_no_noise() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "list", "engines"],
        cwd=ROOT,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


# -- one load in detail, and verdicts


def test_run_shows_what_the_first_token_waited_for_and_how_the_run_went_on() -> None:
    text = simctl("run", "--gpu", "a100-40g", *QUICK, "--users", "3").stdout
    assert "Mean TTFT by what it was spent on" in text
    assert "vllm, closed:3, seed 0, from start to end" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("words", "said", "capacity"),
    [
        (["--users", "1..4"], "carries 4 at once and more", 4),
        (["--users", "1..8", "--slo", "ttft=1ms"], "does not carry a single user within the SLO: TTFT passes 1 ms", 0),
        (["--users", "8", "--slo", "tpot=1ms"], "carries fewer than 8: there TPOT passes 1 ms", None),
        (["--users", "1..64", "--max-num-seqs", "2", "--slo", "ttft=300ms"], "at once", "found"),
    ],
)
def test_the_verdict_says_what_was_found_and_no_more(words: list[str], said: str, capacity: int | str | None) -> None:
    text, cliff = simctl(*SWEEP, *words).stdout, results(*SWEEP, *words)["cliffs"][0]
    assert said in " ".join(text.split())
    if capacity == "found":
        assert cliff["capacity_users"] < cliff["first_failing_users"]
        assert cliff["breached"] == "ttft"
    else:
        assert cliff["capacity_users"] == capacity
    if cliff["first_failing_users"] is None:
        unknown = ("low", "high", "cliff", "stability_rate", "memory_cliff_slots", "cause", "knob", "counterfactual")
        assert [cliff[name] for name in unknown] == [None] * len(unknown)
    else:
        assert cliff["cause"] in text
