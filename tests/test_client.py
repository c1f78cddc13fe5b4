"""What a client does when the answer does not come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.client import Client
from sim.clock import PS_PER_S, Clock
from sim.request import End, Request


def no_server(request: Request) -> None:
    """Takes every request and never answers."""


def no_cancel(request: Request, end: End) -> None:
    """Does not care who goes."""


class Server:
    """Answers request `id` after `seconds[id]`; None never answers. What it does is written down."""

    def __init__(self, seconds: dict[int, float | None], end: End = End.FINISHED, **options: object) -> None:
        self.env = Clock()
        self.seconds = seconds
        self.end = end
        self.sent: list[tuple[int, int, int]] = []  # (picoseconds, id, attempt)
        self.gone: list[tuple[int, int, End]] = []
        self.over: list[tuple[int, int, End]] = []  # the request's final end, as its user sees it
        self.client = Client(self.env, self._take, self._lose, **options)  # type: ignore[arg-type]

    def _take(self, request: Request) -> None:
        self.sent.append((self.env.now, request.id, request.attempt))
        seconds = self.seconds[request.id]
        if seconds is not None:
            self.env.call_in(round(seconds * PS_PER_S), lambda _: self.answer(request, self.end))

    def _lose(self, request: Request, end: End) -> None:
        self.gone.append((self.env.now, request.id, end))
        self.answer(request, end)

    def answer(self, request: Request, end: End) -> None:
        if request.end is None:
            request.end = end
            if self.client.ended(request) is None:
                self.over.append((self.env.now, request.id, end))

    def ask(self, *ids: int) -> list[Request]:
        requests = [Request(number, 10, 5) for number in ids]
        for request in requests:
            self.client.send_request(request)
        return requests

    def ask_at(self, seconds: int, number: int) -> None:
        self.env.call_in(s(seconds), lambda _: self.client.send_request(Request(number, 10, 5)))


def s(seconds: float) -> int:
    return round(seconds * PS_PER_S)


def test_an_answer_in_time_is_never_cancelled() -> None:
    server = Server({1: 0.9}, timeout_s=1.0)
    server.ask(1)
    server.env.run()
    assert server.gone == []
    assert server.over == [(s(0.9), 1, End.FINISHED)]


def test_patience_ends_exactly_at_the_timeout() -> None:
    server = Server({1: None}, timeout_s=1.5)
    server.ask(1)
    server.env.run()
    assert server.gone == [(s(1.5), 1, End.TIMED_OUT)]
    assert server.over == [(s(1.5), 1, End.TIMED_OUT)]


def test_an_answer_at_the_very_deadline_comes_too_late() -> None:
    server = Server({1: 1.0}, timeout_s=1.0)
    server.ask(1)
    server.env.run()
    assert server.over == [(s(1), 1, End.TIMED_OUT)]


def test_without_timeout_nothing_is_ever_planned() -> None:
    server = Server({1: None})
    server.ask(1)
    assert server.env.peek() == float("inf")
    assert server.gone == []


def test_many_waiting_requests_share_one_alarm() -> None:
    server = Server(dict.fromkeys(range(1000)), timeout_s=5.0)
    server.ask(*range(1000))
    assert len(server.env._queue) == 1
    server.env.run()
    assert [number for _, number, _ in server.gone] == list(range(1000))


def test_a_retry_is_the_same_request_with_the_next_attempt_and_twice_the_pause() -> None:
    server = Server({7: None}, timeout_s=2.0, retries=2, backoff_s=1.0)
    server.ask(7)
    server.env.run()
    assert server.sent == [(0, 7, 1), (s(3), 7, 2), (s(7), 7, 3)]
    assert server.over == [(s(9), 7, End.TIMED_OUT)]


def test_a_retry_asks_for_the_same_content_and_arrives_when_it_is_sent() -> None:
    retried: list[Request] = []
    env = Clock()
    client = Client(env, retried.append, no_cancel, retries=1, backoff_s=2.0)
    first = Request(3, 100, 20, 50, 0, 4, 2, (("system", 30),), "chat")
    client.send_request(first)
    first.end = End.REJECTED
    planned = client.ended(first)
    env.run()
    again = retried[1]
    assert again is planned
    assert again is not first
    for name in ("id", "user", "prompt_tokens", "output_tokens", "limit", "priority", "prefix", "own"):
        assert getattr(again, name) == getattr(first, name)
    assert (again.attempt, again.arrival_ps, again.end) == (2, s(2), None)


def test_a_retry_of_an_output_that_the_server_cut_still_stops_by_length() -> None:
    client = Client(Clock(), no_server, no_cancel, retries=1)
    request = Request(1, 10, 90, limit=100)
    request.output_tokens, request.stops_by_length, request.end = 50, True, End.FAILED
    retry = client.ended(request)
    assert retry is not None
    assert retry.stops_by_length


@pytest.mark.parametrize("end", [End.REJECTED, End.FAILED])
def test_an_error_is_tried_again_until_the_attempts_are_used_up(end: End) -> None:
    server = Server({1: 0.5}, end=end, retries=3, backoff_s=0.25)
    server.ask(1)
    server.env.run()
    assert [attempt for _, _, attempt in server.sent] == [1, 2, 3, 4]
    assert len(server.over) == 1


@pytest.mark.parametrize("end", [End.FINISHED, End.LENGTH, End.ABORTED])
def test_a_full_answer_and_a_client_that_left_are_final(end: End) -> None:
    server = Server({1: 0.5}, end=end, retries=3)
    server.ask(1)
    server.env.run()
    assert len(server.sent) == 1


def test_hanging_up_aborts_and_is_not_retried() -> None:
    server = Server({1: None}, timeout_s=9.0, retries=3)
    (request,) = server.ask(1)
    server.env.call_in(s(1), lambda _: server.client.hang_up(request))
    server.env.run()
    assert server.over == [(s(1), 1, End.ABORTED)]
    assert len(server.sent) == 1


def test_who_hung_up_while_the_server_did_not_notice_is_not_hung_up_on_again() -> None:
    gone: list[End] = []
    env = Clock()
    client = Client(env, no_server, lambda _, end: gone.append(end), timeout_s=2.0)
    request = Request(1, 10, 5)
    client.send_request(request)
    client.hang_up(request)
    env.run()
    assert gone == [End.ABORTED]


def test_an_answer_wins_nothing_by_ending_before_a_deadline_planned_later_in_the_same_instant() -> None:
    """The alarm comes first in its instant, however late it was planned."""
    env = Clock()
    log: list[str] = []
    env.call_in(s(2), lambda _: log.append("step ends"))
    client = Client(env, no_server, lambda *_: log.append("deadline"), timeout_s=1.0)
    env.call_in(s(1), lambda _: client.send_request(Request(1, 10, 5)))
    env.run()
    assert log == ["deadline", "step ends"]


def test_what_is_answered_or_gone_is_not_remembered() -> None:
    env = Clock()
    client = Client(env, no_server, no_cancel, timeout_s=100.0)
    for number in range(1000):
        request = Request(number, 10, 5)
        client.send_request(request)
        if number % 2:
            client.hang_up(request)
        request.end = End.ABORTED if number % 2 else End.FINISHED
        client.ended(request)
    assert len(client._patient) == 1
    assert not client._hung_up


@pytest.mark.parametrize("options", [{"timeout_s": 0.0}, {"timeout_s": -1.0}, {"retries": -1}])
def test_patience_that_means_nothing_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"timeout|retries"):
        Client(Clock(), no_server, no_cancel, **options)  # type: ignore[arg-type]


@given(
    answers=st.lists(st.one_of(st.none(), st.integers(1, 40)), min_size=1, max_size=30),
    timeout=st.integers(1, 20),
    retries=st.integers(0, 3),
)
def test_every_request_has_one_end_and_is_answered_exactly_if_it_was_quick_enough(
    answers: list[int | None], timeout: int, retries: int
) -> None:
    server = Server(dict(enumerate(answers)), timeout_s=timeout, retries=retries, backoff_s=1.0)
    for number in range(len(answers)):
        server.ask_at(number % 7, number)
    server.env.run()
    ends = {number: end for _, number, end in server.over}
    assert len(server.over) == len(answers)
    for number, seconds in enumerate(answers):
        in_time = seconds is not None and seconds < timeout
        assert ends[number] is (End.FINISHED if in_time else End.TIMED_OUT)
        attempts = [attempt for _, sent, attempt in server.sent if sent == number]
        assert attempts == list(range(1, 2 if in_time else retries + 2))
