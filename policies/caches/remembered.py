"""Content that stays in blocks after their last user: blank blocks are taken first, then what was let go longest ago.

Blocks that several requests may begin with are kept one by one; what is unique to a request lies in the queue as runs.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from sim.request import Request


class SharedBlock:
    """A full block whose content other prompts may begin with too."""

    __slots__ = ("key", "users")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.users = 1


class Run(Protocol):
    """Free full blocks, unique to a request that has let go of them; the last one is evicted first."""

    request: Request

    @property
    def count(self) -> int:
        """Query: blocks that are still here."""
        ...

    def drop(self, count: int) -> None:
        """Verb: forget the last `count` blocks."""
        ...


AnyRun = TypeVar("AnyRun", bound=Run)


class Remembered(Generic[AnyRun]):
    """Shared blocks by content, and every free block: blank, or in a queue with the next to be evicted first."""

    def __init__(self, blank: int, run_gone: Callable[[AnyRun], None]) -> None:
        self.blank = blank  # free blocks without content
        self._run_gone = run_gone  # told of a run that was evicted to its beginning
        self._queue: OrderedDict[SharedBlock | AnyRun, None] = OrderedDict()
        self._copies: dict[Hashable, list[SharedBlock]] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._copies

    def find(self, key: Hashable) -> SharedBlock | None:
        """Query: the oldest block with this content."""
        copies = self._copies.get(key)
        return copies[0] if copies else None

    def fill(self, key: Hashable) -> SharedBlock:
        """Verb: a block in use is full and can be found from now on."""
        block = SharedBlock(key)
        self._copies.setdefault(key, []).append(block)
        return block

    def use(self, block: SharedBlock) -> bool:
        """Verb: one user more; True if the block was free."""
        block.users += 1
        if block.users > 1:
            return False
        del self._queue[block]
        return True

    def let_go(self, block: SharedBlock) -> bool:
        """Verb: one user fewer; True if the block is free now."""
        block.users -= 1
        if block.users:
            return False
        self._queue[block] = None
        return True

    def put(self, run: AnyRun) -> None:
        """Verb: a run is free from now on."""
        self._queue[run] = None

    def pull(self, run: AnyRun) -> None:
        """Verb: a run is in use again, or nothing of it is left."""
        del self._queue[run]

    def take(self, count: int) -> None:
        """Verb: so many free blocks lose what they remember."""
        if count <= self.blank:
            self.blank -= count
            return
        count -= self.blank
        self.blank = 0
        while count:
            oldest = next(iter(self._queue))
            if isinstance(oldest, SharedBlock):
                self._forget(oldest)
                count -= 1
                continue
            left = oldest.count - count
            if left > 0:
                oldest.drop(count)
                return
            del self._queue[oldest]
            self._run_gone(oldest)
            count = -left

    def _forget(self, block: SharedBlock) -> None:
        del self._queue[block]
        copies = self._copies[block.key]
        copies.remove(block)
        if not copies:
            del self._copies[block.key]

    def runs(self) -> set[AnyRun]:
        """Query: the runs in the queue."""
        return {entry for entry in self._queue if not isinstance(entry, SharedBlock)}

    def check(self, free_blocks: int, users: Counter[SharedBlock]) -> None:
        """Query: every free block is blank or in the queue once; every user is counted."""
        idle = [entry for entry in self._queue if isinstance(entry, SharedBlock)]
        queued = len(idle) + sum(run.count for run in self.runs())
        assert self.blank + queued == free_blocks, (self.blank, queued, free_blocks)
        assert all(block.users == 0 for block in idle)
        for block, count in users.items():
            assert block.users == count
            assert block not in self._queue
            assert block in self._copies[block.key]
