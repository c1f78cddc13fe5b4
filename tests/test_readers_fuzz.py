"""Whatever a file holds, it is read or refused in words: no other error, no waiting without end."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.reading import read
from sim.errors import SimctlError

FORMATS = sorted(path for path in (Path(__file__).parent / "data" / "formats").iterdir() if path.suffix != ".gz")
JSON_FILES = [path for path in FORMATS if path.suffix in (".json", ".jsonl")]
HUGE = 10**400
DEEP = "[" * 100_000
SHALLOW_ENOUGH: Any = []
for _ in range(200):
    SHALLOW_ENOUGH = [SHALLOW_ENOUGH]

ODD_VALUES: list[Any] = [
    None,
    True,
    "",
    "inf",
    "NaN",
    "∞",
    "１２",
    "-3",
    "x" * 10_000,
    [],
    {},
    [{}],
    {"avg": {}},
    float("nan"),
    float("inf"),
    -float("inf"),
    -1,
    0,
    1e-320,
    1e308,
    HUGE,
    -HUGE,
    2.5,
    SHALLOW_ENOUGH,
]
ODD_BYTES = [
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\x1f\x8b",
    b'"',
    b"{",
    b"|",
    b",",
    b"\n",
    b"\r",
    b"\xe2\x80\xa8",
    b"9" * 500,
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that every example overwrites."""
    return tmp_path_factory.mktemp("fuzz") / "measured"


def read_or_refuse(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with suppress(SimctlError):
        found = read(path, {"gpu": "l4"})
        for point in found.points:
            figures = [point.output_tps, point.ttft_ms_mean, point.tpot_ms_mean, point.e2e_ms_mean, point.load_value]
            assert all(value is None or 0 < value < math.inf for value in figures)
        assert all(str(refusal) for refusal in found.rejected)


@given(st.binary(max_size=2_000))
def test_any_bytes(path: Path, content: bytes) -> None:
    read_or_refuse(path, content)


@pytest.mark.parametrize("original", FORMATS, ids=lambda original: original.name)
@given(data=st.data())
def test_a_file_cut_and_stained(path: Path, original: Path, data: st.DataObject) -> None:
    content = original.read_bytes()
    content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(content)))
        content = content[:at] + data.draw(st.sampled_from(ODD_BYTES)) + content[at + data.draw(st.integers(0, 3)) :]
    read_or_refuse(path, content)


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything that a JSON value holds."""
    yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in inner:
        yield from places(held, (*way, key))


def with_value(value: Any, way: tuple[Any, ...], odd: Any) -> Any:
    if not way:
        return odd
    changed = value.copy()
    changed[way[0]] = with_value(value[way[0]], way[1:], odd)
    return changed


@pytest.mark.parametrize("original", JSON_FILES, ids=lambda original: original.name)
@given(data=st.data())
def test_json_with_odd_values_in_it(path: Path, original: Path, data: st.DataObject) -> None:
    text = original.read_text(encoding="utf-8")
    documents = [json.loads(line) for line in text.splitlines()] if original.suffix == ".jsonl" else [json.loads(text)]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(documents) - 1))
        way = data.draw(st.sampled_from(list(places(documents[at]))))
        documents[at] = with_value(documents[at], way, data.draw(st.sampled_from(ODD_VALUES)))
    read_or_refuse(path, "\n".join(map(json.dumps, documents)).encode())


@pytest.mark.parametrize(
    "content",
    [
        DEEP,
        '{"request_rate": 1, "num_prompts": 1, "model_id": ' + DEEP,
        '{"t_pp": ' + "9" * 5_000 + ', "t_tg": 1}',
        '{"t_pp": ' + DEEP + ', "t_tg": 1}\n' * 3,
        '{"guidellm_version": 1, "benchmarks": ' + '{"metrics":' * 50_000,
        "engine,load,load_value,output_tps\n" + '"' + "x" * 300_000,
        "engine,load,load_value," + "x" * 300_000,
        "| test | t/s |\n" + "| a " * 100_000,
        "| T_PP s | T_TG s |" * 20_000,
        "| test " * 30_000,
        '[{"request_rate": 1, "num_prompts": 1, "model_id": 1}' + ",{}\n" * 100_000 + "]",
        "=" * 200_000 + "\n" + "=" * 200_000 + " Serving Benchmark Result " + "=" * 200_000,
        "| test | t/s |\n" + "-m " * 80_000 + "\n" + "Device 1: " * 20_000,
        "(" * 200_000,
        "\n" * 300_000,
    ],
    ids=range(15),
)
def test_what_is_deep_long_or_repetitive_is_read_in_no_time(path: Path, content: str) -> None:
    start = time.process_time()
    read_or_refuse(path, content.encode())
    assert time.process_time() - start < 5  # seconds; a search that goes over a line again and again takes a minute


@pytest.mark.parametrize(
    "original", [path for path in JSON_FILES if path.stat().st_size < 8_000], ids=lambda path: path.name
)
def test_no_number_may_be_negative_or_endless(path: Path, original: Path) -> None:
    text = original.read_text(encoding="utf-8")
    value = json.loads(text if original.suffix == ".json" else text.splitlines()[0])
    for odd in (-1, float("inf"), HUGE):
        for way in places(value):
            read_or_refuse(path, json.dumps(with_value(value, way, odd)).encode())
