"""llama.cpp's passes: the table worked out by hand, and every batch that a real server logged."""

import json
from collections import Counter
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.schedulers.ubatches import Prompts, equal_passes, plain_passes
from tests.recordings import RECORDED, read_text

LOGGED = RECORDED / "llamacpp-cpu"

Batch = tuple[tuple[int, ...], Prompts]  # generating slots, and prompts

TABLE = {
    "neighbours": ((0, 1, 2, 3), [], [((0, 1, 2, 3), 1)]),
    "a gap": ((0, 2, 3), [], [((0,), 1), ((2, 3), 1)]),
    "two gaps": ((1, 3), [], [((1,), 1), ((3,), 1)]),
    "a long prompt last": (
        (0, 1, 2),
        [(3, 2045)],
        [((0, 1, 2, 3), 1), ((3,), 512), ((3,), 512), ((3,), 512), ((3,), 508)],
    ),
    "a prompt in the gap": ((0, 1, 3), [(2, 1000)], [((0, 1, 2), 1), ((3,), 1), ((2,), 512), ((2,), 487)]),
    "two prompts": ((), [(0, 700), (1, 700)], [((0, 1), 256), ((0, 1), 256), ((0, 1), 188)]),
}


@pytest.mark.parametrize(("generating", "prompts", "passes"), TABLE.values(), ids=TABLE)
def test_separate_streams_are_cut_as_worked_out_by_hand(
    generating: tuple[int, ...], prompts: Prompts, passes: list[tuple[tuple[int, ...], int]]
) -> None:
    assert equal_passes(generating, prompts, 512) == passes


def logged_batches(name: str) -> list[dict[str, Any]]:
    lines = read_text(LOGGED / f"ubatch_np4_{name}.passes.jsonl").splitlines()
    return [json.loads(line) for line in lines]


def separate_batch(batch: dict[str, Any]) -> Batch:
    """What went in: the log says how many tokens each slot has in a pass."""
    tokens: Counter[int] = Counter()
    for piece in batch["ubatches"]:
        for slot in piece["seqs"]:
            tokens[slot] += piece["n_seq_tokens"]
    prompts = sorted((slot, count) for slot, count in tokens.items() if count > 1)
    return tuple(sorted(slot for slot, count in tokens.items() if count == 1)), prompts


@pytest.mark.parametrize("name", ["no-kvu", "2users"])
def test_every_logged_batch_of_separate_streams_is_cut_the_same(name: str) -> None:
    batches = logged_batches(name)
    assert len(batches) > 90
    for batch in batches:
        logged = [(tuple(piece["seqs"]), piece["n_seq_tokens"]) for piece in batch["ubatches"]]
        assert equal_passes(*separate_batch(batch), 512) == logged


def test_every_logged_batch_of_the_shared_stream_is_cut_the_same() -> None:
    batches = logged_batches("kvu")
    prompts = [json.loads(line) for line in read_text(LOGGED / "ubatch_np4_kvu.jsonl").splitlines()]
    unseen = [(row["slot"], row["timings"]["prompt_n"]) for row in prompts]
    for batch in batches:
        generating, new = shared_batch(batch, unseen)
        rows = [*generating, *[slot for slot, tokens in new for _ in range(tokens)]]
        pieces = [rows[start : start + 512] for start in range(0, len(rows), 512)]
        assert [sorted(set(piece)) for piece in pieces] == [piece["seqs"] for piece in batch["ubatches"]]
        assert plain_passes(len(rows), 512) == [piece["n_tokens"] for piece in batch["ubatches"]]
        for prompt in new:
            if prompt in unseen:
                unseen.remove(prompt)
    assert not unseen


def shared_batch(batch: dict[str, Any], unseen: Prompts) -> Batch:
    """The prompts, of those not yet seen, that together with a token of every other slot make up the batch.

    The log says which slots stand in a piece, but not with how many tokens.
    """
    slots = sorted({slot for piece in batch["ubatches"] for slot in piece["seqs"]})
    if len(slots) == 1:
        return (), [(slots[0], batch["n_tokens"])]
    for count in range(len(slots) + 1):
        for prompts in combinations(unseen, count):
            own = dict(prompts)
            others = tuple(slot for slot in slots if slot not in own)
            if len(own) == count and len(others) + sum(own.values()) == batch["n_tokens"]:
                return others, sorted(prompts)
    raise AssertionError(f"no prompts make up {batch}")


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    slots = draw(st.sets(st.integers(0, 9), min_size=1))
    prompting = draw(st.sets(st.sampled_from(sorted(slots))))
    prompts = [(slot, draw(st.integers(1, 300))) for slot in sorted(prompting)]
    return tuple(sorted(slots - prompting)), prompts


def passes_token_by_token(batch: Batch, n_ubatch: int) -> list[tuple[tuple[int, ...], int]]:
    """The rule as it is told: look for the first slot, then for neighbours; count up while all have tokens."""
    generating, prompts = batch
    rows = [*generating, *[slot for slot, tokens in prompts for _ in range(tokens)]]
    passes = []
    while rows:
        together = [rows[0]]
        for slot in rows:
            if slot == together[-1] + 1:
                together.append(slot)
        count = 1
        while (count + 1) * len(together) <= n_ubatch and all(rows.count(slot) > count for slot in together):
            count += 1
        for slot in together * count:
            rows.remove(slot)
        passes.append((tuple(together), count))
    return passes


@given(batches(), st.integers(1, 64))
def test_passes_are_those_of_the_rule_told_token_by_token(batch: Batch, n_ubatch: int) -> None:
    assert equal_passes(*batch, n_ubatch) == passes_token_by_token(batch, n_ubatch)


@given(batches(), st.integers(1, 64))
def test_passes_hold_every_token_once(batch: Batch, n_ubatch: int) -> None:
    total: Counter[int] = Counter()
    for slots, tokens in equal_passes(*batch, n_ubatch):
        assert tokens > 0
        total.update(dict.fromkeys(slots, tokens))
    generating, prompts = batch
    assert total == Counter([*generating]) + Counter(dict(prompts))


@given(st.integers(0, 5000), st.integers(1, 64))
def test_the_shared_stream_needs_no_more_passes_than_its_tokens(tokens: int, n_ubatch: int) -> None:
    pieces = plain_passes(tokens, n_ubatch)
    assert sum(pieces) == tokens
    assert len(pieces) == -(-tokens // n_ubatch)
