"""Drives a core in two ways: with time, in replicas behind a router, or step by step without time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from policies.caches.groups import Groups
from policies.caches.ollama_cells import OllamaCells
from policies.caches.paged import PagedCache
from policies.caches.prefix import PrefixCache
from policies.caches.reserved import ReservedCache
from policies.caches.slots import SPAN_STEP, SlotCache
from policies.caches.unified import UnifiedCache
from policies.caches.windowed import WindowedCache
from policies.caches.windowed_prefix import WindowedPrefixCache
from policies.routers.least_loaded import LeastLoaded
from policies.schedulers.fcfs import Fcfs
from policies.schedulers.llama_runner import LlamaRunner
from policies.schedulers.llama_slots import LlamaSlots
from policies.schedulers.ollama_runner import OllamaRunner
from policies.schedulers.ollama_slots import OllamaSlots
from policies.schedulers.orca import Orca
from policies.schedulers.sarathi import Sarathi
from policies.schedulers.sjf import Sjf
from policies.schedulers.static_batch import StaticBatch
from policies.schedulers.vllm_v1 import VllmV1
from sim.batch import Batch
from sim.clock import Clock
from sim.core import Core
from sim.cost import FOREVER, Stride
from sim.journal import Journal, RequestLog
from sim.replica import Replica
from sim.request import Request
from sim.router import Router

# -- every policy, small enough that memory is tight with a handful of requests

LONGEST = 32  # tokens that one request may have in all
BLOCK = 4

CoreMaker = Callable[[int], Core]  # from tokens of memory, LONGEST or more


def paged(tokens: int) -> PagedCache:
    """A paged cache that holds at least `tokens` tokens."""
    return PagedCache(-(-tokens // BLOCK) + 1, BLOCK)


def prefixed(tokens: int) -> PrefixCache:
    """The same with a memory for prompts."""
    return PrefixCache(-(-tokens // BLOCK) + 1, BLOCK)


def windowed(tokens: int, groups: Groups, *, ahead: bool = False, caching: bool = False) -> WindowedCache:
    """A cache for groups of layers that holds a LONGEST request for every LONGEST tokens."""
    kept = groups.most_kept(BLOCK, 32 if ahead else 16, LONGEST)
    needed = groups.full * -(-LONGEST // BLOCK) + groups.windowed * kept
    kind = WindowedPrefixCache if caching else WindowedCache
    return kind(-(-tokens * needed // LONGEST) + 1, BLOCK, groups, kept, ahead)


def reserved(tokens: int, contiguous: bool = True) -> ReservedCache:
    """A cache that reserves, for requests of up to LONGEST tokens."""
    return ReservedCache(tokens, LONGEST, contiguous)


def lanes(tokens: int) -> SlotCache:
    """A slot for every LONGEST tokens."""
    return SlotCache(tokens // LONGEST, LONGEST)


def pool(tokens: int) -> UnifiedCache:
    """The smallest pool there is, for so many slots that they may ask for more than it has."""
    return UnifiedCache(tokens // 6, SPAN_STEP)


def ollama(tokens: int) -> OllamaCells:
    """A slot for every LONGEST tokens, which lie in one array."""
    return OllamaCells(tokens // LONGEST, LONGEST)


def vllm(**options: Any) -> VllmV1:
    """vLLM with small limits."""
    return VllmV1(**({"max_num_seqs": 4, "max_num_batched_tokens": 16, "max_model_len": LONGEST} | options))


POLICIES: dict[str, CoreMaker] = {
    "fcfs": lambda tokens: Core(Fcfs(max_model_len=LONGEST), paged(tokens)),
    "fcfs on reserved memory": lambda tokens: Core(Fcfs(max_model_len=LONGEST), reserved(tokens)),
    "static_batch": lambda tokens: Core(StaticBatch(max_batch_size=3), reserved(tokens)),
    "static_batch, padded": lambda tokens: Core(StaticBatch(max_batch_size=3, pad_finished=True), reserved(tokens)),
    "orca": lambda tokens: Core(Orca(max_batch_size=4), reserved(tokens)),
    "orca, limit": lambda tokens: Core(Orca(max_batch_size=4, reserve="limit"), reserved(tokens)),
    "orca, pow2": lambda tokens: Core(Orca(max_batch_size=4, reserve="pow2"), reserved(tokens)),
    "orca, oracle": lambda tokens: Core(Orca(max_batch_size=4, reserve="oracle"), reserved(tokens, contiguous=False)),
    "sarathi": lambda tokens: Core(Sarathi(chunk_size=8, max_num_seqs=4, max_model_len=LONGEST), paged(tokens)),
    "sarathi, tiny chunk": lambda tokens: Core(Sarathi(chunk_size=2, max_model_len=LONGEST), paged(tokens)),
    "sjf": lambda tokens: Core(Sjf(max_batch_size=4), reserved(tokens)),
    "sjf, noise": lambda tokens: Core(Sjf(max_batch_size=4, noise=1.0), reserved(tokens, contiguous=False)),
    "vllm_v1": lambda tokens: Core(vllm(), paged(tokens)),
    "vllm_v1, async": lambda tokens: Core(vllm(async_scheduling=True), paged(tokens)),
    "vllm_v1, priority": lambda tokens: Core(vllm(policy="priority"), paged(tokens)),
    "vllm_v1, async and priority": lambda tokens: Core(vllm(policy="priority", async_scheduling=True), paged(tokens)),
    "vllm_v1, whole prompts": lambda tokens: Core(
        vllm(enable_chunked_prefill=False, max_num_batched_tokens=LONGEST), paged(tokens)
    ),
    "vllm_v1, no admission gate": lambda tokens: Core(vllm(scheduler_reserve_full_isl=False), paged(tokens)),
    "vllm_v1, budget below the batch": lambda tokens: Core(vllm(max_num_batched_tokens=3), paged(tokens)),
    "vllm_v1, long prompts held back": lambda tokens: Core(vllm(long_prefill_token_threshold=4), paged(tokens)),
    "vllm_v1, watermark": lambda tokens: Core(vllm(watermark=0.2), paged(tokens)),
    "vllm_v1, prefix cache": lambda tokens: Core(vllm(), prefixed(tokens)),
    "vllm_v1, async prefix cache": lambda tokens: Core(vllm(async_scheduling=True), prefixed(tokens)),
    "vllm_v1, windows": lambda tokens: Core(vllm(), windowed(tokens, Groups(1, 2, 6))),
    "vllm_v1, async windows": lambda tokens: Core(
        vllm(async_scheduling=True), windowed(tokens, Groups(0, 1, 9), ahead=True)
    ),
    "vllm_v1, windows and prefix cache": lambda tokens: Core(
        vllm(policy="priority"), windowed(tokens, Groups(1, 2, 6), caching=True)
    ),
    "vllm_v1, async windows and prefix cache": lambda tokens: Core(
        vllm(async_scheduling=True), windowed(tokens, Groups(2, 1, 6), ahead=True, caching=True)
    ),
    "llama_slots": lambda tokens: Core(LlamaSlots(n_batch=16, n_ubatch=8), lanes(tokens)),
    "llama_slots, unified": lambda tokens: Core(LlamaSlots(n_batch=16, n_ubatch=8), pool(tokens)),
    "llama_slots, nocb": lambda tokens: Core(LlamaSlots(n_batch=16, n_ubatch=8, cont_batching=False), lanes(tokens)),
    "llama_slots, unified nocb": lambda tokens: Core(LlamaSlots(n_batch=16, cont_batching=False), pool(tokens)),
    "llama_slots, saved in host RAM": lambda tokens: Core(
        LlamaSlots(n_batch=16, cache_ram_tokens=40, kv_bytes_per_token=2, cache_idle_slots=True), pool(tokens)
    ),
    "ollama_slots": lambda tokens: Core(OllamaSlots(n_batch=16, n_ubatch=16), lanes(tokens)),
    "ollama_slots, no shift": lambda tokens: Core(
        OllamaSlots(n_batch=16, n_ubatch=16, context_shift=False), lanes(tokens)
    ),
    "ollama_slots, one pool": lambda tokens: Core(
        OllamaSlots(n_batch=16, n_ubatch=16), UnifiedCache(tokens // LONGEST, tokens // LONGEST * LONGEST, LONGEST)
    ),
    "ollama_runner": lambda tokens: Core(OllamaRunner(num_batch=16), ollama(tokens)),
    "ollama_runner, in turn": lambda tokens: Core(OllamaRunner(num_batch=16, lookahead=False), ollama(tokens)),
    "ollama_runner, fewer tokens than slots": lambda tokens: Core(OllamaRunner(num_batch=2), ollama(tokens)),
    "ollama_runner, no shift": lambda tokens: Core(
        OllamaRunner(num_batch=16, context_shift=False, truncate=False), ollama(tokens)
    ),
    "llama_runner": lambda tokens: Core(LlamaRunner(num_batch=16, n_ubatch=8), ollama(tokens)),
}


@dataclass(frozen=True, slots=True)
class Ask:
    """One request that a test wants to be made; a user's asks follow one another, each after a pause."""

    at_ps: int  # when it arrives, or the pause since the user's last answer
    prompt: int
    output: int
    limit: int | None = None  # at least the output; None for just the output
    priority: int = 0
    shared: int = 0  # leading tokens of the prompt that other prompts have too

    def request(self, number: int, now_ps: int, user: int = -1) -> Request:
        """A fresh request."""
        shared = min(self.shared, self.prompt)
        prefix = (("shared", shared),) if shared else ()
        limit = self.output if self.limit is None else max(self.limit, self.output)
        return Request(number, self.prompt, self.output, limit, now_ps, user, self.priority, prefix)


