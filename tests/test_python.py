"""The examples of docs/python.md run as they stand, and a sweep is the same from Python as from the command line."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from reports.document import to_json
from sim import compose, variant
from sim.cli.library import sweep
from sim.cli.main import cli
from sim.errors import UsageError
from sim.slo import Slo
from sim.variant import Demand, Variant

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"
QUICK: dict[str, Any] = {"requests": 20, "seeds": 1, "jobs": 1, "prompt_tokens": 64, "output_tokens": 32}
VLLM = Variant("vllm", "vllm", "a100-40g", "llama-3.1-8b", options={"max_num_seqs": 4})


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Fewer requests at each load, and a folder to write into."""
    monkeypatch.setattr(variant, "LEAST_MEASURED", 40)
    monkeypatch.setattr(variant, "ROUNDS_MEASURED", 1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("number", [0, 1])
def test_an_example_runs_as_it_stands(number: int, in_a_hurry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pandas")
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[number]
    exec(compile(code, "docs/python.md", "exec"), {})  # noqa: S102 (the page is what is tested)
    assert "vllm" in capsys.readouterr().out
    for page in in_a_hurry.glob("*.html"):
        assert "plotly" in page.read_text(encoding="utf-8")
    assert {path.suffix for path in in_a_hurry.iterdir()} >= {".html"}


def test_the_first_example_takes_ten_lines_at_most() -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    assert len([line for line in code.splitlines() if line]) <= 10


def test_rows_are_flat_and_the_loads_that_keep_the_slo_come_first() -> None:
    rows = compose.sweep([VLLM], Demand(requests=40, prompt_tokens="64"), "1..64", Slo(ttft_s=0.2), seeds=1)
    assert [row["users"] for row in rows] == sorted(row["users"] for row in rows)
    kept = [row["keeps"] for row in rows]
    assert kept == sorted(kept, reverse=True)
    assert True in kept
    assert False in kept
    assert all(not isinstance(value, dict | list) for row in rows for value in row.values())
    assert {"ttft.p99", "tpot.p50", "output_tps", "attainment"} <= set(rows[0])


def test_python_and_the_command_line_find_the_same() -> None:
    found = to_json(sweep("a100-40g", engine="vllm", users="1..8", max_num_seqs=2, explain=False, **QUICK))
    words = [word for name, value in QUICK.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    words += ["--gpu", "a100-40g", "--engine", "vllm", "--users", "1..8", "--max-num-seqs", "2", "--no-explain"]
    done = CliRunner().invoke(cli, ["sweep", *words, "--quiet", "-o", "json"], prog_name="simctl")
    assert json.loads(done.stdout) == found


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"gpus": "two"}, "gpus: 'two' is not a valid integer"),
        ({"max_num_sqs": 3}, "unknown option '--max-num-sqs'"),
        ({"users": "9..1"}, "is an empty range"),
    ],
)
def test_a_wrong_argument_is_refused_like_a_wrong_flag(flags: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        sweep("a100-40g", engine="vllm", **flags)
