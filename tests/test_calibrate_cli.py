"""`simctl calibrate`: files in, a profile out that the other commands take; whatever is wrong is said by name."""

import csv
import json
import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from calibration import sources
from calibration.points import Point
from calibration.profile import load
from sim.cli.main import cli
from tests.test_fit import CARDS, MODELS, step, timed


def simctl(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def table(path: Path, points: list[Point]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Point)])
        writer.writeheader()
        writer.writerows(
            {name: "" if value is None else value for name, value in asdict(point).items()} for point in points
        )
    return path


def measured(gpu: str, model: str, rows: int) -> Point:
    point = step(gpu, model, rows)
    return step(gpu, model, rows, tpot_ms_mean=timed(point).measured_s * 1e3)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return table(
        tmp_path / "own.csv", [measured(gpu, model, rows) for gpu in CARDS for model in MODELS for rows in (1, 8, 64)]
    )


def test_a_place_that_cannot_be_written_is_refused_before_the_fit(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.cli.calibrating.fitted", lambda *_: pytest.fail("fitted"))
    result = simctl("calibrate", own, "--alone", "-o", tmp_path / "no" / "mine.json")
    assert result.exit_code == 1
    assert "there is no folder" in result.stderr


@pytest.mark.parametrize("check", [[], ["--check", "row"]])
@pytest.mark.parametrize("points", [1, 2, 3])
def test_a_point_or_two_make_a_profile_by_themselves(tmp_path: Path, points: int, check: list[str]) -> None:
    prompt = replace(step(CARDS[0], MODELS[0], 1), load="prefill", load_value=512, prompt_tokens=512, ttft_ms_mean=60.0)
    own = table(tmp_path / "own.csv", [prompt, *(measured(CARDS[0], MODELS[0], rows) for rows in (1, 8))][:points])
    profile = tmp_path / "mine.json"
    result = simctl("calibrate", own, "--alone", "-o", profile, *check)
    assert result.exit_code == 0, result.output
    bands = load(profile).bands["vllm/measured" if not check or points > 1 else "vllm/extrapolated"]
    assert all(low <= 1 <= high for low, high in bands.values())


def test_files_become_a_profile_that_a_sweep_takes(own: Path, tmp_path: Path) -> None:
    profile = tmp_path / "mine.json"
    result = simctl("calibrate", own, "--alone", "-o", profile, "--check", "row", "--resamples", 3)
    assert result.exit_code == 0, result.output
    assert "in sample" in result.stdout
    assert f"--profile {profile}" in result.stdout
    content = json.loads(profile.read_text(encoding="utf-8"))
    assert content["name"] == "mine"
    assert [entry["file"] for entry in content["inputs"]] == ["own.csv"]
    part = content["coefficients"]["weights_efficiency"]["vllm"]
    assert part["low"] <= part["high"]
    assert load(profile).trust == "measured"
    swept = simctl(
        *("run", "--gpu", "a100-40g", "--engine", "vllm", "--users", 2, "--requests", 20, "--seeds", 1),
        *("--profile", profile, "-o", "json", "--quiet"),
    )
    assert swept.exit_code == 0, swept.output
    (variant,) = json.loads(swept.stdout)["variants"]
    assert (variant["profile"], variant["trust"]) == (str(profile), "measured")


def test_the_data_sheet_can_be_asked_for() -> None:
    result = simctl(
        *("run", "--gpu", "a100-40g", "--engine", "vllm", "--users", 1, "--requests", 5, "--seeds", 1),
        *("--profile", "datasheet", "-o", "json", "--quiet"),
    )
    assert json.loads(result.stdout)["variants"][0]["trust"] == "datasheet"


def test_a_faster_card_in_the_files_is_faster_in_the_profile(tmp_path: Path) -> None:
    def rate(speed: float) -> float:
        points = [
            step(g, m, n, tpot_ms_mean=1e3 * timed(step(g, m, n)).measured_s / speed)
            for g in CARDS
            for m in MODELS
            for n in (1, 8)
        ]
        profile = tmp_path / f"{speed}.json"
        simctl(
            "calibrate", table(tmp_path / "p.csv", points), "--alone", "-o", profile, "--check", "row", "--resamples", 0
        )
        return load(profile).coefficients["weights_efficiency"]["vllm"]

    assert rate(1.2) > rate(1.0)


@pytest.mark.parametrize(
    ("content", "code", "complaint"),
    [
        ("not a table at all", 3, "bad.csv"),
        ("source_id,engine,load,load_value,speed\na,vllm,single,1,9\n", 3, "speed"),
        ("source_id,engine,load,load_value,output_tps\na,tensorrt-llm,single,1,9\n", 3, "none of 1 points"),
    ],
)
def test_a_file_that_says_nothing_is_refused_by_name(tmp_path: Path, content: str, code: int, complaint: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content, encoding="utf-8")
    result = simctl("calibrate", path, "--alone", "-o", tmp_path / "p.json")
    assert result.exit_code == code
    assert complaint in result.output
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize(
    ("mute", "why"),
    [
        (step(CARDS[0], MODELS[0], 1), "is blank, and so is every other measurement"),
        (replace(measured(CARDS[0], MODELS[0], 1), model="nobodys-9b"), "unknown model 'nobodys-9b'"),
    ],
)
def test_files_of_which_nothing_can_be_used_make_no_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mute: Point, why: str
) -> None:
    known = [replace(measured(CARDS[0], MODELS[0], rows), source_id="argonne") for rows in (1, 8, 64)]
    monkeypatch.setattr(sources, "fitted_points", lambda: known)
    result = simctl("calibrate", table(tmp_path / "mute.csv", [mute]), "-o", tmp_path / "p.json")
    assert result.exit_code == 3
    assert "nothing in these files tells the time of a step; the first reason: " in result.output
    assert why in result.output
    assert not (tmp_path / "p.json").exists()