# -- with time


@dataclass(slots=True)
class LinearCost:
    """Whole picoseconds for each step, row, cell and prompt token."""

    step_ps: int = 10
    row_ps: int = 0
    cell_ps: int = 0
    prompt_ps: int = 0
    holds: int = FOREVER  # steps for which a stride's progression is good
    trust: str = "datasheet"

    def stride(self, batch: Batch) -> Stride:
        """The sum over the passes."""
        prefill = first = growth = 0
        for one in batch.passes:
            prefill += self.prompt_ps * one.prefill_tokens
            first += self.step_ps + self.row_ps * one.padded + self.cell_ps * (one.cells + one.prefill_cells)
            growth += self.cell_ps * one.growth
        return Stride(first + prefill, growth, self.holds, prefill)


Step = tuple[int, int, int, int, int]  # start, duration, decodes, prompt tokens, context


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a run has left behind; two runs are the same if these are equal."""

    requests: dict[str, list[int]]
    replicas: list[int]  # of each request by number
    steps: list[list[Step]]  # of each replica
    gaps: list[dict[str, list[int]]]
    usage: list[dict[str, list[int]]]
    preemptions: list[int]
    prefill_ps: list[int]
    decode_ps: list[int]
    end_ps: int


class Run:
    """Replicas behind a router, fed by arrivals at given times and by users who wait for their answers."""

    def __init__(
        self, core: Callable[[], Core], cost: LinearCost, replicas: int, router: Router, stride_limit: int | None
    ) -> None:
        self.env = Clock()
        self.log = RequestLog()
        self.router = router
        self.journals = [Journal() for _ in range(replicas)]
        self.replicas = [
            Replica(self.env, core(), cost, journal, self._ended, stride_limit, number)
            for number, journal in enumerate(self.journals)
        ]
        self.routes: list[int] = []
        self.users: list[Iterator[Ask]] = []

    def arrive(self, ask: Ask) -> None:
        """Plan an arrival."""
        self.env.call_in(ask.at_ps, lambda _: self._send(ask, -1))

    def sit_down(self, asks: Sequence[Ask]) -> None:
        """A user begins to work through its asks."""
        self.users.append(iter(asks))
        self._next_of(len(self.users) - 1)

    def outcome(self) -> Outcome:
        """Run to the end."""
        self.env.run()
        for replica in self.replicas:
            replica.core.cache.check()
        requests = _by_number(_lists(self.log.columns()))
        return Outcome(
            requests,
            self.routes,
            [expanded(journal) for journal in self.journals],
            [_lists(journal.gaps.columns()) for journal in self.journals],
            [_lists(journal.usage.columns()) for journal in self.journals],
            [journal.preemptions for journal in self.journals],
            [replica.notes.prefill_ps for replica in self.replicas],
            [replica.notes.decode_ps for replica in self.replicas],
            self.env.now,
        )

    def _next_of(self, user: int) -> None:
        ask = next(self.users[user], None)
        if ask is None:
            return
        if ask.at_ps:
            self.env.call_in(ask.at_ps, lambda _: self._send(ask, user))
        else:
            self._send(ask, user)

    def _send(self, ask: Ask, user: int) -> None:
        request = ask.request(len(self.routes), self.env.now, user)
        chosen = self.router.choose(request, [replica.view() for replica in self.replicas])
        self.routes.append(chosen)
        self.replicas[chosen].submit(request)

    def _ended(self, request: Request) -> None:
        self.log.add(request)
        if request.user >= 0:
            self._next_of(request.user)


def run(
    core: Callable[[], Core],
    arrivals: Sequence[Ask] = (),
    users: Sequence[Sequence[Ask]] = (),
    cost: LinearCost | None = None,
    replicas: int = 1,
    router: Callable[[], Router] = LeastLoaded,
    stride_limit: int | None = None,
) -> Outcome:
    """Play a load to its end."""
    world = Run(core, cost or LinearCost(), replicas, router(), stride_limit)
    for ask in arrivals:
        world.arrive(ask)
    for asks in users:
        world.sit_down(asks)
    return world.outcome()


def expanded(journal: Journal) -> list[Step]:
    """The journal's strides, written out step by step."""
    steps: list[Step] = []
    columns = _lists(journal.strides.columns())
    for start, first, growth, count, decodes, prompt, context in zip(*columns.values(), strict=True):
        stride = Stride(first, growth)
        steps += [
            (start + stride.total(index), stride.duration(index), decodes, prompt, context + index * decodes)
            for index in range(count)
        ]
    return steps


