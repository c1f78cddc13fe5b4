"""What stands before an engine: order, bounds and loading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.clock import PS_PER_S, Clock
from sim.engine import Door
from sim.frontdoor import FrontDoor
from sim.request import End, Request

Entry = tuple[float, int]


class Server:
    """An engine that takes `service_s` for each request it is given, behind a door; it writes down what happens."""

    def __init__(self, door: Door, service_s: float = 3.0) -> None:
        self.env = Clock()
        self.service_s = service_s
        self.door = FrontDoor(self.env, door, self._start, self._turned_away)
        self.entered: list[Entry] = []
        self.ended: list[Entry] = []
        self.refused: list[Entry] = []
        self.inside = self.most_inside = 0

    def now(self) -> float:
        return self.env.now / PS_PER_S

    def _start(self, request: Request) -> None:
        assert request.entered_ps == self.env.now
        self.entered.append((self.now(), request.id))
        self.inside += 1
        self.most_inside = max(self.inside, self.most_inside)
        self.env.call_in(round(self.service_s * PS_PER_S), lambda _: self._end(request))

    def _end(self, request: Request) -> None:
        self.inside -= 1
        self.ended.append((self.now(), request.id))
        self.door.left(request)

    def _turned_away(self, request: Request, end: End) -> None:
        assert end is End.REJECTED
        self.refused.append((self.now(), request.id))

    def knock(self, seconds: float, *numbers: int) -> list[Request]:
        """Requests that arrive after so many seconds, in this order."""
        requests = [Request(number, 10, 5) for number in numbers]
        for request in requests:
            self._knock(seconds, request)
        return requests

    def _knock(self, seconds: float, request: Request) -> None:
        self.env.call_in(round(seconds * PS_PER_S), lambda _: self.door.arrive(request))

    def withdraw(self, seconds: float, request: Request) -> list[bool]:
        """The client goes after so many seconds; the list is filled with the door's answer."""
        answer: list[bool] = []
        self.env.call_in(round(seconds * PS_PER_S), lambda _: answer.append(self.door.withdraw(request)))
        return answer

    def run(self) -> "Server":
        self.env.run()
        return self


# -- permits on a warm model


def test_three_requests_behind_one_permit_take_three_six_and_nine_seconds() -> None:
    server = Server(Door(permits=1))
    server.knock(0, 1, 2, 3)
    assert server.run().ended == [(3, 1), (6, 2), (9, 3)]
    assert server.entered == [(0, 1), (3, 2), (6, 3)]


def test_without_permits_everybody_is_inside_at_once() -> None:
    server = Server(Door())
    server.knock(0, *range(50))
    assert server.run().most_inside == 50
    assert server.door.waiting == 0


@given(
    arrivals=st.lists(st.integers(0, 20), min_size=1, max_size=40),
    permits=st.integers(1, 5),
    max_queue=st.integers(0, 3),
)
def test_a_warm_model_never_turns_anybody_away(arrivals: list[int], permits: int, max_queue: int) -> None:
    server = Server(Door(permits=permits, pending_limit=max_queue))
    for number, second in enumerate(arrivals):
        server.knock(second, number)
    server.run()
    assert server.refused == []
    assert server.most_inside <= permits
    in_order = [number for _, number in sorted((second, number) for number, second in enumerate(arrivals))]
    assert [number for _, number in server.entered] == in_order


def test_a_permit_is_not_left_idle_while_somebody_waits() -> None:
    server = Server(Door(permits=2), service_s=1.0)
    server.knock(0, 1, 2, 3, 4, 5)
    assert server.run().ended == [(1, 1), (1, 2), (2, 3), (2, 4), (3, 5)]


def test_a_queue_of_requests_that_the_engine_refuses_at_once_drains_without_deep_calls() -> None:
    env = Clock()
    seen: list[int] = []

    def refuse(request: Request) -> None:
        seen.append(request.id)
        if request.id:
            door.left(request)

    door = FrontDoor(env, Door(permits=1), refuse, lambda request, end: None)  # noqa: ARG005
    requests = [Request(number, 10, 5) for number in range(3000)]
    for request in requests:
        door.arrive(request)
    door.left(requests[0])
    assert seen == list(range(3000))
    assert door.waiting == 0


# -- a cold model


