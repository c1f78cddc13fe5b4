"""The recorded closed loops of real servers, as typed values: what was sent, when each token came, what failed."""

import gzip
import json
import random
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "data" / "recorded"
NAMES = {
    "np1": "llamacpp-cpu",
    "np4": "llamacpp-cpu",
    "np4_nocb": "llamacpp-cpu",
    "np8_kvu2048": "llamacpp-cpu",
    "seqs128_b2048": "vllm-cpu",
    "seqs64_kv2048tok": "vllm-cpu",
}

SAME_STEP_S = 0.02  # headers of prompts begun in one step leave within a few ms; the next step is far later


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request as its client saw it; times in seconds since the start of its level."""

    uid: int
    k: int  # how many requests this user had sent before
    prompt_tokens: int
    output_tokens: int  # that reached the client
    limit: int  # that it asked for
    t_send: float
    t_headers: float | None  # llama-server: when a slot starts the prompt
    t_first: float | None
    t_done: float | None
    token_times: tuple[float, ...]
    slot: int | None
    error: str | None

    @property
    def succeeded(self) -> bool:
        """It ended without an error and with output."""
        return self.error is None and self.output_tokens > 0


@dataclass(frozen=True, slots=True)
class LevelFigures:
    """What the recording client reports of a level; medians over the requests that succeeded."""

    output_tok_s: float
    ttft_p50_ms: float
    tpot_p50_ms: float
    e2e_p50_ms: float
    failures: int
    preemptions: int


@dataclass(frozen=True, slots=True)
class RecordedLevel:
    """A closed loop of `users` without think time that share a budget of `total` requests."""

    users: int
    total: int
    wall_s: float
    reported: dict[str, float]  # the client's own rounded figures
    server: dict[str, float]  # how far the server's own counters moved
    requests: tuple[RecordedRequest, ...]  # in order of sending

    @property
    def figures(self) -> LevelFigures:
        """The level's figures, recomputed from its rows by the recording client's formulas."""
        good = [request for request in self.requests if request.succeeded]
        return LevelFigures(
            output_tok_s=sum(r.output_tokens for r in good) / self.wall_s,
            ttft_p50_ms=upper_median_ms(r.token_times[0] - r.t_send for r in good),
            tpot_p50_ms=upper_median_ms(
                (r.token_times[-1] - r.token_times[0]) / max(1, r.output_tokens - 1) for r in good
            ),
            e2e_p50_ms=upper_median_ms(r.t_done - r.t_send for r in good if r.t_done is not None),
            failures=len(self.requests) - len(good),
            preemptions=round(self.server.get("vllm:num_preemptions_total", 0.0)),
        )

    def first_batch(self) -> tuple[int, ...]:
        """The users whose first prompts llama-server began in one step; an input to a replay, threads decide it."""
        starts = {r.uid: r.t_headers for r in self.requests if r.k == 0 and r.t_headers is not None}
        begun = min(starts.values())
        return tuple(uid for uid in self.first_round() if starts[uid] - begun < SAME_STEP_S)

    def first_round(self) -> tuple[int, ...]:
        """The users in the order in which the server began their first requests."""
        first = [r for r in self.requests if r.k == 0 and r.t_headers is not None]
        return tuple(r.uid for r in sorted(first, key=lambda r: (r.t_headers, r.t_send)))


@dataclass(frozen=True, slots=True)
class Recording:
    """One server, one client, and the levels of users in the order they were run on it."""

    name: str
    engine: str
    command: str
    output_tokens: int
    prompt_min: int
    prompt_max: int
    per_user: int
    min_requests: int
    levels: tuple[RecordedLevel, ...]

    def level(self, users: int) -> RecordedLevel:
        """The level with so many users."""
        return next(level for level in self.levels if level.users == users)

    def total_requests(self, users: int) -> int:
        """The budget that the users of a level draw from: each sends while something is left."""
        return max(self.min_requests, self.per_user * users)


def load(name: str) -> Recording:
    """A recording by its name in NAMES."""
    folder = RECORDED / NAMES[name]
    meta = json.loads(read_text(folder / f"{name}.meta.json"))
    args = meta["args"]
    rows = [json.loads(line) for line in read_text(folder / f"{name}.jsonl").splitlines()]
    return Recording(
        name=name,
        engine=args["engine"],
        command=meta["labels"]["command"],
        output_tokens=args["n_predict"],
        prompt_min=args["pmin"],
        prompt_max=args["pmax"],
        per_user=args["per_user"],
        min_requests=args["min_requests"],
        levels=tuple(_level(level, rows) for level in meta["levels"]),
    )


def prompt_length(uid: int, k: int, low: int = 64, high: int = 512) -> int:
    """The length the client gives a user's k-th prompt, the same at every level and for every engine."""
    return random.Random(f"len/{uid}/{k}").randint(low, high)


def read_text(path: Path) -> str:
    """A recording's file, kept plain or compressed."""
    packed = path.with_name(path.name + ".gz")
    return gzip.decompress(packed.read_bytes()).decode() if packed.exists() else path.read_text(encoding="utf-8")


def upper_median_ms(seconds: Iterable[float]) -> float:
    """The client's p50, the upper one of two middles; 0 where nothing succeeded."""
    values = list(seconds)
    return 1e3 * statistics.median_high(values) if values else 0.0


def _level(meta: dict[str, Any], rows: list[dict[str, Any]]) -> RecordedLevel:
    mine = sorted((row for row in rows if row["users"] == meta["users"]), key=lambda row: row["t_send"])
    deltas = meta["metrics_delta"]
    return RecordedLevel(
        users=meta["users"],
        total=meta["requests"],
        wall_s=meta["wall_s"],
        reported={name: value for name, value in meta.items() if name != "metrics_delta"},
        server={name: float(value) for name, value in deltas.items()},
        requests=tuple(_request(row) for row in mine),
    )


def _request(row: dict[str, Any]) -> RecordedRequest:
    uid, k = row["req"].removeprefix("u").split("k")
    error = row.get("error")
    return RecordedRequest(
        uid=int(uid),
        k=int(k),
        prompt_tokens=row["prompt_len"],
        output_tokens=row.get("n_out", 0),
        limit=row["n_predict"],
        t_send=row["t_send"],
        t_headers=row.get("t_headers"),
        t_first=row.get("t_first"),
        t_done=row.get("t_done"),
        token_times=tuple(row.get("t_tokens", ())),
        slot=row.get("slot"),
        error=error["message"] if isinstance(error, dict) else error,
    )
