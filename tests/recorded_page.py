"""The page that shows the predictions beside the recordings: printed, or written with --write."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.pages import print_or_write
from tests.recorded_errors import (
    LEFT_OUT,
    MISSED_PERCENT,
    TOLERANCE_PERCENT,
    Cell,
    cells,
    judged,
    median_errors,
    slowdown,
)
from tests.recorded_loops import SEEDS, Prediction, clients, predict
from tests.recorded_servers import step_table
from tests.recordings import NAMES, Recording, load

PAGE = Path(__file__).parents[1] / "docs" / "recorded-loops.md"


def page(predictions: Sequence[Prediction]) -> str:
    """The whole page."""
    errors, counted = median_errors(predictions), judged(predictions)
    np1, four = load("np1"), next(one for one in predictions if (one.name, one.level.users) == ("np1", 4))
    ways = clients(np1, step_table(np1)).ways
    tokens = sum(request.output_tokens for request in four.level.requests)
    return TEXT.format(
        seeds=len(four.outcomes),
        rows="\n".join(_row(one) for one in predictions),
        medians=" | ".join(f"{errors[figure]:.1f}%" for figure in TOLERANCE_PERCENT),
        within=sum(cell.within for cell in counted),
        cells=len(counted),
        missed="\n".join(_missed(cell) for cell in counted if not cell.within),
        noise=" and ".join(_comparison(np1, 16, one) for one in (8, 32)),
        slower="\n".join(f"* {_comparison(np1, 4, one)}" for one in (1, 2, 8, 32)),
        way=(1e3 * min(ways.to_server_s), 1e3 * max(ways.to_server_s)),
        back=1e3 * ways.to_client_s,
        longer=four.level.wall_s - tokens / four.figures.output_tok_s,
        wall=four.level.wall_s,
    )


def _missed(cell: Cell) -> str:
    bound = MISSED_PERCENT.get(cell.key, TOLERANCE_PERCENT[cell.figure])
    return (
        f"| {cell.name} | {cell.users} | {cell.error_percent:+.1f}% "
        f"| {TOLERANCE_PERCENT[cell.figure]:.0f}% | {bound:.0f}% |"
    )


def _comparison(recording: Recording, users: int, other: int) -> str:
    return f"{100 * (slowdown(recording, users, other) - 1):+.1f}% against {other} user{'s' * (other > 1)}"


def _row(one: Prediction) -> str:
    recorded, predicted = one.level.figures, one.figures
    shown = [_cell(cell) for cell in cells([one])] or ["–"] * len(TOLERANCE_PERCENT)
    lost = recorded.failures or recorded.preemptions
    foreseen = predicted.failures or predicted.preemptions
    events = f"{lost:.0f} · {foreseen:.0f}" if lost or foreseen else ""
    return f"| {one.name} | {one.level.users} | {' | '.join(shown)} | {events} |"


def _cell(cell: Cell) -> str:
    digits = {"output_tok_s": 1, "tpot_p50_ms": 2}.get(cell.figure, 0)
    text = f"{cell.recorded:.{digits}f} · {cell.predicted:.{digits}f} · {cell.error_percent:+.1f}%"
    if cell.key in LEFT_OUT:
        return f"*{text}* (left out)"
    return text if cell.within else f"**{text}**"


TEXT = """# Recorded closed loops, predicted

Two real servers, llama.cpp (b11434) and vLLM 0.32.0 with synchronous scheduling, served closed loops on a CPU; clients
wrote down every token's time. The simulator replays the loops on step tables (`calibration/measurements`). llama.cpp's
come from its batched benchmark, which has seen none of these loops. vLLM's come from the log of step times that its
server kept during them: there the machine's speed is given, and predicted is who meets whom in which step.
`tests/test_recorded_loops.py` holds the simulator to the figures below; `python -m tests.recorded_page --write` makes
this page.

