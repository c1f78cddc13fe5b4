"""A scenario file says what flags say: typed ones win, and what comes out can be fed back."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from sim.cli.flags import DECLARED
from sim.cli.main import cli

SCENARIO = """
gpu = "a100-40g"
engine = ["vllm"]
users = [1, 2]
requests = 20
seeds = 1
jobs = 1
prompt_tokens = 64
output-tokens = "32"
max-num-seqs = 2
enable_prefix_caching = false
quiet = true
"""


def simctl(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), prog_name="simctl")


def results(*words: str) -> dict[str, Any]:
    done = simctl(*words, "-o", "json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    return path


def test_a_file_means_what_its_flags_mean(scenario: Path) -> None:
    typed = ["--gpu", "a100-40g", "--engine", "vllm", "--users", "1,2", "--requests", "20", "--seeds", "1"]
    typed += ["--prompt-tokens", "64", "--output-tokens", "32", "--max-num-seqs", "2", "--no-enable-prefix-caching"]
    assert results("sweep", str(scenario)) == results("sweep", *typed, "--jobs", "1")


def test_what_is_typed_beside_a_file_wins(scenario: Path) -> None:
    words = ["--gpu", "h100", "--users", "3", "--engine", "vllm@0.10", "--max-num-seqs=4"]
    found = results("sweep", str(scenario), *words)
    assert found["scenario"]["gpu"] == "h100-80g-sxm"
    assert [point["users"] for point in found["points"]] == [3]
    assert [(row["version"], row["options"]["max_num_seqs"]) for row in found["variants"]] == [("0.10", 4)]
    assert found["scenario"]["requests"] == 20


def test_results_fed_back_give_the_same_results(scenario: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first.json", tmp_path / "again.json"
    assert simctl("sweep", str(scenario), "--slo", "rag", "-o", f"json={first}").exit_code == 0
    assert simctl("sweep", str(first), "--jobs", "1", "-o", f"json={again}").exit_code == 0
    assert again.read_text(encoding="utf-8") == first.read_text(encoding="utf-8")


def test_the_example_in_the_docs_gives_each_engine_its_options() -> None:
    example = Path(__file__).resolve().parents[1] / "docs" / "scenario.toml"
    found = results("sweep", str(example), "--users", "1", "--requests", "5", "--seeds", "1", "--jobs", "1")
    options = {row["engine"]: row["options"] for row in found["variants"]}
    assert options["vllm"]["max_num_seqs"] == 128
    assert options["vllm"]["enable_prefix_caching"] is False
    assert (options["ollama"]["num_parallel"], options["ollama"]["num_ctx"]) == (8, 4096)
    assert found["scenario"]["slo"] == "ttft=500ms,tpot=40ms"


def test_a_load_that_is_typed_leaves_out_the_users_of_the_file(scenario: Path) -> None:
    assert [point["rate"] for point in results("run", str(scenario), "--load", "poisson:2")["points"]] == [2.0]


def test_what_the_load_of_a_file_does_not_use_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO.replace("users = [1, 2]", "load = 'burst:4'"), encoding="utf-8")
    done = simctl("sweep", str(path))
    assert done.exit_code == 3
    assert "--load burst:4 does not use --requests" in done.stderr
    assert f"{path}:" in done.stderr


def test_a_file_serves_one_load_as_well(scenario: Path) -> None:
    assert [point["users"] for point in results("run", str(scenario), "--users", "2")["points"]] == [2]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("gpuu = 'a100-40g'", ":2: gpuu: unknown key 'gpuu': did you mean gpu"),
        ("max-num-seq = 3", ":2: max-num-seq: unknown key 'max-num-seq': did you mean max-num-seqs"),
        ("gpus = 'two'", ":2: gpus: 'two' is not a valid integer"),
        ("users = '5..1'", ":2: users: users '5..1' is an empty range"),
        ("model = 'lama-3.1-8b'", ":2: model: unknown model 'lama-3.1-8b': did you mean llama-3.1-8b"),
        ("slo = 'ttt=3s'", ":2: slo: unknown SLO bound 'ttt'"),
        ("seeds = [1, 2]", ":2: seeds: expected one value"),
        ("quiet = 'yes'", ":2: quiet: expected true or false, found 'yes'"),
        ("vary = 'gpu=l4'", ":2: vary: belongs to `simctl compare`"),
        ("gpu = ", "neither TOML nor the JSON that simctl writes: Invalid value (at line 2"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "bad.toml"
    rest = [other for other in SCENARIO.splitlines() if other.split(" =")[0] != line.split(" =", maxsplit=1)[0]]
    path.write_text("\n".join([rest[0], line, *rest[1:]]), encoding="utf-8")
    done = simctl("sweep", str(path))
    assert done.exit_code == 3
    assert done.stderr.startswith(f"simctl: {path}")
    assert told in done.stderr


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("s.json", "{", "neither TOML nor the JSON"),
        ("s.json", "[1]", "holds no table of flags"),
        ("s.json", '{"scenario": 3}', "holds no table of flags"),
        ("s.json", "[" * 100_000, "neither TOML nor the JSON"),
    ],
)
def test_a_file_that_holds_no_scenario_is_refused(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    done = simctl("sweep", str(tmp_path / name))
    assert done.exit_code == 3
    assert told in done.stderr


def test_a_file_that_is_not_there_is_named() -> None:
    done = simctl("sweep", "nowhere.toml")
    assert done.exit_code == 3
    assert "nowhere.toml: cannot be read: No such file" in done.stderr
    assert "Traceback" not in done.stderr


texts = st.sampled_from(
    ["", "1", "0", "-1", "1..2", "2..1", "10s", "exp:1s", "chat", "vllm", "l4", "nan", "a=b", "'", "é"]
)
scalars = texts | st.booleans() | st.integers(-2, 2**70) | st.floats()
values = scalars | st.none() | st.lists(scalars, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), scalars)
keys = st.sampled_from([*sorted(set(DECLARED) - {"output", "resume"}), "max-num-seqs", "num_ctx", "np", "nonsense", ""])


COMMANDS = (["sweep"], ["compare", "--vary", "block-size=16,32"], ["plan", "--users", "3"])


@given(st.sampled_from(COMMANDS), st.dictionaries(keys, values, max_size=3))
def test_whatever_a_file_holds_ends_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, command: list[str], table: Any
) -> None:
    path = tmp_path_factory.mktemp("scenario") / "scenario.json"
    path.write_text(json.dumps({"gpu": "a100-40g", "engine": ["vllm"], **table}), encoding="utf-8")
    done = simctl(*command, str(path), "--dry-run")
    assert done.exit_code in {0, 2, 3, 4}, (table, done.stderr)
    assert done.exit_code == 0 or done.stderr.strip()
