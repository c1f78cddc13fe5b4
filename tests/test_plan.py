"""A plan ranks what carries the load by what it costs, and says why the rest does not."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from reports.plan_document import PlanDocument, published_schema
from reports.plan_tables import plain
from reports.schema import decode
from sim import compose
from sim.capacity import bracket
from sim.cli.main import cli
from sim.cli.sizing import next_load
from tests.test_cli import MAIN
from tests.test_document import violations

SCHEMA_FILE = Path(__file__).resolve().parents[1] / "docs" / "plan.schema.json"
QUICK = ["--requests", "40", "--seeds", "1", "--jobs", "1", "--prompt-tokens", "64", "--output-tokens", "32"]
ONE_CARD = ["--gpu", "a100-40g", "--engine", "vllm", "--slo", "ttft=150ms", *QUICK]
TWO_CARDS = ["--gpu", "l4", "--gpu", "a100-40g", "--engine", "vllm", "--slo", "rag", *QUICK]


def simctl(*words: str) -> Result:
    return CliRunner().invoke(cli, ["plan", *words], prog_name="simctl")


def plan(*words: str) -> dict[str, Any]:
    done = simctl(*words, "-o", "json", "--quiet")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@given(st.integers(0, 3000), st.integers(1, 500), st.integers(500, 2000))
def test_the_search_finds_any_capacity_from_anywhere(capacity: int, start: int, most: int) -> None:
    verdicts: dict[int, bool] = {}
    while (users := next_load(verdicts, start, most)) is not None:
        assert users not in verdicts
        assert 1 <= users <= most
        verdicts[users] = users <= capacity
    found = bracket(verdicts)
    assert found.passing <= capacity
    assert found.narrow
    assert found.failing is None or found.failing > capacity
    assert found.failing is not None or found.passing == most


def test_the_published_schema_is_the_one_the_code_means_and_a_plan_satisfies_it() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == published_schema()
    found, schema = plan("--users", "8", *TWO_CARDS), json.loads(published_schema())
    assert violations(found, schema, schema) == []
    assert decode(PlanDocument, found, "plan").offers


def test_offers_carry_the_load_and_come_cheapest_first() -> None:
    found = plan("--users", "40", *TWO_CARDS)
    costs = [offer["usd_per_hour"] for offer in found["offers"]]
    assert costs == sorted(costs)
    for offer in found["offers"]:
        assert offer["attainment"] >= 0.95
        assert offer["cards"] == offer["replicas"] * offer["hardware"]["gpus"]
        assert offer["usd_per_hour"] == pytest.approx(offer["cards"] * offer["hardware"]["usd_per_card_hour"])
        assert offer["replicas"] * offer["capacity_users"] >= 40
        assert offer["headroom"] == pytest.approx(1 - 40 / (offer["replicas"] * offer["capacity_users"]))


def test_a_capacity_has_a_band_as_wide_as_that_of_the_step_times(monkeypatch: pytest.MonkeyPatch) -> None:
    def band(fast: float, slow: float) -> tuple[Any, Any, Any]:
        monkeypatch.setattr(compose, "step_band", lambda *_: (fast, slow))
        (offer,) = plan("--users", "8", *ONE_CARD)["offers"]
        return offer["capacity_low"], offer["capacity_users"], offer["capacity_high"]

    low, users, high = band(0.9, 1.1)
    lowest, same, highest = band(0.6, 1.5)
    assert lowest < low < users == same < high < highest
    assert band(0.6, 1.0) == (users, users, highest)
    assert band(1.0, 1.0) == (None, users, None), "where nobody knows it there is none"


def test_the_ends_of_a_band_are_what_plans_with_such_steps_find(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "step_band", lambda *_: (0.7, 1.3))
    (offer,) = plan("--users", "8", *ONE_CARD)["offers"]
    usual: Any = compose.scenario
    monkeypatch.setattr(compose, "step_band", lambda *_: (1.0, 1.0))
    for factor, end in ((0.7, "capacity_high"), (1.3, "capacity_low")):
        monkeypatch.setattr(compose, "scenario", lambda *parts, by=factor: usual(*parts[:5], by))
        (moved,) = plan("--users", "8", *ONE_CARD)["offers"]
        assert offer[end] == pytest.approx(moved["capacity_users"], rel=0.1)
        assert offer[end] != offer["capacity_users"]


def test_a_price_that_is_typed_changes_the_order_and_nothing_else() -> None:
    usual, turned = plan("--users", "8", *TWO_CARDS), plan("--users", "8", *TWO_CARDS, "--price", "l4=99")
    assert [offer["hardware"]["gpu"] for offer in usual["offers"]] == ["l4", "a100-40g-sxm"]
    assert [offer["hardware"]["gpu"] for offer in turned["offers"]] == ["a100-40g-sxm", "l4"]
    assert turned["offers"][0] == usual["offers"][1]
    assert turned["offers"][1]["hardware"]["price_date"] == "as typed"


def test_a_million_tokens_cost_what_an_hour_costs_by_what_it_answers() -> None:
    offer = plan("--users", "8", *TWO_CARDS, "--api-price", "2.5")["offers"][0]
    at_load = offer["usd_per_hour"] / 3600 / offer["output_tps"] * 1e6
    assert offer["usd_per_million_at_load"] == pytest.approx(at_load)
    assert offer["break_even_share"] == pytest.approx(at_load / 2.5)
    assert offer["usd_per_million"] <= at_load  # every copy at its capacity answers more


def test_people_are_users_who_pause() -> None:
    words = ["--gpu", "a100-40g", "--engine", "vllm", *QUICK]
    people, same = plan("--people", "30", *words), plan("--users", "30", "--think", "20s", *words)
    assert people["load"] == same["load"]
    assert people["load"]["think_s"] == 20
    assert people["offers"] == same["offers"]
    assert 0 < people["load"]["in_flight"] < 5


def test_what_does_not_carry_it_is_told_with_the_reason() -> None:
    words = [
        "--gpu",
        "l4",
        "--gpu",
        "rtx-2060",
        "--engine",
        "vllm",
        "--gpus",
        "1",
        "--max-replicas",
        "2",
        "--slo",
        "rag",
    ]
    done = simctl("--users", "4000", *words, *QUICK, "-o", "json", "--quiet")
    assert done.exit_code == 1
    assert "nothing carries it: --max-replicas" in done.stderr
    found = {each["hardware"]["gpu"]: each for each in json.loads(done.stdout)["refused"]}
    assert found["l4"]["why"] == "too_low"
    assert "4000 users need" in found["l4"]["told"]
    assert "more than 2" in found["l4"]["told"]
    assert found["rtx-2060"]["why"] == "no_price"
    assert "--price rtx-2060=USD_PER_HOUR" in found["rtx-2060"]["told"]


def test_a_model_too_large_for_one_card_is_spread_over_several_and_over_no_more_than_it_needs() -> None:
    words = ["--model", "llama-3.1-70b", "--gpu", "a100-80g", "--engine", "vllm", "--slo", "server", *QUICK]
    (offer,) = plan("--users", "1", *words)["offers"]
    assert offer["hardware"]["gpus"] == 2
    alone = simctl("--users", "1", *words, "--gpus", "1")
    assert alone.exit_code == 4
    assert "nothing fits: vLLM would not start" in alone.stderr


def test_the_rule_says_when_the_first_engine_is_no_longer_enough() -> None:
    words = ["--gpu", "a100-40g", "--engine", "ollama", "--engine", "vllm", *QUICK]
    found = plan("--users", "24", *words)
    steps = found["ladder"]
    assert [step["carries"] for step in steps] == sorted({step["carries"] for step in steps})
    assert steps[0]["label"] == "ollama"
    assert f"ollama as installed carries {steps[0]['carries']}" in found["rule"]
    assert f"from {steps[-2]['carries'] + 1} users on take {steps[-1]['label']}" in found["rule"]


def test_the_table_is_narrow_and_holds_prices_with_dates_and_the_rule_last() -> None:
    text = simctl("--users", "8", *TWO_CARDS, "--api-price", "1", "--quiet").stdout
    assert max(map(len, text.splitlines())) <= 100
    assert "l4 0.77 (2026-04)" in text
    assert "pays: the share of the time" in text
    assert text.rstrip().split("\n\n")[-1].startswith("On one NVIDIA L4")


def test_the_table_stays_narrow_and_holds_the_bands_of_all_copies_together() -> None:
    found = decode(PlanDocument, plan("--users", "8", *ONE_CARD, "--api-price", "1"), "plan")
    (offer,) = found.offers
    large = replace(offer, replicas=8, capacity_users=125, capacity_low=100, capacity_high=150, usd_per_hour=52.5)
    large = replace(large, cards=8, hardware=replace(offer.hardware, gpu="h100-80g-sxm"), capacity_is_more=False)
    large = replace(large, serving=replace(offer.serving, label="llama.cpp tuned", weights="q4_k_m"))
    text = plain(replace(found, offers=(large, offer)))
    assert "1,000 (800-1,200)" in text
    assert f"{offer.capacity_users} ({offer.capacity_low}-{offer.capacity_high})" in text
    assert max(map(len, text.splitlines())) <= 100


def test_markdown_csv_and_json_lines_hold_the_same_offers() -> None:
    found = plan("--users", "8", *TWO_CARDS)["offers"]
    lines = simctl("--users", "8", *TWO_CARDS, "-o", "jsonl", "--quiet").stdout.splitlines()
    assert [json.loads(line) for line in lines] == found
    assert len(simctl("--users", "8", *TWO_CARDS, "-o", "csv", "--quiet").stdout.splitlines()) == 1 + len(found)
    assert "| 1 × l4 | vllm |" in simctl("--users", "8", *TWO_CARDS, "-o", "md", "--quiet").stdout


def test_the_page_holds_the_same_numbers_and_loads_nothing(tmp_path: Path) -> None:
    page, results = tmp_path / "plan.html", tmp_path / "plan.json"
    words = ["--users", "8", *TWO_CARDS, "--api-price", "1", "--quiet"]
    assert simctl(*words, "-o", f"html={page}", "-o", f"json={results}").exit_code == 0
    text = page.read_text(encoding="utf-8")
    found = json.loads(results.read_text(encoding="utf-8"))
    for place, offer in enumerate(found["offers"]):
        for field in ("usd_per_hour", "usd_per_million", "headroom"):
            assert f'data-field="{field}" data-value="{json.dumps(offer[field])}" data-offer="{place}"' in text
    assert "Who carries 8 users?" in text
    assert found["rule"].replace("'", "&#x27;") in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)


def test_a_plan_fed_back_is_the_same_plan(tmp_path: Path) -> None:
    first, again = tmp_path / "first.json", tmp_path / "again.json"
    words = ["--people", "20", "--max-num-seqs", "64", "--price", "l4=0.5", "--api-price", "2", *TWO_CARDS]
    assert simctl(*words, "-o", f"json={first}").exit_code == 0
    assert simctl(str(first), "--jobs", "1", "-o", f"json={again}").exit_code == 0
    assert again.read_text(encoding="utf-8") == first.read_text(encoding="utf-8")


def test_a_dry_run_says_what_would_be_considered() -> None:
    done = simctl("--users", "8", *TWO_CARDS, "--dry-run")
    assert done.exit_code == 0
    assert "l4, a100-40g-sxm" in done.stdout


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "how many are to be carried? Give either --users 60 or --people 200 --think 20s"),
        (["--users", "4", "--people", "9"], "Give either --users 60 or --people 200"),
        (["--users", "0"], "--users '0' is not a whole number from 1"),
        (["--users", "1..4"], "--users '1..4' is not a whole number"),
        (["--users", "4", "--price", "l4"], "--price 'l4' is not written as GPU=USD_PER_HOUR"),
        (["--users", "4", "--price", "l4=free"], "--price l4 'free' is not a finite number"),
        (["--users", "4", "--price", "l4=0"], "--price l4 '0' is not above zero"),
        (["--users", "4", "--price", "h100=2"], "'h100' is not among the cards of the plan"),
        (["--users", "4", "--api-price", "-1"], "--api-price '-1' is not above zero"),
        (["--users", "4", "--gpu", "l44"], "unknown gpu 'l44': did you mean"),
        (["--users", "4", "--model", "lama"], "unknown model 'lama'"),
        (["--users", "4", "--slo", "ttt=1s"], "unknown SLO bound 'ttt'"),
        (["--users", "4", "--think", "20"], "needs a unit"),
        (["--users", "4", "-o", "pdf"], "unknown output format 'pdf'"),
    ],
)
def test_what_a_plan_cannot_mean_is_refused_with_a_reason(given: list[str], told: str) -> None:
    done = simctl("--gpu", "l4", "--engine", "vllm", *given)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_card_without_a_price_alone_cannot_be_planned_with() -> None:
    done = simctl("--users", "4", "--gpu", "rtx-2060", *QUICK)
    assert done.exit_code == 2
    assert "no card has a price: give --price GPU=USD_PER_HOUR" in done.stderr


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    done = simctl("--users", "4", *TWO_CARDS, "-o", f"json={tmp_path / 'no' / 'plan.json'}")
    assert done.exit_code == 1
    assert "cannot write" in done.stderr


def test_an_interrupt_ends_a_plan_in_one_line() -> None:
    words = [sys.executable, "-c", MAIN, "plan", "--users", "60", "--jobs", "2"]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    time.sleep(2)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.strip().splitlines()[-1] == "simctl: interrupted"
    assert "Traceback" not in said
