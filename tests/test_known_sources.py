"""Rows that do not name a release are those of their source's days."""

from dataclasses import replace

import pytest

from calibration import sources
from calibration.points import Point
from sim.cli.measured.server import of_its_source

ROW = sources.load("check-parallels")[0]
RELEASE = sources.sources()["check-parallels"].engine_version


def told(point: Point) -> tuple[str, str]:
    known = of_its_source(point, "ollama")
    return known.engine_version, known.engine_options


def test_a_row_that_names_no_release_has_its_sources() -> None:
    assert RELEASE == "0.6.6"
    assert told(replace(ROW, engine_version="2025 (unstated)"))[0] == RELEASE
    assert told(replace(ROW, engine_version=""))[0] == RELEASE
    assert "gpu_overhead" in told(replace(ROW, engine_version=""))[1]


@pytest.mark.parametrize("words", ["0.12.4", "v0.9", "Feb 2026", "2025-11"])
def test_a_row_that_names_one_or_its_month_keeps_it(words: str) -> None:
    assert told(replace(ROW, engine_version=words, engine_options="")) == (words, "")


def test_options_of_the_row_come_first() -> None:
    assert told(replace(ROW, engine_version="", engine_options="num_ctx=4096")) == (RELEASE, "num_ctx=4096")


def test_rows_of_sources_that_nobody_knows_stay_as_they_are() -> None:
    assert told(replace(ROW, source_id="mine", engine_version="2025 (unstated)")) == ("2025 (unstated)", "")
