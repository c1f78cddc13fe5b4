"""Replay logs of the real vLLM scheduler and compare every decision of every step.

python -m tests.conformance FILE_OR_FOLDER...
"""

import gzip
import json
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from policies.caches.groups import Groups
from policies.caches.paged import PagedCache
from policies.caches.prefix import PrefixCache
from policies.caches.windowed import WindowedCache
from policies.caches.windowed_prefix import WindowedPrefixCache
from policies.schedulers.vllm_v1 import VllmV1
from sim.batch import Batch
from sim.core import Core
from sim.request import Request

Record = dict[str, Any]

SCHEDULER_SETTINGS = {
    "max_num_seqs",
    "max_num_batched_tokens",
    "max_model_len",
    "long_prefill_token_threshold",
    "long_prefill_token_threshold_adaptive",
    "policy",
    "async_scheduling",
    "watermark",
    "scheduler_reserve_full_isl",
    "enable_chunked_prefill",
}
CACHE_SETTINGS = {"block_size", "num_blocks", "enable_prefix_caching"}
WINDOW_SETTINGS = {"window", "window_groups", "full_groups", "dense_retention"}


class UnknownSetting(ValueError):
    """The log was made with a setting whose effect is not modelled."""


def build_core(config: Record) -> Core:
    """The simulator's copy of the scheduler that the log was made with."""
    config = dict(config)
    active = config.pop("max_num_active_seqs", None)
    if unknown := config.keys() - SCHEDULER_SETTINGS - CACHE_SETTINGS - WINDOW_SETTINGS:
        raise UnknownSetting(f"setting not modelled: {', '.join(sorted(unknown))}")
    if config.get("policy", "fcfs") not in ("fcfs", "priority"):
        raise UnknownSetting(f"policy not modelled: {config['policy']}")
    options = {name: value for name, value in config.items() if name in SCHEDULER_SETTINGS}
    if active is not None:
        options["max_num_seqs"] = min(active, options["max_num_seqs"])
    return Core(VllmV1(**options), build_cache(config))


def build_cache(config: Record) -> PagedCache:
    """The cache of the log: with a window, groups of layers over one pool."""
    if "window" in config:
        return windowed_cache(config)
    cache_type = PrefixCache if config["enable_prefix_caching"] else PagedCache
    return cache_type(config["num_blocks"], config["block_size"])


def windowed_cache(config: Record) -> PagedCache:
    """Windowed groups beside full ones, or alone."""
    groups = Groups(config["full_groups"], config["window_groups"], config["window"])
    pipelined = config["async_scheduling"]
    in_flight = config["max_num_batched_tokens"] * (2 if pipelined else 1)
    kept = groups.most_kept(config["block_size"], in_flight, config["max_model_len"])
    settings = (config["num_blocks"], config["block_size"], groups, kept, pipelined)
    if config["enable_prefix_caching"]:
        return WindowedPrefixCache(*settings, dense=config["dense_retention"])
    return WindowedCache(*settings)


def build_request(index: int, row: Record) -> Request:
    """The request as the recording harness made it: its own tokens behind what its prefix group shares."""
    group, shared = row.get("prefix_group"), row.get("prefix_len", 0)
    prefix = ((group, min(shared, row["prompt_len"])),) if group is not None and shared else ()
    return Request(
        index,
        row["prompt_len"],
        row["output_len"],
        arrival_ps=row["arrival_step"],
        priority=row.get("priority", 0),
        prefix=prefix,
    )