np1, np4 and np4_nocb are llama-server with 1, 4 and 4 slots (the last one without continuous batching), np8_kvu2048
with 8 slots over one pool of 2,048 cells; seqs128_b2048 is vLLM with ample memory, seqs64_kv2048tok with 2,048 tokens
of it. Each cell: recorded · predicted (median of {seeds} seeds) · error. Last column, recorded · predicted: failures of
np8_kvu2048, preemptions of seqs64_kv2048tok; elsewhere there were none and none are predicted.

| server | users | output tok/s | TTFT p50 ms | TPOT p50 ms | E2E p50 ms | events |
|--|--|--|--|--|--|--|
{rows}
| **median error** | | {medians} | |

Tolerances: tok/s and E2E 12%, TTFT and TPOT 15% a level, 6% for the median over levels. {within} of {cells} figures are
within them. In every seed it is the very requests that failed which fail, and preemptions are as many as recorded.
vLLM takes the very steps of its log, warm-up included: all 2,006 of seqs128_b2048 and all 861 of seqs64_kv2048tok in
order, each with its number of decodes and of prompt tokens.

## What is put in

* **The same clients.** Users, prompt lengths per user and turn, output lengths, and the budget of requests that the
  users of a level share. Levels run one after the other on one server, after the client's four warm-up requests (16,
  64, 256 and 16 tokens, the last one equal to the first): llama.cpp's slots are chosen by age, and that goes on from
  level to level. With two users on four slots it decides whether decodes share a pass.
* **The first round, pinned.** When each user first sends is taken from the recording, and for llama.cpp also which of
  them its first step took and in what order it began the rest: HTTP threads decide it, within a few ms.
* **Ways.** llama.cpp: the time until a request is taken in ({way[0]:.1f}-{way[1]:.1f} ms), the rest of TTFT outside the
  prompt ({back:.1f} ms) and the end of the stream (0.6 ms), from np4's single user. vLLM: 1.6 ms a request in a front
  end that takes one at a time, 4.7 ms besides, 1.2 ms between steps, from the single user and the bursts of
  seqs128_b2048.
* **The wall clock** of a level runs from the client's first look at the server's counters to the end of the last
  stream.

**What varies by seed** is only the way in. llama.cpp: each request takes one of the twelve times that the single
user's requests took, so that requests sent together overtake each other. vLLM: the front end's time varies likewise
around its mean, and the order stays. Step times have no noise.

## Left out

Named as noise of the recordings before anything was predicted:

* np1 at 16 users, disturbed: its prompts occupied the lone slot longer than the same prompts did at other levels
  ({noise}).
* TTFT of np8_kvu2048 at 4 users. All four are answered at the same instant and ask again. Whether the first of them is
  in alone when the next step starts, and the others wait for one step more, is a matter of tenths of a millisecond;
  the recording's order is among those that seeds give, but rare.
* TPOT of seqs64_kv2048tok at 16 users, a median that hangs on who is preempted. It would be within the tolerance.

## Outside the tolerance

| server | users | tok/s error | tolerance | bound in the test |
|--|--|--|--|--|
{missed}

A lone slot serves one request at a time: how many users wait cannot change how long a prompt occupies it. Yet
prompts that were sent at 4 users and at other levels too occupied it differently long, by level:

{slower}

Other work ran on the machine's second core during np1's first levels. In all {longer:.1f} s of the level's {wall:.1f} s
are missing from the prediction. What the server does besides its steps makes up 0.2 s at most: 4-5 ms more before each
second token, 1-2 ms from one prompt to the next, answers to the client's polls. No rule of the server explains the
rest, and nothing was fitted to it.

## Which way it leans

llama.cpp's servers were slower than its benchmark, with single prompts by 1-6%: on np1 and, less so, np4 tok/s lean
upwards and TTFT downwards. vLLM's figures lean neither way.
"""


if __name__ == "__main__":
    sys.exit(print_or_write(page([one for name in NAMES for one in predict(name, SEEDS)]), PAGE, sys.argv[1:]))
