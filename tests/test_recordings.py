"""The recordings kept with the tests are scrubbed, complete, and say what their client reported."""

import gzip
import json
import re
from itertools import pairwise
from pathlib import Path, PurePosixPath

import pytest

from tests.recordings import NAMES, RECORDED, LevelFigures, load, prompt_length, read_text

DATA = RECORDED.parent
DATA_FILES = sorted(path for path in DATA.rglob("*") if path.is_file() and path.name != "README.md")
# What may lie in each folder. What a server wrote on its log or its console is kept only where we made it up ourselves.
KEPT = {
    "recorded": r"[\w-]+/[\w-]+(\.iterations|\.passes)?(\.jsonl|\.csv|\.meta\.json)(\.gz)?",
    "vllm-scheduler": r"\d\d_\w+\.json\.gz",
    "vllm-scheduler-random": r"random_\d+\.json\.gz",
    "vllm-windowed": r"(\d\d|random)_[a-z_0-9]+\.json\.gz",
    "load_test": r"(levels|requests)\.csv",
    "formats": r"\w+(\.meta\.json|\.json|\.jsonl|\.csv|\.md|\.log|\.txt)",
    "outputs": r"\w+\.(json|jsonl|csv|md|txt)",
}
MOST_BYTES_BY_HAND = 20_000  # what is longer is a recording
OCTET = r"(?:0|[1-9]\d{0,2})"  # without leading zeros, which the clock of a log has
ROUTE = re.compile(r'\b(?:GET|POST)\s+"?/(?:api|v1)/\w+')  # of a request in a log: no path of the machine
LEAKS = {
    "absolute path": re.compile(r"""(?:^|[\s"'=:,\[(])(?:~|/[A-Za-z_][\w.-]*)/|[A-Za-z]:\\\\|file://"""),
    "address": re.compile(rf"(?<![\d.])(?!127\.){OCTET}(?:\.{OCTET}){{3}}(?![\d.])"),
    "address by name": re.compile(r"\w+://(?!127\.0\.0\.1[:/\"])"),
    "bound host": re.compile(r"--host (?!127\.0\.0\.1\b)"),
    "host name": re.compile(
        r"\b[a-z0-9-]+\.(?:local|localdomain|internal|lan|com|net|org|io|ai|cloud)\b", re.IGNORECASE
    ),
    "user at host": re.compile(r"\b[\w.-]+@[\w-]+"),
    "telling field": re.compile(r'"(?:model_path|host|host_?name|user|user_?name|pid|cwd|home)"\s*:', re.IGNORECASE),
}


