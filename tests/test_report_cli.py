"""`simctl report` and `-o html`: the page of a sweep, and what is said where there can be none."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from reports.document import from_json, to_json, to_text
from reports.page import page
from reports.sections.repeat import command
from sim.cli.main import cli
from tests.sample_results import results

SWEEP = "sweep --gpu a100-40g --engine vllm --requests 20 --seeds 1 --jobs 1 --prompt-tokens 64 --output-tokens 32"


def simctl(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), prog_name="simctl")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Results in a file of their own."""
    path = tmp_path / "results.json"
    path.write_text(to_text(results()), encoding="utf-8")
    return path


def test_a_sweep_writes_the_page_and_its_results_beside_it(tmp_path: Path) -> None:
    done = simctl(*shlex.split(SWEEP), "--users", "1..4", "-o", f"html={tmp_path / 'page.html'}")
    assert done.exit_code == 0, done.stderr
    found = from_json(json.loads((tmp_path / "results.json").read_text(encoding="utf-8")))
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page(found)


def test_results_that_have_a_place_are_not_written_twice(tmp_path: Path) -> None:
    words = ["-o", f"html={tmp_path / 'page.html'}", "-o", f"json={tmp_path / 'mine.json'}"]
    assert simctl(*shlex.split(SWEEP), "--users", "1", *words).exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.json", "page.html"]


def test_the_results_are_there_even_if_the_page_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> str:
        raise RuntimeError("no page today")

    monkeypatch.setattr("reports.page.page", broken)
    done = simctl(*shlex.split(SWEEP), "--users", "1", "-o", f"html={tmp_path / 'page.html'}")
    assert done.exit_code == 1
    assert "no page today" in done.stderr
    assert from_json(json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))).points


def test_the_page_is_rebuilt_from_the_results_alone(written: Path) -> None:
    done = simctl("report", str(written))
    assert (done.exit_code, done.stdout) == (0, "")
    rebuilt = written.with_suffix(".html")
    assert done.stderr == f"simctl: wrote {rebuilt}\n"
    assert rebuilt.read_text(encoding="utf-8") == page(results())


@pytest.mark.parametrize("form", ["{}", "html={}"])
def test_the_page_goes_where_one_says(written: Path, form: str) -> None:
    there = written.parent / "boss.html"
    assert simctl("report", str(written), "-o", form.format(there)).exit_code == 0
    assert there.read_text(encoding="utf-8") == page(results())
    assert not written.with_suffix(".html").exists()


def test_other_renderings_are_made_from_results_too(written: Path) -> None:
    assert json.loads(simctl("report", str(written), "-o", "json").stdout) == to_json(results())
    assert simctl("report", str(written), "-o", "md").stdout.count("\n| ") > 8


def test_the_command_on_the_page_finds_the_same_results_again() -> None:
    first = json.loads(simctl(*shlex.split(SWEEP), "--users", "1..2", "--max-num-seqs", "64", "-o", "json").stdout)
    words = shlex.split(command(from_json(first)).replace("\\\n", " "))
    again = json.loads(simctl(*words[1:], "-o", "json").stdout)
    assert again == first


def damaged(**changes: Any) -> str:
    return json.dumps(to_json(results()) | changes)


DAMAGED = {
    "not JSON": ("{", "not the JSON that simctl writes"),
    "not UTF-8": (b"\xff\xfe", "not the JSON that simctl writes"),
    "not a number": (to_text(results()).replace("90.0", "NaN"), "NaN is no number"),
    "beyond all numbers": (to_text(results()).replace("90.0", "1e999"), "1e999 is no number"),
    "too deep": ("[" * 100_000, "not the JSON that simctl writes"),
    "another version": (damaged(schema_version=2), "schema_version is 2, this simctl reads 1"),
    "no results at all": ("[1, 2]", "schema_version is None"),
    "a field too many": (damaged(extra=1), "field 'extra' is unknown"),
    "a wrong type": (damaged(warnings=[1]), "results.warnings[0]: expected string, found 1"),
}


@pytest.mark.parametrize(("text", "said"), DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_results_file_is_refused_with_its_place(written: Path, text: str | bytes, said: str) -> None:
    written.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = simctl("report", str(written))
    assert done.exit_code == 3
    assert said in done.stderr
    assert str(written) in done.stderr
    assert not written.with_suffix(".html").exists()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = simctl("report", str(tmp_path / "none.json"))
    assert done.exit_code == 3
    assert f"{tmp_path / 'none.json'}: cannot be read: No such file or directory" in done.stderr


def test_a_page_that_cannot_be_written_is_refused_before_any_work(written: Path) -> None:
    done = simctl("report", str(written), "-o", str(written.parent / "nowhere" / "page.html"))
    assert done.exit_code == 1
    assert "there is no folder" in done.stderr


def test_an_unknown_format_offers_the_nearest(written: Path) -> None:
    done = simctl("report", str(written), "-o", "htlm=page.html")
    assert done.exit_code == 2
    assert "html" in done.stderr
