"""Logs as they come: cut, repeated, out of order, with broken figures; each request is used or refused by name."""

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.points import Reading
from calibration.reading import read
from sim.errors import SimctlError

FORMATS = Path(__file__).parent / "data" / "formats"
LOGS = sorted(path for path in FORMATS.iterdir() if path.suffix == ".log")
ANSWERS = [FORMATS / "llama_server_timings.txt", FORMATS / "ollama_api.jsonl"]
PRINTED = FORMATS / "ollama_verbose.txt"
ODD_FIGURES = ["", "-1", "0", "NaN", "inf", "1e999", "9" * 5000, "1,000", "0x10", "½", "1.2.3", "%s", "'", "\x1b[0m"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that every example overwrites."""
    return tmp_path_factory.mktemp("fuzz") / "log"


def measured(path: Path, text: str) -> Reading | None:
    """What is read of a text; none where it is refused as a whole."""
    path.write_text(text, encoding="utf-8")
    with suppress(SimctlError):
        found = read(path)
        for point in found.points:
            assert point.load_value >= 1
            assert point.output_tps is None or point.output_tps > 0
            assert point.tpot_ms_mean is None or point.tpot_ms_mean > 0
            assert point.depth_tokens is None or point.depth_tokens >= 0
        return found
    return None


def requests_used(found: Reading) -> int:
    """The requests that the points say they are made of."""
    return sum(int(count) for point in found.points for count in re.findall(r"(\d+) requests", point.notes))


@st.composite
def mangled(draw: st.DrawFn, original: Path) -> str:
    """A text with lines left out, repeated and moved, and figures replaced."""
    lines = original.read_text(encoding="utf-8").splitlines()
    for _ in range(draw(st.integers(0, 6))):
        at, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match draw(st.sampled_from(["drop", "repeat", "move", "figure", "cut"])):
            case "drop" if len(lines) > 1:
                del lines[at]
            case "repeat":
                lines.insert(other, lines[at])
            case "move":
                lines.insert(other, lines.pop(at))
            case "figure":
                odd = draw(st.sampled_from(ODD_FIGURES))
                figures = list(re.finditer(r"\d+(\.\d+)?", lines[at]))
                if figures:
                    one = draw(st.sampled_from(figures))
                    lines[at] = lines[at][: one.start()] + odd + lines[at][one.end() :]
            case _:
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
    return "\n".join(lines)


@pytest.mark.parametrize("original", [*LOGS, *ANSWERS, PRINTED], ids=lambda original: original.name)
@given(data=st.data())
def test_a_mangled_log_is_read_or_refused(path: Path, original: Path, data: st.DataObject) -> None:
    found = measured(path, data.draw(mangled(original)))
    if found is not None and found.format in ("llama-server log", "ollama run --verbose"):
        assert requests_used(found) + len(found.rejected) == found.facts["requests"]


@pytest.mark.parametrize("original", ANSWERS, ids=lambda original: original.name)
@given(data=st.data())
def test_every_answer_is_used_or_refused(path: Path, original: Path, data: st.DataObject) -> None:
    lines = original.read_text(encoding="utf-8").splitlines()
    chosen = data.draw(st.lists(st.sampled_from(lines), min_size=1, max_size=12))
    found = measured(path, "\n".join(chosen))
    if found is not None:
        assert requests_used(found) + len(found.rejected) == found.facts["requests"]


@pytest.mark.parametrize(
    "text",
    [
        "slot print_timing: id  0 | task 0 | eval time " * 20_000,
        "slot launch: id  0 | task 0 | processing task\n" * 20_000,
        "srv init: n_slots = 1\nslot x: id  0 | task 1 | processing task\n" * 20_000,
        "print_timing eval time =" + " " * 500_000,
        "Avg generation throughput:" * 40_000,
        "Avg prompt throughput: " * 40_000 + "Avg generation throughput:",
        "GPU KV cache size: " + "9," * 200_000 + " tokens",
        "Iteration(" * 100_000 + "iteration elapsed time:",
        "llama-server -" * 50_000 + "| processing task slot",
        'OLLAMA_ "eval_duration" "total_duration" ' * 20_000,
        "eval count: 1 " * 40_000,
        "total duration: 1s\neval count: 1 token(s)\n" * 20_000,
        "eval rate: 1\n" + "\x1b[" * 100_000 + "\x1b]" * 100_000 + "> " * 100_000 + "ollama run " * 40_000,
        "eval rate: 1" + " " * 300_000 + "x",
    ],
    ids=range(14),
)
def test_what_is_long_and_repetitive_is_read_in_no_time(path: Path, text: str) -> None:
    measured(path, text)
