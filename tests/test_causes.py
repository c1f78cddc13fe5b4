"""Every limit, where it alone binds, is named as the cause; its knob moves the capacity, and another knob does not."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner

from sim import compose
from sim.blame import Shares
from sim.capacity import Bracket
from sim.cause import Limit, StepShares, account, candidates
from sim.cli.main import cli
from sim.cli.place import Place
from sim.cli.proving import Prober, Proof, prove
from sim.cli.study import Study
from sim.cli.variants import Prepared
from sim.errors import NotSupported
from sim.metrics import PointMetrics, summarise
from sim.runner import Key, Run, Runner
from sim.simulate import simulate
from sim.sweep import Plan
from sim.variant import Demand, Variant

SLOW_HOST = (
    "id = 'slow'\nname = 'Slow'\nram_bytes = 64000000000\nram_gbs = 80.0\ncpu_tflops = 1.0\nsingle_thread = 0.05\n"
)
COMMON = "sweep --profile datasheet --jobs 1 --quiet --seeds 2 --users 1..64 -o json"


VLLM = Variant("vllm", "vllm", "a100-40g-sxm", "llama-3.1-8b", options={"max_num_seqs": 8})


@dataclass(frozen=True)
class Case:
    """A deployment with one bottleneck, and a knob of something else that is in plenty."""

    words: str
    breached: str
    knob: str
    other: str


CASES = {
    "kv_blocks": Case(
        "--gpu a100-40g --engine vllm --num-gpu-blocks 600 --max-model-len 8192 --prompt-tokens 1000 "
        "--output-tokens 200 --slo ttft=2s",
        "ttft",
        "--num-gpu-blocks 1200",
        "--max-num-seqs 512",
    ),
    "seq_slots": Case(
        "--gpu a100-40g --engine vllm --max-num-seqs 4 --prompt-tokens 200 --output-tokens 200 --slo ttft=1s",
        "ttft",
        "--max-num-seqs 8",
        "--gpu-memory-utilization 0.95",
    ),
    "prefill_budget": Case(
        "--gpu a100-40g --engine vllm --max-num-seqs 64 --max-num-batched-tokens 128 --prompt-tokens 1000 "
        "--output-tokens 10 --slo ttft=3s",
        "ttft",
        "--max-num-batched-tokens 512",
        "--gpu-memory-utilization 0.95",
    ),
    "decode_rate": Case(
        "--gpu a100-40g --engine vllm --prompt-tokens 20 --output-tokens 200 --slo tpot=14ms",
        "tpot",
        "--gpu h100-pcie",
        "--max-num-seqs 512",
    ),
    "queue": Case(
        "--gpu a100-40g --engine ollama --num-parallel 4 --num-ctx 4096 --cold true --max-queue 3 --load burst "
        "--prompt-tokens 100 --output-tokens 50 --slo ttft=60s",
        "finished",
        "--max-queue 12",
        "--num-parallel 8",
    ),
    "spill": Case(
        "--gpu rtx-4090 --vram 8GiB --engine ollama --num-parallel 4 --num-ctx 16384 --prompt-tokens 100 "
        "--output-tokens 50 --slo tpot=30ms,ttft=2s",
        "tpot",
        "--num-parallel 1 --num-ctx 16384",
        "--max-queue 1024",
    ),
    "host_overhead": Case(
        "--gpu h100-80g-sxm --engine vllm@0.10 --host slow.toml --prompt-tokens 20 --output-tokens 100 --slo tpot=50ms",
        "tpot",
        "--async-scheduling",
        "--max-num-seqs 512",
    ),
}


@pytest.fixture(scope="module", autouse=True)
def beside(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("hosts")
    (folder / "slow.toml").write_text(SLOW_HOST, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield Path(folder)


@cache
def cliff(words: str) -> dict[str, Any]:
    requests = "" if "--load burst" in words else "--requests 160"
    done = CliRunner().invoke(cli, f"{COMMON} {requests} {words}".split(), prog_name="simctl")
    assert done.exit_code == 0, done.stderr
    (found,) = json.loads(done.stdout)["cliffs"]
    return dict(found)


@pytest.mark.parametrize("cause", CASES)
def test_the_limit_that_alone_binds_is_named_and_its_knob_gains(cause: str) -> None:
    case = CASES[cause]
    found = cliff(case.words)
    assert (found["breached"], found["cause"], found["knob"]) == (case.breached, cause, case.knob)
    assert found["counterfactual"]["change"] == case.knob
    assert found["counterfactual"]["capacity_users"] >= found["first_failing_users"] > found["capacity_users"]
    assert found["reason"]


@pytest.mark.parametrize("cause", CASES)
def test_the_gain_is_confirmed_by_a_run_of_its_own(cause: str) -> None:
    """A whole sweep with the change typed as it is printed."""
    found = cliff(CASES[cause].words)
    again = cliff(f"{CASES[cause].words} --no-explain {found['counterfactual']['change']}")
    gained = found["counterfactual"]["capacity_users"]
    assert again["capacity_users"] > found["capacity_users"]
    if again["first_failing_users"] is not None:  # the search for the gain may go beyond the range
        assert 0.85 * again["capacity_users"] <= gained <= 1.1 * again["first_failing_users"]


@pytest.mark.parametrize("cause", CASES)
def test_the_knob_of_what_is_in_plenty_gains_nothing(cause: str) -> None:
    found = cliff(CASES[cause].words)
    other = cliff(f"{CASES[cause].words} --no-explain {CASES[cause].other}")
    assert other["capacity_users"] < found["first_failing_users"]


class Told:
    """A prober that knows what every change carries."""

    def __init__(self, carried: dict[str, int]) -> None:
        self.carried = carried

    def more(self, row: Prepared, label: str, known: Bracket) -> int:
        assert row.deployment is not None
        return self.carried.get(label, known.passing)


def proven(carried: dict[str, int], limits: list[Limit]) -> Proof | None:
    deployment = compose.deploy(VLLM)
    return prove(cast(Prober, Told(carried)), Place(VLLM, deployment, "ttft", 4096), Bracket(40, 42), limits)


def test_a_knob_that_gains_nothing_hands_over_to_the_next_cause() -> None:
    found = proven({"vllm --gpu h100-pcie": 90}, ["seq_slots", "decode_rate"])
    assert found == Proof("decode_rate", "--gpu h100-pcie", 90, gains=True)


def test_where_no_knob_gains_the_likeliest_cause_is_named_without_a_gain() -> None:
    found = proven({}, ["seq_slots", "decode_rate"])
    assert found == Proof("seq_slots", "--max-num-seqs 16", 40, gains=False)


@pytest.mark.parametrize(
    ("batches", "carried", "seeds"),
    [
        ((1.0, 1.0, 1.0, 1.0, 1.0), True, [0]),
        ((0.9, 0.9, 0.9, 0.9, 0.9), False, [0]),
        ((1.0, 1.0, 1.0, 1.0, 0.76), False, [0, 1, 2, 3]),  # 95.2% on the average, which is not sure
    ],
)
def test_a_moved_knob_is_judged_as_the_sweep_judges(
    batches: tuple[float, ...], carried: bool, seeds: list[int]
) -> None:
    ran: list[int] = []

    def run(runs: list[Run]) -> list[tuple[Key, Any]]:
        ran.extend(run.scenario.seed for run in runs)
        return [(run.key, SimpleNamespace(batches=batches, attainment=sum(batches) / 5)) for run in runs]

    deployment = compose.deploy(VLLM)
    plan = Plan((VLLM.id,), (1, 2), (0, 1), cast(Any, None), refine=True)
    study = SimpleNamespace(plan=plan, traffic=compose.traffic(Demand()))
    prober = Prober(cast(Study, study), cast(Runner[PointMetrics], SimpleNamespace(run=run)))
    found = prober.more(Prepared(VLLM, deployment), "moved", Bracket(1, 2))
    assert (found > 1) is carried
    assert ran[: len(seeds)] == seeds


def test_a_knob_whose_times_nobody_knows_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise NotSupported("no row for such kernels")

    monkeypatch.setattr(Told, "more", refuse)
    assert proven({}, ["seq_slots", "decode_rate"]) is None


def test_without_a_limit_nothing_is_proven() -> None:
    assert proven({}, []) is None


def measured(users: int) -> PointMetrics:
    traffic = compose.traffic(Demand(prompt_tokens="200", output_tokens="50", requests=100))
    result = simulate(compose.scenario(VLLM, compose.deploy(VLLM), traffic, users, 0))
    return summarise(result, compose.slo("chat"))


def test_what_the_slowest_first_tokens_are_owed_to_adds_up_to_their_wait() -> None:
    point = measured(24)
    assert point.ttft is not None
    total_ms = 1000 * account(point, "ttft", StepShares()).total_s
    assert point.ttft.p95 * (1 - 1e-9) <= total_ms <= 1.2 * point.ttft.p99


def test_what_a_token_is_owed_to_adds_up_to_the_time_between_tokens() -> None:
    point = measured(8)
    assert point.itl is not None
    assert 1000 * account(point, "tpot", StepShares()).total_s == pytest.approx(point.itl.mean, rel=0.05)


def test_a_step_that_is_the_hosts_names_the_host_and_a_spilled_one_names_the_spill_first() -> None:
    point = measured(4)
    assert candidates(point, "tpot", StepShares(host=0.8))[0] == "host_overhead"
    assert candidates(point, "tpot", StepShares(spill=0.4))[0] == "spill"
    assert candidates(point, "tpot", StepShares())[0] == "decode_rate"


def test_shares_add_and_scale() -> None:
    one = Shares(queue=1.0, decode_rate=2.0)
    assert one.plus(one) == one.times(2)
