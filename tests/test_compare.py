"""A comparison shows differences that are real: the same requests for every variant, and an interval around each."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from reports.document import from_json
from reports.page import page
from sim.cli.main import cli
from sim.cli.varying import parse_axes, settings, words
from sim.paired import crossing, gap, student
from tests.test_document import schema_violations

QUICK = ["--requests", "40", "--seeds", "3", "--jobs", "1", "--prompt-tokens", "64", "--output-tokens", "32"]
VLLM = ["--gpu", "a100-40g", "--engine", "vllm", *QUICK]
figures = st.floats(0.1, 1e6)


def simctl(*words: str) -> Result:
    return CliRunner().invoke(cli, ["compare", *words], prog_name="simctl")


def results(*words: str) -> dict[str, Any]:
    done = simctl(*words, "-o", "json", "--quiet")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# -- paired differences


@given(st.lists(st.tuples(figures, figures), min_size=2, max_size=9))
def test_the_interval_holds_the_mean_difference(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = ([pair[place] for pair in pairs] for place in (0, 1))
    found = gap(ours, theirs)
    assert found.low is not None
    assert found.high is not None
    slack = 1e-9 * max(*ours, *theirs)
    assert found.low - slack <= found.value <= found.high + slack


@given(st.lists(figures, min_size=2, max_size=9), st.floats(1.01, 5))
def test_what_is_common_to_both_drops_out(values: list[float], factor: float) -> None:
    found = gap([factor * value for value in values], values)
    assert found.certain
    assert found.high == pytest.approx(found.low)


def test_seeds_that_disagree_are_called_chance_and_one_seed_says_nothing() -> None:
    assert not gap([1.0, 3.0, 2.0], [2.0, 2.0, 2.1]).certain
    assert gap([5.0], [1.0]).low is None
    assert not gap([5.0], [1.0]).certain


def test_fewer_seeds_make_wider_intervals() -> None:
    reaches = [student(freedom) for freedom in range(1, 60)]
    assert all(more > less for more, less in pairwise(reaches))
    assert reaches[-1] == pytest.approx(1.671, abs=0.002)


def test_a_seed_carries_as_many_as_its_share_says_between_two_loads() -> None:
    assert crossing({1: 1.0, 10: 0.97, 20: 0.93}) == pytest.approx(15)
    assert crossing({1: 0.0}) == pytest.approx(0.05)
    assert crossing({4: 0.0}) is None
    assert crossing({1: 1.0, 8: 0.95}) is None


# -- what is varied


def test_every_combination_is_compared_and_the_last_key_changes_fastest() -> None:
    axes = parse_axes(["gpu=l4,h100", "max_num_seqs=16,32"])
    assert [" ".join(words(setting)) for setting in settings(axes)] == [
        "l4 max-num-seqs=16",
        "l4 max-num-seqs=32",
        "h100 max-num-seqs=16",
        "h100 max-num-seqs=32",
    ]


def test_semicolons_part_values_that_hold_commas() -> None:
    (axis,) = parse_axes(["output-tokens=lognormal:mean=200,cv=1;512"])
    assert axis.values == ("lognormal:mean=200,cv=1", "512")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "nothing to compare: write --vary KEY=a,b"),
        (["--vary", "engine"], "--vary 'engine' is not written as KEY=a,b,c"),
        (["--vary", "weights=bf16,,fp8"], "is not written as KEY=a,b,c"),
        (["--vary", "weights=bf16,bf16"], "names a value twice"),
        (["--vary", "gpu=l4,h100", "--vary", "gpu=t4"], "--vary names gpu twice"),
        (["--vary", "slo=chat,rag"], "with a yardstick of its own"),
        (["--vary", "jobs=1,2"], "unknown key to vary 'jobs'"),
        (["--vary", "max-num-sqs=1,2"], "unknown option '--max-num-sqs': did you mean --max-num-seqs"),
        (["--vary", "gpu=l4,h1000"], "unknown gpu 'h1000': did you mean"),
        (["--vary", "replicas=1,none"], "--vary replicas: 'none' is not a valid integer"),
        (["--vary", f"block-size={','.join(map(str, range(65)))}"], "at most 64 are compared"),
        (["--vary", "pipeline-parallel-size=2,4"], "pipeline_parallel_size is not modelled"),
    ],
)
def test_what_cannot_be_varied_is_refused_with_a_reason(given: list[str], told: str) -> None:
    done = simctl(*VLLM, *given)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_comparison_needs_a_card() -> None:
    done = simctl("--engine", "vllm", "--vary", "weights=bf16,fp8")
    assert done.exit_code == 2
    assert "no card is named: write --gpu NAME, or --vary gpu=" in done.stderr


def test_where_nothing_fits_the_exit_code_says_so() -> None:
    done = simctl("--engine", "vllm", "--model", "llama-3.1-70b", "--vary", "gpu=l4,t4", *QUICK)
    assert done.exit_code == 4
    assert "nothing fits: vLLM would not start" in done.stderr


# -- what comes of it


def test_a_comparison_satisfies_the_published_schema_and_makes_a_page(tmp_path: Path) -> None:
    found = results(*VLLM, "--users", "1,4", "--vary", "max-num-seqs=1,8")
    assert schema_violations(found) == []
    assert [row["id"] for row in found["variants"]] == ["max-num-seqs=1", "max-num-seqs=8"]
    shown = page(from_json(found))
    assert "What changes with max-num-seqs?" in shown
    assert "max-num-seqs=8 against max-num-seqs=1: capacity" in shown
    assert "simctl compare" in shown


def test_requests_are_the_same_for_every_variant() -> None:
    """A limit that does not bind changes nothing at all, on any seed."""
    found = results(*VLLM, "--users", "1,4", "--vary", "max-num-seqs=64,128")
    told = found["comparison"]["differences"]
    assert {each["users"] for each in told} == {1, 4}
    assert all(each["difference"] == each["low"] == each["high"] == 0 for each in told)


def test_the_wider_memory_is_faster_beyond_chance() -> None:
    found = results("--engine", "vllm", *QUICK, "--users", "1..8", "--vary", "gpu=a100-40g,h100")
    speeds = [each for each in found["comparison"]["differences"] if each["metric"] == "output_tps"]
    assert speeds
    assert all(each["certain"] and each["low"] > 0 for each in speeds)
    assert [stretch["best"] for stretch in found["comparison"]["winners"]] == [["h100"]]


def test_who_wins_changes_where_the_slots_are_taken() -> None:
    words = ["--users", "1..16", "--vary", "engine=ollama,vllm", "--slo", "ttft=500ms"]
    found = results("--gpu", "a100-40g", *QUICK, *words)
    winners = found["comparison"]["winners"]
    assert winners[0]["from"] == 1
    assert winners[0]["best"] == ["ollama"]
    assert winners[-1]["best"] == ["vllm"]


def test_every_variant_is_measured_against_those_that_differ_in_one_thing() -> None:
    found = results(*VLLM, "--users", "1", "--vary", "max-num-seqs=1,8", "--vary", "block-size=16,32")
    pairs = {(each["variant"], each["baseline"]) for each in found["comparison"]["differences"]}
    assert pairs == {
        ("max-num-seqs=8 block-size=16", "max-num-seqs=1 block-size=16"),
        ("max-num-seqs=8 block-size=32", "max-num-seqs=1 block-size=32"),
        ("max-num-seqs=1 block-size=32", "max-num-seqs=1 block-size=16"),
        ("max-num-seqs=8 block-size=32", "max-num-seqs=8 block-size=16"),
    }


def test_lengths_can_be_varied_like_everything_else() -> None:
    words = ["--requests", "40", "--seeds", "2", "--jobs", "1", "--users", "1,2", "--output-tokens", "16"]
    found = results("--gpu", "h100", "--engine", "vllm", *words, "--vary", "prompt-tokens=64,2048")
    waits = [each for each in found["comparison"]["differences"] if each["metric"] == "ttft_ms"]
    assert all(each["difference"] > 0 for each in waits)


def test_open_loops_are_compared_at_the_rate_that_is_asked() -> None:
    words = ["--gpu", "a100-40g", *QUICK, "--load", "poisson:2", "--vary", "engine=vllm,llama_cpp"]
    told = results(*words)["comparison"]
    assert {each["metric"] for each in told["differences"]} == {"output_tps", "ttft_ms", "tpot_ms", "itl_ms"}
    assert told["winners"] == []
    text = simctl(*words, "--quiet").stdout
    assert "llama_cpp against vllm\nusers  tok/s" in text
    assert "\nall  " in text


def test_a_comparison_is_rendered_again_from_its_results(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    text = simctl(
        *VLLM, "--users", "1,2", "--vary", "max-num-seqs=1,8", "--quiet", "-o", "md", "-o", f"json={kept}"
    ).stdout
    again = CliRunner().invoke(cli, ["report", str(kept), "-o", "md"], prog_name="simctl")
    assert again.stdout == text


def test_a_combination_that_is_not_supported_is_a_row_with_the_reason() -> None:
    found = results(*VLLM, "--users", "1", "--vary", "kv-type=f16,q8_0")
    assert [row["status"] for row in found["variants"]] == ["ok", "not_supported"]
    assert found["variants"][1]["reason"]


def test_a_comparison_fed_back_is_the_same_comparison(tmp_path: Path) -> None:
    first, again = tmp_path / "first.json", tmp_path / "again.json"
    words = ["--vary", "gpu=a100-40g,l4", "--vary", "workload=chat,code", "--engine", "ollama", "--users", "1"]
    assert simctl(*words, "--requests", "20", "--seeds", "1", "--jobs", "1", "-o", f"json={first}").exit_code == 0
    assert simctl(str(first), "--jobs", "1", "-o", f"json={again}").exit_code == 0
    assert again.read_text(encoding="utf-8") == first.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["table", "md"])
def test_the_tables_say_who_wins_and_by_how_much(kind: str) -> None:
    words = ["--users", "1..4", "--vary", "gpu=a100-40g,h100", "--engine", "vllm", *QUICK]
    text = simctl(*words, "--quiet", "-o", kind).stdout
    assert "Most tokens a second within the SLO" in text
    assert "h100 against a100-40g: capacity 4 and more against 4 and more" in text
    assert "nine times in ten" in text
    assert kind == "md" or max(map(len, text.splitlines())) <= 100
