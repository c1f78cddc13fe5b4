"""llama.cpp's server: how a request comes to a slot, keeps it for its whole life, and leaves it to the next."""

from bisect import insort
from collections import deque
from dataclasses import dataclass, field

from policies.caches.slots import SlotCache
from policies.caches.unified import UnifiedCache
from policies.schedulers import option_checks as check
from policies.schedulers.slot_choice import SlotChoice
from sim.cache import KVCache
from sim.request import Request
from sim.scheduler import Scheduler


@dataclass
class LlamaTasks(Scheduler):
    """The queue, those deferred, and the slots; the steps are a subclass's."""

    slot_prompt_similarity: float = 0.1
    cache_ram_tokens: int = 0  # what --cache-ram holds
    cache_idle_slots: bool = False

    cache: SlotCache = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check.numbers(self, "slot_prompt_similarity", most=1)
        check.counts(self, "cache_ram_tokens", least=0)
        check.switches(self, "cache_idle_slots")

    def bind(self, cache: KVCache) -> None:
        """Take possession of slots and start with empty queues."""
        if not isinstance(cache, SlotCache):
            raise TypeError(f"llama_slots needs a cache of slots, got {type(cache).__name__}")
        super().bind(cache)
        self.cache = cache
        self.queue: deque[Request] = deque()  # to be looked at before the next step
        self.deferred: deque[Request] = deque()  # found no slot; each release moves one to the queue's front
        clears_idle = self.cache_idle_slots and isinstance(cache, UnifiedCache)
        self.choice = SlotChoice(cache, self.slot_prompt_similarity, self.cache_ram_tokens, clears_idle)
        self.idle = self.choice.idle  # least recently used first
        self.holders: list[Request | None] = [None] * cache.slots
        self.slot_of: dict[Request, int] = {}  # of requests that have one
        self.generating: list[int] = []  # slots in lockstep, by number
        self.prompting: list[int] = []  # slots with a prompt to compute, by number
        self.vacated: list[int] = []  # by the last step; they are free before the next

    # -- the way in

    def output_bound(self, request: Request) -> int:
        """The client's limit, or what the slot has room for behind the prompt, which is one token at least."""
        room = max(1, self.cache.lane_tokens - request.prompt_tokens)
        return room if room < request.limit else request.limit

    def submit(self, request: Request) -> None:
        """Wait to be looked at before the next step."""
        self.queue.append(request)

    def notices(self, request: Request) -> bool:
        """A newcomer without a slot only joins the queue.

        When fewer wait than slots can come free at once, it matters whether it was deferred before they did.
        """
        return bool(self.idle) or len(self.deferred) < self.cache.slots

    @property
    def waiting_count(self) -> int:
        """Requests without a slot."""
        return len(self.queue) + len(self.deferred)

    @property
    def running_count(self) -> int:
        """Requests with a slot, begun or not."""
        return len(self.slot_of)

    def start_tasks(self) -> None:
        """Look at everybody in the queue: into a slot, or to the end of those deferred."""
        queue, idle = self.queue, self.idle
        while queue:
            request = queue.popleft()
            if not idle:
                self.deferred.append(request)
                continue
            slot = self.choice.take(request)
            self.holders[slot] = request
            self.slot_of[request] = slot
            insort(self.prompting, slot)

    # -- the way out

    def finish(self, request: Request) -> None:
        """The slot is free and keeps what it holds."""
        slot = self.slot_of.pop(request)
        if request.lockstep:
            self.decoding.leave(request)
            self.generating.remove(slot)
        elif slot in self.prompting:
            self.prompting.remove(slot)
        self.cache.release(request)
        self.holders[slot] = None
        self.vacated.append(slot)

    def free_slots(self) -> None:
        """Slots come free in the order of their numbers, and each lets one deferred request jump the queue."""
        vacated, deferred = self.vacated, self.deferred
        if len(vacated) > 1:
            vacated.sort()
        for slot in vacated:
            self.idle.append(slot)
            if deferred:
                self.queue.appendleft(deferred.popleft())
        vacated.clear()

    def abort(self, request: Request) -> None:
        """A client's disconnect takes the request out of the queues or frees its slot."""
        if request in self.slot_of:
            self.free_slots()
            self.finish(request)
            self.free_slots()
        elif request in self.queue:
            self.queue.remove(request)
        else:
            self.deferred.remove(request)