def contents(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")


def leaks_in(text: str) -> list[str]:
    said = ROUTE.sub("", text)
    return [f"{kind}: {found.group()!r}" for kind, pattern in LEAKS.items() if (found := pattern.search(said))]


@pytest.mark.parametrize("path", [*DATA_FILES, DATA / "README.md"], ids=lambda path: path.name)
def test_no_kept_file_tells_where_it_was_made(path: Path) -> None:
    assert leaks_in(contents(path)) == []


@pytest.mark.parametrize(
    "text",
    ['"model": "/srv/models/x.gguf"', "~/engines/x", '"C:\\\\models"', "listening on 10.0.0.7:80", "http://box:8090/v1",
     "--host 0.0.0.0", "POST /srv/models/x", "node7.cluster.local", "me@box", '"model_path": "x"'],
)  # fmt: skip
def test_the_scrub_check_sees_what_it_looks_for(text: str) -> None:
    assert leaks_in(text) != []


def is_kept(path: PurePosixPath) -> bool:
    """Whether a file is of a kind that its folder may hold."""
    folder, *rest = path.parts
    return folder in KEPT and re.fullmatch(KEPT[folder], "/".join(rest)) is not None


def test_every_folder_holds_only_what_it_may() -> None:
    kept = [PurePosixPath(path.relative_to(DATA).as_posix()) for path in DATA_FILES]
    assert [str(path) for path in kept if not is_kept(path)] == []
    assert len(list((DATA / "vllm-scheduler").iterdir())) == 24
    assert len(list((DATA / "vllm-scheduler-random").iterdir())) == 33
    assert len(list((DATA / "vllm-windowed").iterdir())) == 30


@pytest.mark.parametrize(
    "path",
    ["recorded/vllm-cpu/seqs64.log", "recorded/llamacpp-cpu/console.txt", "vllm-scheduler/notes.json.gz",
     "formats/capture.pcap", "load_test/server.log", "elsewhere/levels.csv", "levels.csv"],
)  # fmt: skip
def test_what_a_folder_may_not_hold_is_seen(path: str) -> None:
    assert not is_kept(PurePosixPath(path))


@pytest.mark.parametrize("path", sorted((DATA / "formats").iterdir()), ids=lambda path: path.name)
def test_what_we_made_up_in_other_tools_formats_is_short(path: Path) -> None:
    assert path.stat().st_size <= MOST_BYTES_BY_HAND


@pytest.mark.parametrize("path", [p for p in DATA_FILES if p.suffix == ".gz"], ids=lambda path: path.name)
def test_compressed_files_carry_neither_a_date_nor_a_name(path: Path) -> None:
    header = path.read_bytes()[:8]
    assert header[3] == 0
    assert header[4:8] == b"\0\0\0\0"


@pytest.mark.parametrize("path", sorted((DATA / "vllm-scheduler").iterdir()), ids=lambda path: path.name)
def test_every_scheduler_log_holds_as_many_steps_as_it_says(path: Path) -> None:
    log = json.loads(contents(path))
    assert path.name == f"{log['name']}.json.gz"
    assert len(log["steps"]) == log["summary"]["steps"]
    assert sum(step["total_tokens"] for step in log["steps"]) == log["summary"]["total_scheduled_tokens"]


@pytest.mark.parametrize("name", NAMES)
def test_prompt_lengths_are_a_function_of_user_and_turn(name: str) -> None:
    recording = load(name)
    for level in recording.levels:
        for request in level.requests:
            expected = prompt_length(request.uid, request.k, recording.prompt_min, recording.prompt_max)
            assert request.prompt_tokens == expected, (level.users, request.uid, request.k)


@pytest.mark.parametrize("name", NAMES)
def test_users_draw_their_requests_from_one_budget(name: str) -> None:
    recording = load(name)
    for level in recording.levels:
        assert len(level.requests) == level.total == recording.total_requests(level.users)
        turns: dict[int, list[int]] = {}
        for request in level.requests:
            turns.setdefault(request.uid, []).append(request.k)
        assert sorted(turns) == list(range(level.users))
        assert all(ks == list(range(len(ks))) for ks in turns.values())


@pytest.mark.parametrize("name", NAMES)
def test_figures_recomputed_from_rows_are_those_the_client_reported(name: str) -> None:
    for level in load(name).levels:
        figures, reported = level.figures, level.reported
        assert figures.output_tok_s == pytest.approx(reported["out_tok_s"], abs=0.051)
        assert figures.ttft_p50_ms == pytest.approx(reported["ttft_p50_ms"], abs=0.51)
        assert figures.tpot_p50_ms == pytest.approx(reported["tpot_p50_ms"], abs=0.0051)
        assert figures.e2e_p50_ms == pytest.approx(reported["e2e_p50_ms"], abs=0.51)
        assert figures.failures == reported["errors"]


@pytest.mark.parametrize("name", NAMES)
def test_every_token_has_a_time_and_times_do_not_run_back(name: str) -> None:
    for level in load(name).levels:
        for request in level.requests:
            times = request.token_times
            assert len(times) == request.output_tokens
            assert list(times) == sorted(times)
            assert request.succeeded == (request.output_tokens == request.limit)
            if times:
                assert request.t_done is not None
                assert request.t_send < times[0] == request.t_first
                assert times[-1] <= request.t_done


def test_the_over_committed_unified_cache_fails_requests_by_level() -> None:
    assert [(level.users, level.figures.failures) for level in load("np8_kvu2048").levels] == [
        (4, 0), (5, 5), (6, 6), (8, 16)]  # fmt: skip
    assert load("np8_kvu2048").level(8).figures == LevelFigures(0.0, 0.0, 0.0, 0.0, 16, 0)


def test_the_small_paged_pool_preempts_by_level() -> None:
    assert [(level.users, level.figures.preemptions) for level in load("seqs64_kv2048tok").levels] == [(8, 4), (16, 6)]
    assert all(level.figures.preemptions == 0 for level in load("seqs128_b2048").levels)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_round_names_every_user_once(name: str) -> None:
    for level in load(name).levels:
        assert sorted(level.first_round()) == list(range(level.users))


def test_the_first_batch_is_who_began_together() -> None:
    assert load("np4").level(8).first_batch() == (0,)
    assert sorted(load("np4").level(16).first_batch()) == [1, 2]
    assert sorted(load("np4_nocb").level(4).first_batch()) == [0, 1, 2]


def test_a_lone_slot_begins_first_rounds_one_after_another() -> None:
    level = load("np1").level(4)
    starts = {r.uid: r.t_headers for r in level.requests if r.k == 0}
    order = [starts[uid] for uid in level.first_round()]
    assert all(a is not None and b is not None and b - a > 0.3 for a, b in pairwise(order))


@pytest.mark.parametrize("name", ["ubatch_np4_2users", "ubatch_np4_kvu", "ubatch_np4_no-kvu"])
def test_recorded_passes_hold_the_tokens_of_their_batch(name: str) -> None:
    for line in read_text(RECORDED / "llamacpp-cpu" / f"{name}.passes.jsonl").splitlines():
        batch = json.loads(line)
        assert sum(piece["n_tokens"] for piece in batch["ubatches"]) == batch["n_tokens"]
