"""Measurements of single passes: priced by the step cost itself, with no scheduler in between."""

from itertools import groupby

from calibration.fitting.by_load import MOST_STEP_ROWS
from policies.caches.slots import padded
from policies.schedulers.vllm_v1 import VllmV1, padded_rows
from sim.batch import Batch, Pass, prefill_cells
from sim.cli.measured.load import Passes, Step
from sim.cli.measured.outcome import Outcome
from sim.clock import PS_PER_MS, PS_PER_S
from sim.cost import StepCost
from sim.engine import Deployment

DEFAULT_PER_PASS = 512


def price_step(step: Step, deployment: Deployment, cost: StepCost) -> Outcome:
    """A step of sequences that each get a token."""
    time_ps = _step_ps(step.rows, step.depth + 1, deployment, cost)
    rate = step.rows * PS_PER_S / time_ps
    return Outcome(output_tps=rate, decode_tps=rate, tpot_ms=time_ps / PS_PER_MS, e2e_ms=time_ps / PS_PER_MS)


def price_passes(passes: Passes, deployment: Deployment, cost: StepCost) -> Outcome:
    """All prompts, pass after pass, then the steps of the answers."""
    prompts = _prompt_times_ps(passes, deployment, cost)
    prompt_ps = sum(prompts)
    if not passes.output:
        return _of_prompts(passes, prompt_ps, len(prompts))
    start = passes.depth + passes.prompt
    spans = (_span(passes.sequences, start + step, deployment) for step in range(1, passes.output + 1))
    answer_ps = sum(
        _step_ps(passes.sequences, span, deployment, cost) * len(list(steps)) for span, steps in groupby(spans)
    )
    tokens, whole_ps = passes.sequences * passes.output, prompt_ps + answer_ps
    return Outcome(
        output_tps=tokens * PS_PER_S / whole_ps,
        decode_tps=tokens * PS_PER_S / answer_ps,
        ttft_ms=prompt_ps / PS_PER_MS if prompt_ps else None,
        ttft_p50_ms=prompt_ps / PS_PER_MS if prompt_ps else None,
        tpot_ms=answer_ps / passes.output / PS_PER_MS,
        e2e_ms=whole_ps / PS_PER_MS,
    )


def _of_prompts(passes: Passes, prompt_ps: int, count: int) -> Outcome:
    """The rate of prompt tokens, and the time of the whole prompts or of one pass."""
    rate = passes.sequences * passes.prompt * PS_PER_S / prompt_ps
    whole_ms = prompt_ps / PS_PER_MS
    tokens_a_pass = passes.sequences * passes.prompt / count
    if passes.averaged and passes.per_pass:
        tokens_a_pass = min(passes.per_pass, passes.prompt)
    return Outcome(
        output_tps=rate,
        decode_tps=rate,
        ttft_ms=whole_ms,
        ttft_p50_ms=whole_ms,
        tpot_ms=tokens_a_pass / rate * 1000,
        e2e_ms=whole_ms,
    )


def _span(rows: int, context: int, deployment: Deployment) -> int:
    """Cells that a row of a step reads."""
    if deployment.traits.kernels != "llama.cpp":
        return context
    return padded(rows * context) if deployment.traits.unified_cells else padded(context)


def _step_ps(rows: int, span: int, deployment: Deployment, cost: StepCost) -> int:
    one = Pass(rows, rows * span, 0, outputs=rows, padded=_padded(rows, deployment))
    return cost.stride(Batch(rows, (one,), context=rows * (span - 1))).first_ps


def _padded(rows: int, deployment: Deployment) -> int:
    """Rows computed: vLLM fills a captured graph."""
    if not isinstance(deployment.scheduler, VllmV1):
        return rows
    table = padded_rows(deployment.scheduler.graph_sizes)
    return table[rows] if rows < len(table) else rows


def _prompt_times_ps(passes: Passes, deployment: Deployment, cost: StepCost) -> list[int]:
    """The time of each pass over the prompts; they stand one behind the other and are cut every so many tokens."""
    per_pass = passes.per_pass or int(deployment.options.get("ubatch_size", DEFAULT_PER_PASS))
    per_pass = min(per_pass, int(deployment.options.get("batch_size", per_pass)))
    times, total = [], passes.sequences * passes.prompt
    for start in range(0, total, per_pass):
        one = _prompt_pass(passes, start, min(start + per_pass, total), deployment)
        times.append(cost.stride(Batch(0, (one,))).first_ps)
    return times


def _prompt_pass(passes: Passes, start: int, stop: int, deployment: Deployment) -> Pass:
    """The tokens from `start` to `stop` of all prompts laid end to end."""
    length, cells, ends, place = passes.prompt, 0, 0, start
    while place < stop:
        before = place % length
        tokens = min(length - before, stop - place)
        ends += before + tokens == length
        context = passes.depth + before
        if deployment.traits.kernels != "llama.cpp":
            cells += prefill_cells(tokens, context)
        elif deployment.traits.unified_cells:
            cells += tokens * padded(passes.sequences * passes.depth + stop)
        else:
            cells += tokens * padded(context + tokens)
        place += tokens
    if passes.averaged and stop - start <= MOST_STEP_ROWS:
        # it runs the kernels of a step of so many sequences, but all its rows read the same cells, once
        return Pass(stop - start, cells // (stop - start), 0, outputs=ends, padded=stop - start)
    return Pass(0, 0, 0, stop - start, cells, ends, 0)
