"""What `ollama run --verbose` prints: figures below answers, told from the text and the terminal around them."""

from pathlib import Path

import pytest

from calibration.points import Reading
from calibration.readers._go_durations import nanoseconds
from calibration.reading import read

PRINTED = Path(__file__).parent / "data" / "formats" / "ollama_verbose.txt"
BLOCK = """total duration:       275.5ms
load duration:        20.5ms
prompt eval count:    110 token(s)
prompt eval duration: 50ms
prompt eval rate:     2200.00 tokens/s
eval count:           21 token(s)
eval duration:        200ms
eval rate:            105.00 tokens/s
"""
SPINNER = "\x1b[?2026h\x1b[?25l\x1b[1G⠋ \x1b[K\x1b[?25h\x1b[?2026l\x1b[2K\x1b[1G\x1b[?25h"


def written(tmp_path: Path, text: str) -> Reading:
    (tmp_path / "printed").write_text(text, encoding="utf-8")
    return read(tmp_path / "printed")


def test_every_answer_is_a_request_of_the_model_that_was_called() -> None:
    big, prompts, tiny = read(PRINTED).points
    assert (prompts.load, prompts.load_value, prompts.model, prompts.ttft_ms_mean) == ("prefill", 1000, "big:8b", 1200)
    assert (big.engine, big.load, big.model, tiny.model) == ("ollama", "single", "big:8b", "tiny:1b")
    assert (big.prompt_tokens, big.output_tokens, big.ttft_ms_mean, big.tpot_ms_mean) == (1000, 1601, 1200, 40)
    assert read(PRINTED).facts == {"requests": 5}


def test_a_conversation_that_goes_on_keeps_its_steps_only() -> None:
    tiny = read(PRINTED).points[-1]
    assert (tiny.ttft_ms_mean, tiny.tpot_ms_mean, tiny.notes) == (50, (200 + 240) / 40, "2 requests")
    assert "1 of 5 prompts had been seen before: their time is left out" in read(PRINTED).warnings


def test_a_block_that_was_cut_off_or_loaded_the_model_is_refused_where_it_begins() -> None:
    loaded, cut = read(PRINTED).rejected
    assert (loaded.line, loaded.field, cut.line, cut.field) == (4, "load duration", 50, "eval count")


@pytest.mark.parametrize("kept", range(1, len(BLOCK.splitlines()) - 1))
def test_wherever_a_block_is_cut_it_is_one_refusal_and_the_next_is_read(kept: int, tmp_path: Path) -> None:
    start = "".join(BLOCK.splitlines(keepends=True)[:kept])
    found = written(tmp_path, f"{start}\nAnother answer.\n\n{BLOCK}")
    assert ([point.notes for point in found.points], len(found.rejected)) == (["1 requests"], 1)
    assert found.rejected[0].line == 1


def test_a_line_cut_within_its_duration_is_no_shorter_time(tmp_path: Path) -> None:
    cut = BLOCK[: BLOCK.index("eval duration:        200ms") + len("eval duration:        200m")]
    (refusal,) = written(tmp_path, cut).rejected
    assert (refusal.field, refusal.reason) == ("eval duration", "'200m' is not a duration, as 1m2.3s or 815.2ms")


def test_what_a_terminal_adds_disturbs_nothing(tmp_path: Path) -> None:
    plain, shown = (written(tmp_path, text).points for text in (BLOCK, SPINNER + BLOCK.replace("\n", "\r\n")))
    assert plain == shown


def test_what_the_advice_collects_on_stderr_is_read_run_by_run(tmp_path: Path) -> None:
    loading = BLOCK.replace("load duration:        20.5ms", "load duration:        3.1s").replace("275.5ms", "3.4s")
    later = [BLOCK.replace("110 token(s)", f"{prompt} token(s)") for prompt in (800, 1100)]
    found = written(tmp_path, "".join(SPINNER + block for block in (loading, *later)))
    kinds = [(point.load, point.prompt_tokens, point.ttft_ms_mean) for point in found.points]
    assert kinds == [(load, prompt, 50) for prompt in (800, 1100) for load in ("single", "prefill")]
    assert [(one.line, one.field) for one in found.rejected] == [(1, "load duration")]


def test_a_prompt_that_is_asked_again_is_not_taken_for_a_fast_one(tmp_path: Path) -> None:
    again = BLOCK.replace("prompt eval duration: 50ms", "prompt eval duration: 2ms")
    (point,) = written(tmp_path, BLOCK + again).points
    assert (point.ttft_ms_mean, point.notes) == (50, "2 requests")


def test_a_conversation_that_was_cleared_begins_anew(tmp_path: Path) -> None:
    other = BLOCK.replace("110 token(s)", "120 token(s)").replace("50ms", "70ms")
    (kept,) = written(tmp_path, f">>> a\n{BLOCK}>>> b\n{other}").points
    (cleared,) = written(tmp_path, f">>> a\n{BLOCK}>>> /clear\n>>> b\n{other}").points
    assert (kept.ttft_ms_mean, cleared.ttft_ms_mean) == (50, 60)


@pytest.mark.parametrize(
    ("written", "ns"),
    [
        ("1m2.3s", 62.3e9),
        ("1h0m0.5s", 3600.5e9),
        ("815.2ms", 815.2e6),
        ("4µs", 4e3),
        ("4μs", 4e3),
        ("12ns", 12),
        ("0s", 0),
        ("815.2m", None),
        ("2", None),
        ("-1s", None),
        ("1s2m", None),
    ],
)
def test_a_duration_is_read_as_go_writes_it(written: str, ns: float | None) -> None:
    assert nanoseconds(written) == (ns if ns is None else pytest.approx(ns))
