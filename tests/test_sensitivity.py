"""The capacity with one parameter moved: found as the sweep finds its own, and told beside it."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from reports.document import Document, SensitivityRow, from_json, to_json, to_text
from reports.figures.sensitivity import draw, parameters
from reports.page import content
from reports.sections.repeat import command
from reports.sensitivity_table import told
from reports.tables import markdown, plain
from reports.wording import WIDTH
from sim.cli.library import flags_of, sweep
from sim.cli.main import cli
from sim.cli.shifts import shifts
from sim.cli.study import study
from sim.metrics import summarise
from tests.sample_results import cliff, results
from workloads.lengths import parse_lengths
from workloads.scaled import Scaled

COMMON: dict[str, Any] = {"gpu": "a100-40g", "engine": "vllm", "max_num_seqs": 8, "users": "1..32", "jobs": 1}
COMMON |= {"explain": False, "requests": 60, "prompt_tokens": "uniform:200,800", "output_tokens": "uniform:5,60"}
COMMON |= {"slo": "ttft=150ms", "max_model_len": 8192}
WORDS = [f"--{name.replace('_', '-')}={value}" for name, value in COMMON.items() if name != "explain"]
WORDS = ["sweep", *WORDS, "--no-explain", "--quiet"]


@pytest.fixture(scope="module")
def moved() -> Document:
    return sweep(**COMMON, sensitivity=True)


def line(document: Document, parameter: str) -> dict[float, int | None]:
    return {row.value: row.capacity_users for row in document.sensitivity if row.parameter == parameter}


def simctl(*words: str) -> Result:
    return CliRunner().invoke(cli, [*WORDS, *words], prog_name="simctl")


def test_where_nothing_is_moved_the_capacity_is_that_of_the_sweep(moved: Document) -> None:
    (found,) = moved.cliffs
    asked = {"prompt-tokens": 500, "output-tokens": 32, "think": 0, "vram": pytest.approx(39.49, abs=0.01)}
    rows = [row for row in moved.sensitivity if row.value == asked[row.parameter]]
    assert len(rows) == len(asked)
    assert {(row.capacity_users, row.low, row.high) for row in rows} == {
        (found.capacity_users, found.low, found.high),
    }


def test_every_parameter_has_its_values(moved: Document) -> None:
    assert list(line(moved, "prompt-tokens")) == [250, 500, 1000, 2000]
    assert list(line(moved, "output-tokens")) == [16, 32, 65, 130]
    assert list(line(moved, "think")) == [0, 10, 20, 60]
    assert len(line(moved, "vram")) == 5


def test_longer_prompts_never_let_more_users_in_where_the_first_token_is_what_breaks(moved: Document) -> None:
    users = [count or 0 for count in line(moved, "prompt-tokens").values()]
    assert users == sorted(users, reverse=True)
    assert users[0] > users[-1]


def test_longer_pauses_let_more_users_in(moved: Document) -> None:
    users = [count or 0 for count in line(moved, "think").values()]
    assert users == sorted(users)
    assert users[-1] > 4 * users[0]


def test_a_sweep_at_the_place_that_was_moved_to_finds_the_same(moved: Document) -> None:
    """Prompts twice as long are the same draws whether they are typed or scaled."""
    longer = sweep(**COMMON | {"prompt_tokens": "uniform:400,1600"})
    users = longer.cliffs[0].capacity_users
    found = line(moved, "prompt-tokens")[1000]
    assert users is not None
    assert found == pytest.approx(users, rel=0.1, abs=1)


def test_memory_in_which_the_model_does_not_start_has_no_capacity(moved: Document) -> None:
    small = sweep(**COMMON | {"vram": "20GiB"}, sensitivity=True)
    assert line(small, "vram")[10] is None
    assert line(small, "vram")[20] is not None


def test_a_variant_that_does_not_fit_is_tried_with_more_memory_alone() -> None:
    given = COMMON | {"engine": ("vllm", "ollama"), "vram": "10GiB"}
    asked = study(flags_of(**given))
    lacking = next(row for row in asked.rows if row.variant.engine == "vllm")
    assert lacking.deployment is None
    (found,) = shifts(asked, lacking).values()
    assert [shift.deployment is not None for shift in found] == [False, False, False, False, True]


def test_lengths_that_outgrow_the_context_are_told_with_what_to_type() -> None:
    given = COMMON | {"max_model_len": 1600, "requests": 5, "users": "1..2"}
    warnings = sweep(**given, sensitivity=True).warnings
    (told_of,) = [text for text in warnings if "outgrow" in text]
    assert "from --prompt-tokens 1,000 on" in told_of
    assert "context of 1,600" in told_of
    assert "--max-model-len 2048" in told_of


def test_without_the_flag_the_results_are_what_they_were(moved: Document) -> None:
    without = sweep(**COMMON)
    assert moved.scenario == without.scenario | {"sensitivity": True}
    assert replace(moved, sensitivity=(), scenario=without.scenario) == without


def test_the_results_can_be_asked_for_again(moved: Document, tmp_path: Path) -> None:
    place, again = tmp_path / "results.json", tmp_path / "again.json"
    assert "--sensitivity" in command(moved).replace("\\\n", " ").split()
    small = sweep(**COMMON | {"users": "1..2", "requests": 5}, sensitivity=True)
    place.write_text(to_text(small), encoding="utf-8")
    words = ["sweep", str(place), "--no-explain", "--quiet", "-o", f"json={again}"]
    assert CliRunner().invoke(cli, words, prog_name="simctl").exit_code == 0
    assert again.read_text(encoding="utf-8") == place.read_text(encoding="utf-8")


def test_the_results_are_written_and_read_again(moved: Document, tmp_path: Path) -> None:
    place = tmp_path / "results.json"
    done = simctl("--sensitivity", "-o", f"json={place}")
    assert done.exit_code == 0
    written = from_json(json.loads(place.read_text(encoding="utf-8")))
    assert to_json(written)["sensitivity"] == to_json(moved)["sensitivity"]


def test_the_page_has_a_figure_for_every_parameter(moved: Document) -> None:
    html = content(moved)
    for name in ("prompt length", "answer length", "pause between messages", "GPU memory"):
        assert f"Capacity against {name}" in html


def test_a_band_that_is_known_at_one_value_alone_does_not_stretch_the_figure(moved: Document) -> None:
    assert all(row.high is not None for row in moved.sensitivity if row.value == 500)
    drawn = [trace for name in parameters(moved) for trace in draw(moved, name)["data"]]
    assert {trace["meta"]["curve"] for trace in drawn} == {"capacity_users"}


def test_an_interrupt_keeps_what_is_done_and_resuming_gives_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place, whole, runs = tmp_path / "parts.json", tmp_path / "whole.json", Counter[str]()

    def measured(*arguments: Any, **named: Any) -> Any:
        if runs["left"] == 0:
            raise KeyboardInterrupt
        runs["left"] -= 1
        runs["done"] += 1
        return summarise(*arguments, **named)

    monkeypatch.setattr("sim.cli.study.summarise", measured)
    runs["left"] = 10_000
    assert simctl("--sensitivity", "-o", f"json={whole}").exit_code == 0
    all_runs = runs["done"]
    runs.update(left=-runs["left"] + all_runs * 3 // 4, done=-all_runs)
    assert simctl("--sensitivity", "-o", f"json={place}").exit_code == 130
    part, full = (json.loads(path.read_text(encoding="utf-8"))["sensitivity"] for path in (place, whole))
    assert 0 < len(part) < len(full)
    assert part == full[: len(part)]
    runs["left"] = 10_000
    assert simctl("--sensitivity", "-o", f"json={place}", "--resume").exit_code == 0
    assert runs["done"] == all_runs, "what was done is not done again"
    assert place.read_bytes() == whole.read_bytes()


def test_a_dry_run_counts_the_searches() -> None:
    said = simctl("--sensitivity", "--dry-run").stdout
    assert "Sensitivity: 13 searches more, about 130 runs" in said
    assert "Sensitivity" not in simctl("--dry-run").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [("--users 1,8", "write --users 1..128"), ("--load poisson:3", "leave out --load poisson:3")],
)
def test_what_has_no_capacity_to_look_for_is_refused(words: str, message: str) -> None:
    asked = f"sweep --gpu a100-40g --engine vllm --sensitivity {words}"
    done = CliRunner().invoke(cli, asked.split(), prog_name="simctl")
    assert done.exit_code == 2
    assert message in done.stderr


# -- told


def rows(**users: list[int | None]) -> tuple[SensitivityRow, ...]:
    values = {"think": [0.0, 10.0], "vram": [20.0, 40.0]}
    return tuple(
        SensitivityRow(name, value, "", variant, count, None, None)
        for variant in ("ollama", "vllm")
        for name, counts in users.items()
        for value, count in zip(values[name], counts, strict=True)
    )


def in_words(document: Document) -> tuple[str, str]:
    found = told(document)
    assert found is not None
    return found


def test_the_sentence_names_what_moves_the_capacity_the_most() -> None:
    _, more = in_words(results(sensitivity=rows(think=[10, 20], vram=[10, 50])))
    assert "What moves vllm the most" in more
    assert more.index("GPU memory (10 users at 20") < more.index("pause between messages (10 users at 0")


def test_what_does_not_start_is_a_dash_and_moves_nothing() -> None:
    table, sentence = in_words(results(sensitivity=rows(vram=[None, 12])))
    assert [words.split()[-2:] for words in table.splitlines() if words.startswith("GPU memory 20")] == [["-", "-"]]
    assert "nothing that was moved moves the capacity" in sentence


def test_an_end_of_the_range_is_marked_as_such() -> None:
    open_ended = tuple(cliff(name, status="not_reached", capacity_users=32) for name in ("ollama", "vllm"))
    table, _ = in_words(results(cliffs=open_ended, sensitivity=rows(think=[8, 32])))
    (last,) = [words for words in table.splitlines() if words.startswith("pause between messages 10")]
    assert last.split()[-2:] == ["32+", "32+"]


def test_the_table_stays_within_the_terminal(moved: Document) -> None:
    many = [f"vllm with many words {number}" for number in range(9)]
    wide = tuple(replace(row, variant=name) for name in many for row in moved.sensitivity)
    for document in (moved, replace(moved, sensitivity=wide)):
        text = "\n".join(in_words(document))
        assert max(map(len, text.splitlines())) <= WIDTH
        assert all(row.variant in text for row in document.sensitivity)


def test_nothing_is_told_where_nothing_was_moved() -> None:
    assert told(results(sensitivity=())) is None
    assert "moves" not in plain(results(sensitivity=())) + markdown(results(sensitivity=()))


def test_text_and_markdown_say_it(moved: Document) -> None:
    table, sentence = in_words(moved)
    for text in (plain(moved), markdown(moved)):
        assert table in text
        assert sentence in text


# -- lengths


@pytest.mark.parametrize("factor", [0.5, 2.0, 4.0])
def test_scaled_lengths_are_the_same_draws_times_the_factor(factor: float) -> None:
    base = parse_lengths("lognormal:mean=400,cv=1")
    drawn = Scaled(base, factor).draw(np.random.default_rng(7), 1000)
    expected = base.draw(np.random.default_rng(7), 1000) * factor
    assert np.abs(drawn - expected).max() <= 1
    assert drawn.mean() == pytest.approx(Scaled(base, factor).mean, rel=0.1)


def test_scaled_lengths_are_one_token_at_least() -> None:
    assert Scaled(parse_lengths("1"), 0.1).draw(np.random.default_rng(0), 10).tolist() == [1] * 10
