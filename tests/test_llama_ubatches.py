"""llama.cpp's passes: the table worked out by hand, and every batch that a real server logged."""

import json
from collections import Counter
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.schedulers.ubatches import Rows, equal_passes, plain_passes
from tests.recordings import RECORDED, read_text

LOGGED = RECORDED / "llamacpp-cpu"


def summary(passes: list[Rows]) -> list[tuple[list[int], int]]:
    """Slots and tokens of each of them, pass by pass."""
    return [([slot for slot, _ in one], one[0][1]) for one in passes]


def decodes(*slots: int) -> Rows:
    return [(slot, 1) for slot in slots]


TABLE = {
    "neighbours": (decodes(0, 1, 2, 3), [([0, 1, 2, 3], 1)]),
    "a gap": (decodes(0, 2, 3), [([0], 1), ([2, 3], 1)]),
    "two gaps": (decodes(1, 3), [([1], 1), ([3], 1)]),
    "a long prompt last": (
        [*decodes(0, 1, 2), (3, 2045)],
        [([0, 1, 2, 3], 1), ([3], 512), ([3], 512), ([3], 512), ([3], 508)],
    ),
    "a prompt in the gap": (
        [*decodes(0, 1, 3), (2, 1000)],
        [([0, 1, 2], 1), ([3], 1), ([2], 512), ([2], 487)],
    ),
    "two prompts": ([(0, 700), (1, 700)], [([0, 1], 256), ([0, 1], 256), ([0, 1], 188)]),
}


@pytest.mark.parametrize(("rows", "passes"), TABLE.values(), ids=TABLE)
def test_separate_streams_are_cut_as_worked_out_by_hand(rows: Rows, passes: list[tuple[list[int], int]]) -> None:
    assert summary(equal_passes(rows, 512)) == passes


def logged_batches(name: str) -> list[dict[str, Any]]:
    lines = read_text(LOGGED / f"ubatch_np4_{name}.passes.jsonl").splitlines()
    return [json.loads(line) for line in lines]


def rows_of(batch: dict[str, Any]) -> Rows:
    """The batch that went in: decodes by slot, then prompts by slot."""
    tokens: Counter[int] = Counter()
    for piece in batch["ubatches"]:
        for slot in piece["seqs"]:
            tokens[slot] += piece["n_seq_tokens"]
    return sorted(tokens.items(), key=lambda row: (row[1] > 1, row[0]))


@pytest.mark.parametrize("name", ["no-kvu", "2users"])
def test_every_logged_batch_of_separate_streams_is_cut_the_same(name: str) -> None:
    batches = logged_batches(name)
    assert len(batches) > 90
    for batch in batches:
        logged = [(piece["seqs"], piece["n_seq_tokens"]) for piece in batch["ubatches"]]
        assert summary(equal_passes(rows_of(batch), 512)) == logged


def test_every_logged_batch_of_the_shared_stream_is_cut_the_same() -> None:
    batches = logged_batches("kvu")
    prompts = [json.loads(line) for line in read_text(LOGGED / "ubatch_np4_kvu.jsonl").splitlines()]
    unseen = [(row["slot"], row["timings"]["prompt_n"]) for row in prompts]
    for batch in batches:
        logged = [(piece["seqs"], piece["n_tokens"]) for piece in batch["ubatches"]]
        rows = shared_rows(batch, unseen)
        passes = plain_passes(rows, 512)
        assert [(sorted(slot for slot, _ in one), sum(tokens for _, tokens in one)) for one in passes] == logged
        for row in rows:
            if row in unseen:
                unseen.remove(row)
    assert not unseen


def shared_rows(batch: dict[str, Any], unseen: Rows) -> Rows:
    """The prompts, of those not yet seen, that together with a token of every other slot make up the batch.

    The log says which slots stand in a piece, but not with how many tokens.
    """
    slots = sorted({slot for piece in batch["ubatches"] for slot in piece["seqs"]})
    if len(slots) == 1:
        return [(slots[0], batch["n_tokens"])]
    for count in range(len(slots) + 1):
        for prompts in combinations(unseen, count):
            own = dict(prompts)
            others = [slot for slot in slots if slot not in own]
            if len(own) == count and len(others) + sum(own.values()) == batch["n_tokens"]:
                return decodes(*others) + sorted(prompts)
    raise AssertionError(f"no prompts make up {batch}")


@st.composite
def batches(draw: st.DrawFn) -> Rows:
    slots = draw(st.lists(st.integers(0, 9), unique=True, max_size=10))
    prompts = draw(st.sets(st.sampled_from(slots))) if slots else set()
    rows = decodes(*sorted(set(slots) - prompts))
    return rows + [(slot, draw(st.integers(1, 300))) for slot in sorted(prompts)]


@given(batches(), st.integers(1, 64))
def test_passes_hold_every_row_once_in_order(rows: Rows, n_ubatch: int) -> None:
    for passes in (equal_passes(rows, n_ubatch), plain_passes(rows, n_ubatch)):
        total: Counter[int] = Counter()
        for one in passes:
            for slot, tokens in one:
                assert tokens > 0
                total[slot] += tokens
        assert total == Counter(dict(rows))


@given(batches(), st.integers(1, 64))
def test_only_the_shared_stream_needs_no_more_passes_than_tokens_ask_for(rows: Rows, n_ubatch: int) -> None:
    tokens = sum(count for _, count in rows)
    assert len(plain_passes(rows, n_ubatch)) == -(-tokens // n_ubatch)
    assert len(equal_passes(rows, n_ubatch)) >= -(-tokens // max(n_ubatch, len(rows), 1))


@given(batches(), st.integers(1, 64))
def test_a_pass_over_separate_streams_is_even_and_without_gaps(rows: Rows, n_ubatch: int) -> None:
    for one in equal_passes(rows, n_ubatch):
        slots = [slot for slot, _ in one]
        assert slots == list(range(slots[0], slots[0] + len(slots)))
        assert len({tokens for _, tokens in one}) == 1
        assert one[0][1] * len(one) <= max(n_ubatch, len(one))