class Replay:
    """Drives a core by counting steps, as the harness drove the real scheduler."""

    def __init__(self, log: Record) -> None:
        self.names = [row["id"] for row in log["requests"]]
        self.core = build_core(log["config"])
        self.depth = 2 if log["config"]["async_scheduling"] else 1
        requests = [build_request(index, row) for index, row in enumerate(log["requests"])]
        self.todo = deque(sorted(requests, key=lambda request: (request.arrival_ps, request.id)))
        self.unfinished = 0
        self.tell_finished = False  # the engine has ends to report with its next step
        self.produced = [0] * len(requests)
        self.in_flight: deque[tuple[Batch | None, Record]] = deque()

    def steps(self) -> Iterator[Record]:
        """One record per decision, complete once its results are known."""
        step = 0
        while self.todo or self.unfinished or self.in_flight:
            if not self.unfinished and not self.in_flight and self.todo:
                step = max(step, self.todo[0].arrival_ps)
            arrivals = self._arrive(step)
            busy = self.unfinished or self.tell_finished
            if self.depth == 2 and not busy and self.in_flight:
                yield self._process()
                step += 1
                continue
            record = self._schedule(step, arrivals)
            step += 1
            if len(self.in_flight) < self.depth and (record["total_tokens"] or self.unfinished):
                continue
            yield self._process()

    def _arrive(self, step: int) -> list[str]:
        arrivals = []
        while self.todo and self.todo[0].arrival_ps <= step:
            request = self.todo.popleft()
            self.core.submit(request)
            self.unfinished += 1
            arrivals.append(self.names[request.id])
        return arrivals

    def _schedule(self, step: int, arrivals: list[str]) -> Record:
        core, scheduler = self.core, self.core.scheduler
        assert isinstance(scheduler, VllmV1)
        before = [(request, core.decoding.context_of(request)) for request in scheduler.running]
        batch = core.schedule()
        self.tell_finished = False
        scheduled = self._rows(before, batch) if batch else []
        record: Record = {"step": step, "arrivals": arrivals, "scheduled": scheduled}
        if cached := {row[0]: row[3] for row in scheduled if row[2] != "running" and row[3]}:
            record["cached"] = cached
        record |= {
            "preempted": self._ids(batch.preempted) if batch else [],
            "running": self._ids(scheduler.running),
            "waiting": self._ids(scheduler.queue()),
            "free_after_sched": scheduler.cache.free_blocks,
            "total_tokens": sum(row[1] for row in scheduled),
        }
        scheduler.cache.check()
        self.in_flight.append((batch, record))
        return record

    def _rows(self, before: list[tuple[Request, int]], batch: Batch) -> list[list[Any]]:
        """Running requests in their order, then admissions in theirs."""
        pieces = {piece.request: piece for piece in batch.pieces}
        rows: list[list[Any]] = []
        for request, computed in before:
            piece = pieces.get(request)
            if piece is not None and piece.kind == "running":
                rows.append([self.names[request.id], piece.tokens, "running", piece.context])
            elif request.lockstep and piece is None:
                rows.append([self.names[request.id], 1, "running", computed])
        admitted = [piece for piece in batch.pieces if piece.kind != "running"]
        return rows + [[self.names[p.request.id], p.tokens, p.kind, p.context] for p in admitted]

    def _process(self) -> Record:
        batch, record = self.in_flight.popleft()
        sampling = self._sampling(batch, record) if batch else []
        ended = self.core.complete(batch, last=not self.in_flight or self.in_flight[0][0] is None) if batch else []
        self.unfinished -= len(ended)
        self.tell_finished = self.tell_finished or bool(ended)
        gone = {request.id for request in ended}
        order = [row[0] for row in record["scheduled"]]
        scheduler = self.core.scheduler
        assert isinstance(scheduler, VllmV1)
        record["sampled"] = [name for name in order if name in sampling]
        record["finished"] = [name for name in order if self.names.index(name) in gone]
        record["free_after_update"] = scheduler.cache.free_blocks
        return record

    def _sampling(self, batch: Batch, record: Record) -> set[str]:
        silent = {self.names[piece.request.id] for piece in batch.pieces if not piece.ends}
        return {row[0] for row in record["scheduled"]} - silent

    def _ids(self, requests: Any) -> list[str]:
        return [self.names[request.id] for request in requests]


def first_difference(log: Record) -> str | None:
    """Where the replay leaves the log, in words; None when every step is the same."""
    replayed = Replay(log).steps()
    for number, expected in enumerate(log["steps"]):
        actual = next(replayed, None)
        if actual is None:
            return f"record {number}: the log goes on, the replay has ended"
        for field in expected.keys() | actual.keys():
            if expected.get(field) != actual.get(field):
                where = f"record {number} (step {expected['step']}), {field}"
                return f"{where}: log {expected.get(field)!r}, replay {actual.get(field)!r}"
    if next(replayed, None) is not None:
        return "the log has ended, the replay goes on"
    return None


def load(path: Path) -> Record:
    """A log, plain or compressed."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    log: Record = json.loads(text)
    return log


def log_files(arguments: list[str]) -> list[Path]:
    """The files named, and those of the folders named."""
    files: list[Path] = []
    for path in map(Path, arguments):
        found = sorted([*path.glob("*.json"), *path.glob("*.json.gz")]) if path.is_dir() else [path]
        files.extend(found)
    return files


def main(arguments: list[str]) -> int:
    """Print the first difference of each file; 0 only if there is none."""
    files = log_files(arguments)
    identical = 0
    for path in files:
        try:
            difference = first_difference(load(path))
        except (UnknownSetting, KeyError, OSError, ValueError) as error:
            difference = f"cannot be replayed: {type(error).__name__}: {error}"
        identical += difference is None
        print(f"{path.name}: {difference or 'identical'}")
    print(f"identical {identical} of {len(files)}")
    return 0 if files and identical == len(files) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
