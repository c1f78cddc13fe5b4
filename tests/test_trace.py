"""A trace is replayed as it was recorded, and one that cannot be read is refused by file, line and column."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sim import compose
from sim.cli.main import cli
from sim.clock import PS_PER_S
from sim.errors import BadScenario, SimctlError
from sim.scenario import Scenario
from sim.simulate import simulate
from sim.variant import Variant
from workloads.trace import Trace, read_trace

HEADER = "arrival_s,prompt_tokens,output_tokens\n"


def simctl(*words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--quiet"], catch_exceptions=False)


def written(folder: Path, text: str) -> Path:
    path = folder / "trace.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_are_found_by_name_and_rows_sorted_by_arrival(tmp_path: Path) -> None:
    text = "user, Output_Tokens ,arrival_s,prompt_tokens\nb,20,12.5,200\n\na,10,10,100\nc,30,12.5,300\n"
    trace = read_trace(written(tmp_path, text))
    assert trace.arrivals_ps == (0, 2_500_000_000_000, 2_500_000_000_000)
    assert (trace.prompts, trace.outputs) == ((100, 200, 300), (10, 20, 30))


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(tmp_path: Path) -> None:
    assert read_trace(written(tmp_path, "\ufeff" + HEADER.replace("\n", "\r\n") + "0,5,6\r\n")).outputs == (6,)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("0,5,6\n1,x,6\n", "line 3: prompt_tokens 'x'"),
        ("0,5,6\n1,5\n", "line 3: output_tokens ''"),
        ("0,5,0\n", "line 2: output_tokens '0'"),
        ("0,2.5,6\n", "line 2: prompt_tokens '2.5'"),
        ("-1,5,6\n", "line 2: arrival_s '-1'"),
        ("nan,5,6\n", "line 2: arrival_s 'nan'"),
        ("1e99,5,6\n", "line 2: arrival_s '1e99'"),
        (",5,6\n", "line 2: arrival_s ''"),
        ("0,5,99999999999999999999\n", "line 2: output_tokens"),
        ("", "no requests below"),
    ],
)
def test_a_malformed_row_is_named_by_line_and_column(tmp_path: Path, rows: str, told: str) -> None:
    path = written(tmp_path, HEADER + rows)
    with pytest.raises(BadScenario) as caught:
        read_trace(path)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("arrival_s,prompt_tokens\n", "'output_tokens' is not there"),
        ("arrival_s,prompt_tokens,output_tokens,arrival_s\n", "'arrival_s' is twice"),
        ("", "'arrival_s' is not there"),
    ],
)
def test_a_header_without_the_three_columns_is_refused(tmp_path: Path, header: str, told: str) -> None:
    with pytest.raises(SimctlError, match=told):
        read_trace(written(tmp_path, header + "0,5,6,0\n"))


def test_a_missing_or_binary_file_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(SimctlError, match="cannot read a trace"):
        read_trace(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(SimctlError, match="cannot read a trace"):
        read_trace(tmp_path / "binary.csv")


def test_every_request_arrives_when_it_did_with_the_lengths_it_had_whatever_the_seed() -> None:
    trace = Trace("here", (0, 5 * 10**10, 5 * 10**10, 10**12), (100, 2000, 30, 400), (7, 1, 300, 20))
    deployment = compose.deploy(Variant("x", "vllm", "rtx-4090", "llama-3.1-8b", options={"max_model_len": 8192}))
    cost = compose.step_cost(Variant("x", "vllm", "rtx-4090", "llama-3.1-8b"), deployment)
    for seed in (0, 7):
        log = simulate(Scenario(deployment, cost, trace, compose.router("round_robin"), seed=seed)).requests
        rows = sorted(zip(log["id"], log["arrival_ps"], log["prompt_tokens"], log["output_tokens"], strict=True))
        told = list(zip(range(4), trace.arrivals_ps, trace.prompts, trace.outputs, strict=True))
        assert [tuple(map(int, row)) for row in rows] == told


def test_means_are_those_of_the_rows() -> None:
    trace = Trace("here", (0, PS_PER_S), (100, 300), (10, 20))
    assert (trace.requests, trace.prompt.mean, trace.output.mean) == (2, 200.0, 15.0)


def test_a_trace_is_run_from_the_command_line(tmp_path: Path) -> None:
    rows = "".join(f"{number / 4},{100 + number},{20 + number}\n" for number in range(12))
    path = written(tmp_path, HEADER + rows)
    words = ("run", "--gpu", "rtx-4090", "--engine", "vllm", "--trace", str(path), "--max-model-len", "8192")
    told = json.loads(simctl(*words, "-o", "json").stdout)
    (point,) = told["points"]
    assert (point["load"], point["users"]) == ("trace", None)
    assert point["rate"] == pytest.approx(12 / 2.75)
    assert point["status"] == "ok"
    again = [f"--{name}={value}" for name, value in told["scenario"].items() if value is not None and name != "engine"]
    assert json.loads(simctl("run", "--engine", "vllm", *again, "-o", "json").stdout)["points"] == told["points"]
    assert told["scenario"]["trace"] == str(path)


def test_a_malformed_trace_is_a_bad_file_and_no_misuse(tmp_path: Path) -> None:
    ended = simctl("run", "--gpu", "rtx-4090", "--trace", str(written(tmp_path, HEADER + "0,abc,10\n")))
    assert ended.exit_code == 3
    assert "trace.csv line 2: prompt_tokens 'abc'" in ended.stderr


@pytest.mark.parametrize("flag", ["--prompt-tokens", "--output-tokens", "--requests", "--users"])
def test_what_a_trace_says_already_is_not_said_twice(tmp_path: Path, flag: str) -> None:
    path = written(tmp_path, HEADER + "0,5,6\n")
    ended = simctl("run", "--gpu", "rtx-4090", "--trace", str(path), flag, "100")
    assert ended.exit_code == 2
    assert f"leave {flag} out" in ended.stderr
