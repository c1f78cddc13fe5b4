"""vLLM's running phase, request by request: for the steps in which blocks or budget may not suffice for everyone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.batch import Piece
from sim.request import Request

if TYPE_CHECKING:
    from policies.schedulers.vllm_v1 import VllmV1


class RunningPhase:
    """Serves running requests in order of admission; who finds no block pushes others out.

    Decoding requests that need no block are served without a visit whenever the order cannot matter to them.
    """

    def __init__(self, scheduler: VllmV1) -> None:
        self.scheduler = scheduler
        self.budget = scheduler.max_num_batched_tokens
        self.pieces: list[Piece] = []
        self.preempted: list[Request] = []
        self._served: set[Request] = set()
        self._visit_all = not self._order_is_immaterial()
        if not self._visit_all:
            self.budget -= scheduler.decoding.count

    def serve(self) -> None:
        """Give every running request its tokens while the budget lasts."""
        scheduler = self.scheduler
        cap = scheduler.chunk_cap()
        partial = set(scheduler.partial)
        for request in self._visits():
            if request not in scheduler.running or not (request.lockstep or request in partial):
                continue
            if self.budget <= 0 and not (request.lockstep and not self._visit_all):
                self._leave_out_from(request)
                return
            if not self._serve_one(request, cap):
                self._leave_out_from(request)
                return

    def _order_is_immaterial(self) -> bool:
        """Every decode fits the budget and no unfinished prompt stands before one."""
        scheduler = self.scheduler
        if scheduler.decoding.count > self.budget:
            return False
        newest = reversed(scheduler.running)
        return all(not next(newest).lockstep for _ in scheduler.partial)

    def _visits(self) -> list[Request]:
        scheduler = self.scheduler
        if self._visit_all:
            return list(scheduler.running)
        return sorted([*scheduler.cache.crossing(), *scheduler.partial], key=lambda request: request.order)

    def _serve_one(self, request: Request, cap: int) -> bool:
        """Find memory for the request's tokens; False when it had to push out itself."""
        tokens = self._wanted(request, cap)
        if tokens <= 0:
            return True
        while not self._take(request, tokens):
            victim = self._victim()
            self._push_out(victim)
            if victim is request:
                return False
        if request.lockstep:
            if self._visit_all:
                self.budget -= 1
            self._served.add(request)
        else:
            computed = request.computed
            self.pieces.append(Piece(request, tokens, computed, computed + tokens == request.known_tokens))
            self.budget -= tokens
        return True

    def _wanted(self, request: Request, cap: int) -> int:
        if request.lockstep:
            return 1
        tokens = request.known_tokens - request.computed
        if cap:
            tokens = min(tokens, cap)
        return min(tokens, self.budget, self.scheduler.max_model_len - request.computed - 1)

    def _take(self, request: Request, tokens: int) -> bool:
        cache = self.scheduler.cache
        if not request.lockstep:
            return cache.grow(request, request.computed + tokens)
        return not cache.crosses(request) or cache.grant(request)

    def _victim(self) -> Request:
        running = self.scheduler.running
        if self.scheduler.policy == "priority":
            return max(running, key=lambda request: (request.priority, request.arrival_ps, request.id))
        return next(reversed(running))

    def _push_out(self, victim: Request) -> None:
        """Preempt the victim and take back the budget that this step had given it."""
        for place, piece in enumerate(self.pieces):
            if piece.request is victim:
                self.budget += piece.tokens
                del self.pieces[place]
                break
        if victim.lockstep and (victim in self._served or not self._visit_all):
            self.budget += 1
        self.scheduler.preempt(victim)
        self.preempted.append(victim)

    def _leave_out_from(self, request: Request) -> None:
        """The phase stops here: requests from this one on get nothing in this step."""
        for other in list(self.scheduler.running):
            if other.lockstep and other.order >= request.order and other not in self._served:
                self.scheduler.leave_out(other)