def test_a_cold_start_with_a_queue_of_two_holds_one_in_hand_and_two_and_turns_two_away() -> None:
    server = Server(Door(permits=1, load_s=10.0, pending_limit=2))
    server.knock(0, 0)
    server.knock(0.001, 1, 2, 3, 4)
    server.env.run(until=PS_PER_S)
    assert server.refused == [(0.001, 3), (0.001, 4)]
    assert server.door.waiting == 3
    assert server.run().entered == [(10, 0), (13, 1), (16, 2)]


@given(
    arrivals=st.lists(st.integers(0, 30), min_size=1, max_size=30),
    max_queue=st.integers(0, 6),
    leavers=st.sets(st.integers(0, 29)),
)
def test_during_a_load_one_is_in_hand_and_at_most_max_queue_wait(
    arrivals: list[int], max_queue: int, leavers: set[int]
) -> None:
    server = Server(Door(permits=2, load_s=10.0, pending_limit=max_queue))
    first = min(arrivals)
    left = []
    for number, second in enumerate(arrivals):
        (request,) = server.knock(second, number)
        if number in leavers:
            left += [server.withdraw(second + 0.5, request)]
    during_load = sum(second < first + 10 for second in arrivals)
    server.run()
    assert len(server.refused) == max(0, during_load - 1 - max_queue)
    gone = sum(answer[0] for answer in left)
    assert len(server.entered) + len(server.refused) + gone == len(arrivals)
    assert server.door.waiting == 0


def test_when_loads_are_waited_for_inside_nobody_is_counted_or_turned_away() -> None:
    server = Server(Door(permits=1, load_s=10.0, pending_limit=1, waits_inside=True))
    server.knock(0, 0)
    server.knock(1, 1, 2, 3, 4)
    assert server.run().refused == []
    assert server.entered == [(10, 0), (13, 1), (16, 2), (19, 3), (22, 4)]


def test_a_model_is_loaded_once() -> None:
    server = Server(Door(permits=1, load_s=10.0), service_s=1.0)
    server.knock(0, 1)
    server.knock(50, 2)
    assert server.run().ended == [(11, 1), (51, 2)]


# -- clients that go away


def test_who_withdraws_from_the_queue_never_enters_and_nobody_else_is_touched() -> None:
    server = Server(Door(permits=1))
    requests = server.knock(0, 1, 2, 3, 4)
    answer = server.withdraw(1, requests[2])
    assert server.run().entered == [(0, 1), (3, 2), (6, 4)]
    assert answer == [True]


def test_who_is_inside_cannot_withdraw_at_the_door() -> None:
    server = Server(Door(permits=1))
    requests = server.knock(0, 1, 2)
    answer = server.withdraw(1, requests[0])
    server.run()
    assert answer == [False]
    assert [number for _, number in server.ended] == [1, 2]


def test_the_load_goes_on_without_the_client_who_asked_for_it() -> None:
    server = Server(Door(permits=1, load_s=10.0, pending_limit=1))
    (first,) = server.knock(0, 1)
    server.knock(1, 2)
    answer = server.withdraw(2, first)
    assert server.run().entered == [(10, 2)]
    assert answer == [True]


def test_a_place_in_the_channel_is_not_freed_by_leaving_it() -> None:
    server = Server(Door(permits=1, load_s=10.0, pending_limit=1))
    server.knock(0, 1)
    (second,) = server.knock(1, 2)
    server.withdraw(2, second)
    server.knock(3, 3)
    server.env.run(until=4 * PS_PER_S)
    assert server.refused == [(3, 3)]
    assert server.door.waiting == 1
    assert server.run().entered == [(10, 1)]


def test_hanging_up_in_the_instant_of_being_refused_is_one_end_not_two() -> None:
    server = Server(Door(permits=1, load_s=10.0, pending_limit=0))
    server.door.arrive(Request(1, 10, 5))
    refused = Request(2, 10, 5)
    server.door.arrive(refused)
    assert server.door.withdraw(refused)
    assert server.run().refused == []


@pytest.mark.parametrize("permits", [1, 2, 7])
def test_the_longest_wait_behind_a_warm_door_grows_without_bound(permits: int) -> None:
    """Nothing but the client's patience limits it: 20 times the requests wait about 20 times as long."""
    last = []
    for count in (50, 1000):
        server = Server(Door(permits=permits, pending_limit=512), service_s=1.0)
        server.knock(0, *range(count))
        last.append(server.run().entered[-1][0])
    assert last[1] >= 20 * last[0]