def test_nothing_to_fit_is_said(tmp_path: Path) -> None:
    result = simctl("calibrate", "--alone", "-o", tmp_path / "p.json")
    assert result.exit_code == 3
    assert "no measurement to fit" in result.output


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = simctl("calibrate", tmp_path / "gone.csv", "--alone", "-o", tmp_path / "p.json")
    assert result.exit_code in (1, 3)
    assert "gone.csv" in result.output


def test_a_folder_that_cannot_be_written_loses_nothing(own: Path, tmp_path: Path) -> None:
    result = simctl("calibrate", own, "--alone", "-o", tmp_path / "no" / "p.json", "--check", "row", "--resamples", 0)
    assert result.exit_code == 1
    assert "p.json" in result.output


def test_a_rejected_row_is_told_with_its_line(own: Path, tmp_path: Path) -> None:
    own.write_text(own.read_text(encoding="utf-8").replace(",64,", ",NaN,", 1), encoding="utf-8")
    result = simctl("calibrate", own, "--alone", "-o", tmp_path / "p.json", "--check", "row", "--resamples", 0)
    assert "1 rejected" in result.output
    assert "own.csv:4" in result.output


def slow_server(path: Path) -> Path:
    """What `vllm bench serve` saves of a server that takes half as long again as the shipped profile has it."""
    requests, users, prompt, answer, ttft_ms, tpot_ms = 560, 56, 512, 256, 260.0, 36.0
    duration_s = requests / users * (ttft_ms + tpot_ms * (answer - 1)) / 1e3
    said = {
        "model_id": "meta-llama/Llama-3.1-8B-Instruct",
        "request_rate": "inf",
        "max_concurrency": users,
        "num_prompts": requests,
        "completed": requests,
        "duration": duration_s,
        "total_input_tokens": requests * prompt,
        "total_output_tokens": requests * answer,
        "output_throughput": requests * answer / duration_s,
        "request_throughput": requests / duration_s,
        "mean_ttft_ms": ttft_ms,
        "mean_tpot_ms": tpot_ms,
        "mean_itl_ms": tpot_ms,
    }
    path.write_text(json.dumps(said), encoding="utf-8")
    return path


def rate_error(file: Path, *profile: object) -> float:
    told = simctl("validate", "--points", file, "--given", "gpu=a100-40g", *profile, "-o", "json", "--quiet")
    assert told.exit_code == 0, told.output
    (row,) = json.loads(told.stdout)["rows"]
    return abs(float(row["metrics"]["output_tps"]["error"]))


@pytest.mark.slow
def test_one_bench_of_ones_own_server_makes_its_predictions_right(tmp_path: Path) -> None:
    bench, profile = slow_server(tmp_path / "bench.json"), tmp_path / "mine.json"
    made = simctl("calibrate", bench, "--gpu", "a100-40g", "-o", profile, "--quiet")
    assert made.exit_code == 0, made.output
    assert re.search(r"bench +1 +[\d.]+% / \d+% +[\d.]+% / \d+%", made.stdout)  # before and after
    assert rate_error(bench) > 0.3
    assert rate_error(bench, "--profile", profile) < 0.15
