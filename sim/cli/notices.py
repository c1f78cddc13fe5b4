"""What the numbers are worth, and what to do about them: warnings and advice, each a fact, a number, words to type."""

from collections.abc import Iterator, Mapping

from sim import compose
from sim.capacity import Bracket
from sim.cli.explained import Explanation
from sim.cli.memory_cliff import memory_cliff_slots
from sim.cli.study import Study
from sim.cli.tuning import TUNABLE, context_for
from sim.cli.variants import Prepared
from sim.compose import Traffic
from sim.judging import Judgement
from sim.merging import judge
from sim.metrics import PointMetrics
from sim.sweep import Findings

MEASURED = "measured"
CAREFUL, USUAL = 0.7, 0.8  # shares of the capacity that planners keep to
MORE_SEEDS = 10
WORTH_TELLING = 0.01  # of the prompts

# What tells most about a deployment in ten minutes: one stream and a full batch of plain requests.
BENCHES = {
    "vllm": "`vllm bench serve --dataset-name random --random-input-len 512 --random-output-len 256 "
    "--max-concurrency {users} --num-prompts {prompts} --save-result`",
    "llama_cpp": "`llama-batched-bench -m MODEL.gguf -c 16384 -npp 512 -ntg 128 -npl 1,2,4,8`",
    "ollama": "`ollama run MODEL --verbose < PROMPT.txt 2>> FILE` with three prompts of a page or two, each another",
}


def warnings(study: Study, findings: Findings[PointMetrics], told: Mapping[str, Explanation]) -> Iterator[str]:
    """Facts that change what the numbers are worth."""
    if findings.interrupted:
        yield "interrupted: only the points that were complete are here"
    for row in study.rows:
        yield from _of_deployment(row)
        yield from (f"{row.variant.id}: {told}" for told in cut_prompts(row, study.traffic))
    for key, seeds in findings.points.items():
        if unanswered := sum(point.unanswered for point in seeds):
            yield f"{key.variant} at {key.users or study.flags.load}: {unanswered} requests never got an answer"
    for row in study.rows:
        if row.variant.id in told and study.plan.refine:
            yield from _of_bracket(row, findings, told[row.variant.id].bracket)


def _of_deployment(row: Prepared) -> Iterator[str]:
    if row.deployment is None:
        return
    yield from (f"{row.variant.id}: {warning}" for warning in row.deployment.warnings)
    yield from _of_memory(row)
    yield from _of_link(row)
    if row.deployment.scheduler.clairvoyant:
        yield f"{row.variant.id}: its scheduler reads the true output length, which no real engine knows"


def cut_prompts(row: Prepared, traffic: Traffic) -> Iterator[str]:
    """Prompts that the engine shortens: it answers quickly, for it reads but a part of them."""
    if row.deployment is None or not row.deployment.scheduler.cuts_prompts:
        return
    context, name = row.deployment.memory.context, TUNABLE[row.variant.engine].context
    share = traffic.longer_prompts(context)
    if share >= WORTH_TELLING:
        longer = min(row.deployment.model.max_context, context_for(traffic.longest_tokens()))
        more = f": {flag(name)} {longer} cuts fewer" if longer > context else ""
        yield f"{share:.0%} of the prompts are cut to fit into a context of {context:,}{more}"


def _of_memory(row: Prepared) -> Iterator[str]:
    """Layers on the host because of slots that there is no room for, unless the engine says so itself."""
    assert row.deployment is not None
    memory, most = row.deployment.memory, memory_cliff_slots(row)
    if not (memory.layers_on_host and memory.slots and most and most < memory.slots):
        return
    lane, names = memory.kv_tokens // memory.slots, TUNABLE[row.variant.engine]
    if any(flag(names.slots) in warning for warning in row.deployment.warnings):
        return
    words = " ".join(f"{flag(name)} {value}" for name, value in names.settings(most, lane).items())
    yield f"{row.variant.id}: of {memory.slots} slots of {lane:,} tokens {most} fit beside the weights: {words}"


def _of_link(row: Prepared) -> Iterator[str]:
    """Cards that exchange over PCIe, on a machine that nobody measured."""
    assert row.deployment is not None
    cards = row.deployment.traits.tensor_parallel
    shared = cards > 1 and not compose.standard_link(row.deployment)
    if shared and compose.step_trust(row.variant, row.deployment) != MEASURED:
        yield f"{row.variant.id}: how fast {cards} cards exchange over PCIe differs by machine, up to threefold"


def flag(name: str) -> str:
    """An option as it is typed."""
    return f"--{name.replace('_', '-')}"


def _of_bracket(row: Prepared, findings: Findings[PointMetrics], found: Bracket) -> Iterator[str]:
    points, variant = findings.of(row.variant.id), row.variant.id
    open_ones = [users for users, seeds in points.items() if judge(seeds) is Judgement.UNDECIDED]
    if open_ones:
        loads = ", ".join(map(str, open_ones))
        yield f"{variant}: too close to call at {loads} users: --seeds {MORE_SEEDS} tells more"
    elif found.failing is None and points:
        yield f"{variant}: up to {max(points)} users nothing breaks: --users 1..{8 * max(points)} looks further"


def advice(study: Study, told: Mapping[str, Explanation], trust: Mapping[str, str | None]) -> Iterator[str]:
    """How much of a capacity to use, and what to measure."""
    rows = [row for row in study.rows if row.variant.id in told and told[row.variant.id].bracket.failing is not None]
    for row in rows:
        capacity = told[row.variant.id].bracket.passing
        if capacity > 1:
            careful, usual = (max(1, int(share * capacity)) for share in (CAREFUL, USUAL))
            span = f"{careful} to {usual}" if careful < usual else f"{usual}"
            yield f"{row.variant.id}: plan for {span} at once, 70 to 80% of its capacity: the rest is for busy minutes"
    engines = {row.variant.engine: row for row in rows if trust.get(row.variant.id) != "measured"}
    for engine, row in engines.items():
        bench = BENCHES.get(engine)
        if bench is not None:
            users = max(1, told[row.variant.id].bracket.passing)
            words = bench.format(users=users, prompts=max(100, 4 * users))
            yield (
                f"{engine}: its step times are {trust[row.variant.id]}{_off(row, trust[row.variant.id])}; ten minutes "
                f"of {words} and `simctl calibrate` on what it prints make them measured{_off(row, MEASURED)}"
            )


def _off(row: Prepared, trust: str | None) -> str:
    """How far step times of a label are off in four cases of five, where the profile knows."""
    if row.variant.step_table is not None:
        return ""
    kernels = row.deployment.traits.kernels if row.deployment else ""
    low, high = compose.profile_of(row.variant).band(kernels, trust or "", "step")
    return "" if low == high else f" ({low - 1:+.0%} to {high - 1:+.0%})"
