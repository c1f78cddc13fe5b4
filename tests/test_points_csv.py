"""The points table as a file: what it may leave out, and what it may not say."""

import csv
import io
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.points import ENGINES, Point, Reading
from calibration.reading import read
from sim.errors import BadScenario

HEADER = "source_id,engine,gpu,model,weights,load,load_value,output_tps,ttft_ms_mean,success_rate,notes"
ROW = "lab,vllm,l4,llama-3.1-8b,fp8,closed,8,200,310,1,"


def table(tmp_path: Path, *lines: str, mark: str = "", end: str = "\n") -> Reading:
    path = tmp_path / "points.csv"
    path.write_bytes((mark + end.join(lines)).encode())
    return read(path)


def refused(tmp_path: Path, column: str, value: str) -> tuple[str, str]:
    """Field and reason of the refusal that one value in one column brings about."""
    row = dict(zip(HEADER.split(","), ROW.split(","), strict=True)) | {column: value}
    found = table(tmp_path, ",".join(row), ",".join(row.values()))
    assert (len(found.points), len(found.rejected), found.rejected[0].line) == (0, 1, 2)
    return found.rejected[0].field, found.rejected[0].reason


def test_blank_is_not_stated(tmp_path: Path) -> None:
    (point,) = table(tmp_path, HEADER, "lab,vllm,,,,offline,4,90,,,").points
    assert (point.gpu, point.model, point.weights, point.ttft_ms_mean) == ("unstated", "unstated", "", None)
    assert (point.gpu_count, point.slots, point.notes) == (1, None, "")


def test_columns_may_be_absent_and_in_any_order(tmp_path: Path) -> None:
    (point,) = table(tmp_path, "load_value,load,output_tps,engine", "3,burst,10,ollama").points
    assert (point.source_id, point.engine, point.load, point.load_value) == ("points", "ollama", "burst", 3)


@pytest.mark.parametrize(("mark", "end"), [("", "\n"), ("\ufeff", "\n"), ("", "\r\n"), ("\ufeff", "\r\n"), ("", "\r")])
def test_marks_and_line_ends_change_nothing(mark: str, end: str, tmp_path: Path) -> None:
    found = table(tmp_path, HEADER, ROW, "", ROW, ",,,,,,,,,,", "", mark=mark, end=end)
    assert (len(found.points), len(found.rejected)) == (2, 0)
    assert found.points[0].ttft_ms_mean == 310


def test_quoted_cells_may_hold_commas_quotes_and_line_ends(tmp_path: Path) -> None:
    found = table(tmp_path, HEADER, ROW + '"60 s, ""warm""\nand more"', ROW.replace("200", "fast"))
    assert found.points[0].notes == '60 s, "warm"\nand more'
    assert (found.rejected[0].line, found.rejected[0].field) == (4, "output_tps")


def test_engines_are_told_by_any_spelling(tmp_path: Path) -> None:
    spellings = ["vLLM", "llama-cpp", "llama.cpp", "Ollama", "TensorRT_LLM", "deepspeed mii"]
    found = table(tmp_path, HEADER, *(ROW.replace("vllm", name) for name in spellings))
    expected = ["vllm", "llama.cpp", "llama.cpp", "ollama", "tensorrt-llm", "deepspeed-mii"]
    assert [point.engine for point in found.points] == expected
    assert set(expected) <= set(ENGINES)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("engine", "vllmm", "is none of vllm, llama.cpp"),
        ("engine", "", "is none of"),
        ("load", "loop", "'loop' is none of single, closed"),
        ("load", "", "is none of"),
        ("load_value", "", "is missing"),
        ("load_value", "0", "is 0"),
        ("load_value", "-2", "-2 is negative"),
        ("load_value", "2.5", "2.5 is not a whole number"),
        ("load", "single", "is 8 where the load is single"),
        ("output_tps", "0", "is 0"),
        ("output_tps", "fast", "'fast' is not a number"),
        ("output_tps", "nan", "'nan' is not a number"),
        ("output_tps", "inf", "'inf' is not a number"),
        ("output_tps", "1_000", "'1_000' is not a number"),
        ("output_tps", "1e300", "is not a size that anything measured has"),
        ("ttft_ms_mean", "-1", "-1 is negative"),
        ("success_rate", "1.2", "1.2 is more than 1"),
        ("success_rate", "-0.1", "-0.1 is negative"),
    ],
)
def test_a_wrong_value_refuses_its_row_by_name(column: str, value: str, reason: str, tmp_path: Path) -> None:
    field, why = refused(tmp_path, column, value)
    assert reason in why
    assert field == ("load_value" if value == "single" else column)


def test_a_row_that_measured_nothing_is_refused(tmp_path: Path) -> None:
    found = table(tmp_path, HEADER, "lab,vllm,l4,m,fp8,closed,8,,,1,")
    assert "every other measurement" in found.rejected[0].reason


def test_a_row_of_another_length_is_refused(tmp_path: Path) -> None:
    found = table(tmp_path, HEADER, ROW, "lab,vllm,l4", ROW + ",,")
    assert [(refusal.line, refusal.field) for refusal in found.rejected] == [(3, "cells"), (4, "cells")]
    assert found.rejected[0].reason == "3 where the header has 11"


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (
            HEADER.replace("ttft_ms_mean", "ttft_mean"),
            r"points\.csv:1: unknown column 'ttft_mean': did you mean .*ttft_ms",
        ),
        (HEADER.replace("output_tps", "engine"), r"points\.csv:1: column 'engine' is there twice"),
        (HEADER.replace("engine,", ""), r"points\.csv:1: column 'engine' is missing"),
        (HEADER.replace("load,", ""), r"points\.csv:1: column 'load' is missing"),
    ],
)
def test_a_header_that_is_not_the_tables_refuses_the_file(header: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match=complaint):
        table(tmp_path, header, ROW)


def written(point: Point) -> str:
    """A point as a table of one row."""
    names = [field.name for field in fields(Point)]
    out = io.StringIO()
    csv.writer(out).writerows([names, ["" if (value := getattr(point, name)) is None else value for name in names]])
    return out.getvalue()


AMOUNTS = st.none() | st.floats(min_value=1e-3, max_value=1e9)


@given(
    st.builds(
        Point,
        source_id=st.just("lab"),
        engine=st.sampled_from(ENGINES),
        load=st.sampled_from(["closed", "burst", "offline"]),
        load_value=st.integers(min_value=1, max_value=4096).map(float),
        slots=st.none() | st.integers(min_value=0, max_value=4096),
        depth_tokens=AMOUNTS,
        ttft_ms_mean=AMOUNTS,
        success_rate=st.none() | st.floats(min_value=0.01, max_value=1),
        notes=st.text(st.characters(blacklist_categories=("Cs", "Cc"))).map(str.strip),
    )
)
def test_a_point_survives_the_table(tmp_path_factory: pytest.TempPathFactory, point: Point) -> None:
    point = replace(point, output_tps=70.5)
    path = tmp_path_factory.mktemp("points") / "points.csv"
    path.write_text(written(point), encoding="utf-8", newline="")
    assert read(path).points == (point,)
