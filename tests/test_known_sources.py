"""What is known of a source holds for its rows: the release of its days, and how its clients sent."""

from dataclasses import replace
from pathlib import Path

import pytest

from calibration import sources
from calibration.points import Point
from sim.cli.measured.server import of_its_source
from sim.errors import BadScenario

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


# -- what a source says of its clients


@pytest.mark.parametrize(("source_id", "expected"), [("nvidia-silicon", (1, 1)), ("nvidia-inferencex", (0.8, 1))])
def test_a_source_says_between_which_shares_of_the_stated_lengths_its_requests_lie(
    source_id: str, expected: tuple[float, float]
) -> None:
    assert sources.sources()[source_id].shares == expected


def test_a_source_that_does_not_say_has_no_shares() -> None:
    assert sources.sources()["paiml"].shares is None


@pytest.mark.parametrize(("field", "words"), [("lengths", "about equal"), ("lengths", "0.8-1"), ("clock", "client")])
def test_words_that_a_source_may_not_use_are_refused_with_their_field(
    field: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"title": "t", "path": "p", "commit": "c", "licence": "none", "trust": "A", "laboratory": "l"}
    told |= {"attribution": "a", field: words}
    lines = ["[mine]", *(f'{name} = "{value}"' for name, value in told.items()), 'caveats = ["x"]']
    (tmp_path / sources.INDEX).write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(sources, "_folder", lambda: tmp_path)
    with pytest.raises(BadScenario, match=rf"\[mine\]: field '{field}'"):
        sources.sources.__wrapped__()