def _by_number(requests: dict[str, list[int]]) -> dict[str, list[int]]:
    order = sorted(range(len(requests["id"])), key=requests["id"].__getitem__)
    return {name: [column[row] for row in order] for name, column in requests.items()}


def _lists(columns: Any) -> dict[str, list[int]]:
    return {name: column.tolist() for name, column in columns.items()}


# -- without time


@dataclass(frozen=True, slots=True)
class Decision:
    """What one step did, by request number."""

    decodes: tuple[int, ...]
    pieces: tuple[tuple[int, int, int, bool, str], ...]  # id, tokens, context, ends, kind
    preempted: tuple[int, ...]
    finished: tuple[int, ...]
    wasted: int
    running: int

    @property
    def admitted(self) -> list[int]:
        """Those who got in for the first time."""
        return [number for number, _, _, _, kind in self.pieces if kind == "new"]

    @property
    def scheduled(self) -> list[int]:
        """Everyone who gets tokens."""
        return [*self.decodes, *(piece[0] for piece in self.pieces)]


@dataclass
class Walk:
    """A core driven decision by decision. `at_ps` of an ask is the number of the step it arrives before."""

    core: Core
    asks: Sequence[Ask]
    requests: list[Request] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def steps(self, at_most: int = 5000) -> Iterator[Decision]:
        """Take every step until all have ended, looking at the cache's invariants after each."""
        todo = sorted(range(len(self.asks)), key=lambda number: self.asks[number].at_ps)
        self.requests = [ask.request(number, ask.at_ps) for number, ask in enumerate(self.asks)]
        for step in range(at_most):
            while todo and self.asks[todo[0]].at_ps <= step:
                number = todo.pop(0)
                if not self.core.submit(self.requests[number]):
                    self.rejected.append(number)
            decision = self._step()
            if decision is not None:
                self.decisions.append(decision)
                yield decision
            elif not todo:
                return
        raise AssertionError(f"still running after {at_most} steps")

    def _step(self) -> Decision | None:
        core = self.core
        members = [request for request in self.requests if request.lockstep]
        batch = core.schedule()
        core.cache.check()
        if batch is None:
            return None
        prompts = {piece.request for piece in batch.pieces}
        decodes = tuple(request.id for request in members if request.lockstep and request not in prompts)
        running = core.scheduler.running_count
        finished = core.complete(batch)
        core.cache.check()
        return Decision(
            decodes,
            tuple((piece.request.id, piece.tokens, piece.context, piece.ends, piece.kind) for piece in batch.pieces),
            tuple(request.id for request in batch.preempted),
            tuple(request.id for request in finished),
            batch.wasted,
            running,
        )


def walk(core: Core, asks: Sequence[Ask]) -> Walk:
    """Every decision from the first to the last."""
    walked = Walk(core, asks)
    for _ in walked.steps():
        pass
    return walked
