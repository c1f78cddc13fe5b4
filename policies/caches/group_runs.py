"""Free blocks unique to a request, by group: only the request itself can hit them, when it comes back."""

from sim.request import Request


class GroupRun:
    """A group's full blocks that a request let go of at a time; the last one is evicted first."""

    __slots__ = ("group", "lives", "request")

    def __init__(self, request: Request, group: int, lives: dict[int, int]) -> None:
        self.request = request
        self.group = group
        self.lives = lives  # of each block, by number: the admission that it was filled after

    @property
    def count(self) -> int:
        """Query: blocks that are still here."""
        return len(self.lives)

    def drop(self, count: int) -> None:
        """Verb: forget the last `count` blocks."""
        for _ in range(count):
            self.lives.popitem()


class GroupRuns:
    """The runs of each request. There may be several copies of a block: the oldest is found."""

    def __init__(self) -> None:
        self._runs: dict[Request, list[GroupRun]] = {}

    def __contains__(self, request: Request) -> bool:
        return request in self._runs

    def add(self, run: GroupRun) -> None:
        """Verb: remember one more."""
        self._runs.setdefault(run.request, []).append(run)

    def forget(self, run: GroupRun) -> None:
        """Verb: nothing of it is left."""
        runs = self._runs[run.request]
        runs.remove(run)
        if not runs:
            del self._runs[run.request]

    def numbers(self, request: Request, group: int) -> set[int]:
        """Query: the request's own blocks that a group still has."""
        return {number for run in self._runs.get(request, ()) if run.group == group for number in run.lives}

    def oldest(self, request: Request, group: int, number: int) -> GroupRun:
        """Query: the run with the oldest copy of a block."""
        copies = [run for run in self._runs[request] if run.group == group and number in run.lives]
        return min(copies, key=lambda run: run.lives[number])

    def everything(self) -> set[GroupRun]:
        """Query: the runs of all requests."""
        return {run for runs in self._runs.values() for run in runs}
