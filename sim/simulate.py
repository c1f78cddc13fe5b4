"""Run one scenario."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sim.client import Client
from sim.clock import Clock
from sim.engine import Door
from sim.frontdoor import FrontDoor
from sim.journal import Journal, RequestLog
from sim.replica import Replica, View
from sim.request import End, Request
from sim.scenario import Patience, ReplicaRecord, Result, Scenario
from sim.workload import Port, random_streams


def simulate(scenario: Scenario) -> Result:
    """Play the scenario to its end."""
    run = _Run(scenario)
    with _no_cyclic_garbage():
        run.source.start()
        run.env.run()
    return run.result()


class _Server:
    """One replica and what stands before it."""

    def __init__(self, run: "_Run", number: int) -> None:
        scenario = run.scenario
        self.journal = Journal()
        self.core = scenario.deployment.core()
        self.replica = Replica(
            run.env,
            self.core,
            scenario.cost,
            self.journal,
            run.ended if scenario.deployment.door == Door() else self._ended,
            scenario.stride_limit,
            number,
        )
        self._run = run
        door = scenario.deployment.door
        self._door = None if door == Door() else FrontDoor(run.env, door, self.replica.submit, self._turned_away)
        self.arrive = self.replica.submit if self._door is None else self._door.arrive

    def cancel(self, request: Request, end: End) -> None:
        if self._door is not None and self._door.withdraw(request):
            self._turned_away(request, end)
        else:
            self.replica.abort(request, end)

    def view(self) -> View:
        view = self.replica.view()
        return view if self._door is None else View(view.waiting + self._door.waiting, view.running)

    def record(self) -> ReplicaRecord:
        journal = self.journal
        return ReplicaRecord(
            journal.strides.columns(),
            journal.gaps.columns(),
            journal.usage.columns(),
            journal.preemptions,
            self.core.cache.capacity_tokens,
        )

    def inside(self) -> int:
        """Requests that it holds."""
        view = self.view()
        return view.waiting + view.running

    def _ended(self, request: Request) -> None:
        assert self._door is not None
        self._door.left(request)
        self._run.ended(request)

    def _turned_away(self, request: Request, end: End) -> None:
        request.end = end
        request.end_ps = self._run.env.now
        self._run.ended(request)


class _Run:
    """The parts of a run, connected."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.env = Clock()
        self.log = RequestLog()
        self.servers = [_Server(self, number) for number in range(scenario.replicas)]
        self._router = scenario.router()
        send = self.servers[0].arrive if scenario.replicas == 1 else self._route
        self._client = self._clients(scenario.patience, send)
        if self._client is not None:
            send = self._client.send_request
        self.source = scenario.workload.source(Port(self.env, send, random_streams(scenario.seed)))

    def _clients(self, patience: Patience, send: Callable[[Request], None]) -> Client | None:
        """Clients that do more than wait."""
        if patience.timeout_s is None and not patience.retries:
            return None
        return Client(self.env, send, self._cancel, patience.timeout_s, patience.retries, patience.backoff_s)

    def ended(self, request: Request) -> None:
        """A request has left its server."""
        self.log.add(request)
        if self._client is None or self._client.ended(request) is None:
            self.source.ended(request)

    def result(self) -> Result:
        requests = self.log.columns()
        return Result(
            self.scenario,
            requests,
            tuple(server.record() for server in self.servers),
            int(requests["end_ps"].max(initial=0)),
            sum(server.inside() for server in self.servers),
        )

    def _route(self, request: Request) -> None:
        request.replica = self._router.choose(request, [server.view() for server in self.servers])
        self.servers[request.replica].arrive(request)

    def _cancel(self, request: Request, end: End) -> None:
        self.servers[request.replica].cancel(request, end)


@contextmanager
def _no_cyclic_garbage() -> Iterator[None]:
    """A run makes no reference cycles worth collecting, and looking for them costs a fifth of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
