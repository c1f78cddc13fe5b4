"""Scheduler decisions equal the real engine's, step by step."""

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import Replay, first_difference, load, log_files, main

LOGS = Path(__file__).parent / "data" / "vllm-scheduler"
FILES = sorted(LOGS.glob("*.json.gz"))
RANDOM = sorted((LOGS.parent / "vllm-scheduler-random").glob("*.json.gz"))
WINDOWED = sorted((LOGS.parent / "vllm-windowed").glob("*.json.gz"))


def test_all_recorded_workloads_are_here() -> None:
    assert len(FILES) == 24
    assert len(RANDOM) == 33
    assert len(WINDOWED) == 30


@pytest.mark.parametrize("path", FILES + RANDOM + WINDOWED, ids=lambda path: path.name.split(".")[0])
def test_every_step_equals_the_real_schedulers(path: Path) -> None:
    assert first_difference(load(path)) is None


@pytest.fixture
def log() -> dict[str, Any]:
    return load(LOGS / "09_preempt_tight_two.json.gz")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scheduled", []),
        ("preempted", ["r0"]),
        ("running", []),
        ("waiting", ["r1"]),
        ("free_after_sched", 1),
        ("free_after_update", 1),
        ("sampled", []),
        ("finished", ["r0"]),
        ("arrivals", []),
        ("cached", {"r0": 16}),
    ],
)
def test_a_difference_in_any_field_is_found_and_named(log: dict[str, Any], field: str, value: Any) -> None:
    changed = copy.deepcopy(log)
    changed["steps"][0][field] = value
    difference = first_difference(changed)
    assert difference is not None
    assert f"record 0 (step 0), {field}" in difference


def test_a_log_that_ends_too_early_or_too_late_is_not_identical(log: dict[str, Any]) -> None:
    shorter, longer = copy.deepcopy(log), copy.deepcopy(log)
    shorter["steps"].pop()
    longer["steps"].append(longer["steps"][-1])
    assert first_difference(shorter) == "the log has ended, the replay goes on"
    assert "the replay has ended" in str(first_difference(longer))


def test_settings_that_are_not_modelled_are_refused_by_name(
    log: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log["config"]["num_speculative_tokens"] = 3
    (tmp_path / "log.json").write_text(json.dumps(log))
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "num_speculative_tokens" in printed
    assert printed.endswith("identical 0 of 1\n")


def test_a_window_that_is_a_block_wider_decides_otherwise() -> None:
    for path in WINDOWED[:4]:
        log = load(path)
        log["config"]["window"] += log["config"]["block_size"]
        assert first_difference(log) is not None


def test_plain_and_compressed_files_and_folders_are_read(
    log: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plain.json").write_text(json.dumps(log))
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress(json.dumps(log).encode()))
    assert main([str(tmp_path), str(tmp_path / "plain.json")]) == 0
    assert capsys.readouterr().out.endswith("identical 3 of 3\n")


def test_nothing_to_replay_is_not_a_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert log_files([str(tmp_path)]) == []
    assert "identical 0 of 0" in capsys.readouterr().out


def test_the_caches_invariants_hold_in_every_step_of_every_log() -> None:
    for path in FILES[8:16] + WINDOWED[10:17]:
        replay = Replay(load(path))
        for _ in replay.steps():
            replay.core.cache.check()
