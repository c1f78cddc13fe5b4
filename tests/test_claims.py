"""Claims are judged by physics first and by the simulator then, each with its arithmetic."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from calibration.claims import Claim, claims, parse
from reports.claims import markdown
from sim.cli.main import cli
from sim.cli.measured.claims import Setting, judge
from sim.errors import BadScenario

CLAIM = Claim("table", "an article", "vllm", "a100-40g-sxm", "llama-3.1-8b", users=32, output_tps=1000.0)
FAILURE = Claim("table", "an article", "ollama", "a100-40g-sxm", "llama-3.1-8b", users=128, output_tps=None)
AT_LEAST = Claim("table", "an article", "vllm", "a10g", "llama-3-8b", users=50, output_tps=800.0, at_least=True)


def setting(tps: float, refusal: str | None = None) -> Setting:
    """A server that reaches so much, give or take a half."""
    return Setting("as installed", tps, tps / 1.5, tps * 1.5, refusal)


def judged(*words: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(cli, ["validate", "--claims", "--quiet", "-o", "json", *words], prog_name="simctl")
    assert done.exit_code == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["claims"]
    return found


@pytest.mark.parametrize("tps", [700.0, 1000.0, 1490.0])
def test_a_claim_inside_what_a_setting_allows_is_plausible(tps: float) -> None:
    assert judge(CLAIM, [setting(tps)])[0] == "plausible"


def test_a_claim_outside_is_off_by_the_factor_to_the_nearest_setting() -> None:
    verdict, factor, words = judge(CLAIM, [setting(100.0), setting(2500.0)])
    assert verdict == "off"
    assert factor == pytest.approx(0.4)
    assert "predicted 2,500 tok/s, claimed 1,000 tok/s" in words


def test_at_least_so_much_is_kept_by_more() -> None:
    assert judge(AT_LEAST, [setting(5000.0)])[0] == "plausible"
    assert judge(AT_LEAST, [setting(500.0)])[0] == "off"


def test_physics_forbids_only_what_it_forbids_in_every_setting() -> None:
    needs = "needs 2.1 TB/s; the card has 1.56"
    assert judge(CLAIM, [setting(900.0, needs), setting(1000.0, needs)]) == ("against physics", None, needs)
    assert judge(CLAIM, [setting(900.0, needs), setting(1000.0)])[0] == "plausible"


def test_a_claimed_failure_is_off_where_everybody_is_answered() -> None:
    assert judge(FAILURE, [setting(130.0)])[0] == "off"
    assert judge(FAILURE, [Setting("as installed", failure="would not load")])[0] == "plausible"


def test_a_single_user_cannot_be_served_faster_than_the_weights_are_read() -> None:
    alone = {claim["engine"]: claim for claim in judged("--gpu", "a100-40g") if claim["users"] == 1}
    for engine, rate in (("ollama", 420), ("vllm", 510)):
        assert alone[engine]["claimed_tps"] == rate
        assert alone[engine]["verdict"] == "against physics"
        assert "TB/s" in alone[engine]["why"]


def test_every_claim_of_the_table_is_judged_with_a_reason() -> None:
    found = judged()
    assert len(found) == len(claims())
    assert {claim["verdict"] for claim in found} <= {"plausible", "off", "against physics"}
    assert all(claim["why"] and claim["quoted"] for claim in found)


def test_the_table_names_claim_verdict_and_reason() -> None:
    done = CliRunner().invoke(cli, ["validate", "--claims", "--gpu", "b200-sxm"], prog_name="simctl")
    assert done.exit_code == 0, done.stderr
    assert "2,960" in done.stdout
    assert "predicted" in done.stdout


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[a", "TOML"),
        ('[a]\ngpu = "l4"', "quoted"),
        ('[a]\nquoted="x"\ngpu="l4"\nmodel="m"', "claims"),
        ('[a]\nquoted="x"\ngpu="l4"\nmodel="m"\nclaims=[["vllm", 0, 3]]', "rate"),
        ('[a]\nquoted="x"\ngpu="l4"\nmodel="m"\nclaims=[["vllm", 1, "many"]]', "800+"),
        ('[a]\nquoted="x"\ngpu="l4"\nmodel="m"\ncolour="red"\nclaims=[["vllm", 1, 3]]', "colour"),
    ],
)
def test_a_table_of_claims_that_is_wrong_is_named_by_its_place(text: str, word: str) -> None:
    with pytest.raises(BadScenario, match=r"claims\.toml") as wrong:
        parse(text, "claims.toml")
    assert word in str(wrong.value)


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    claim = {"table": "t", "model": "m", "gpu": "g", "prompt_tokens": 0, "output_tokens": 0, "quoted": "here"}
    claim |= {"engine": "vllm", "users": 4, "claimed_tps": 7.0, "at_least": False, "verdict": "ok", "why": "a|b"}
    assert "| vllm | 4 | 7 | ok | a&#124;b |" in markdown({"claims": [claim]})
