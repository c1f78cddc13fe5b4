"""One request: what the client asked, how far the engine has come, and when things happened to it."""

from collections.abc import Hashable
from enum import Enum


class End(Enum):
    """How a request ended; every attempted request ends in exactly one of these."""

    FINISHED = "finished"  # the model stopped by itself
    LENGTH = "length"  # the client's or the context's limit was reached
    REJECTED = "rejected"  # refused before any work was done
    FAILED = "failed"  # the engine gave up on it after work was done
    TIMED_OUT = "timed_out"  # the client's patience ended
    ABORTED = "aborted"  # the client went away

    __hash__ = object.__hash__  # members are unique, and looked up for every request


class Request:
    """A prompt to be answered.

    `output_tokens` is what the model will produce. Only the kernel may read it: a real engine does not know it.
    `limit` is the client's bound on it, which every policy may read.
    """

    __slots__ = (
        "admitted_ps",
        "arrival_ps",
        "attempt",
        "base",
        "cached_tokens",
        "computed",
        "decode_mark",
        "end",
        "end_ps",
        "entered_ps",
        "finish_at",
        "first_token_ps",
        "generated",
        "id",
        "last_token_ps",
        "limit",
        "lockstep",
        "order",
        "output_tokens",
        "own",
        "own_prefill_ps",
        "preemption_ps",
        "preemptions",
        "prefill_mark",
        "prefix",
        "priority",
        "prompt_tokens",
        "replica",
        "stall_ps",
        "stops_by_length",
        "user",
    )

    def __init__(
        self,
        id: int,
        prompt_tokens: int,
        output_tokens: int,
        limit: int | None = None,
        arrival_ps: int = 0,
        user: int = -1,
        priority: int = 0,
        prefix: tuple[tuple[Hashable, int], ...] = (),
        own: Hashable = None,
        attempt: int = 1,
    ) -> None:
        self.id = id
        self.user = user
        self.replica = 0  # which one serves it
        self.attempt = attempt
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.limit = output_tokens if limit is None else limit
        self.stops_by_length = self.limit <= output_tokens
        self.priority = priority
        self.prefix = prefix  # (content, tokens) pieces that other prompts may begin with too
        self.own = own  # names the rest of the content when a later prompt will repeat it

        self.arrival_ps = arrival_ps
        self.entered_ps = arrival_ps  # through the front door, where there is one
        self.admitted_ps = -1  # first time in a batch
        self.first_token_ps = -1
        self.last_token_ps = -1  # of the token before an interruption
        self.end_ps = -1
        self.end: End | None = None

        self.order = -1  # admission order inside its core
        self.computed = 0  # tokens whose keys and values exist; while in lockstep: base + the group's clock
        self.generated = 0  # tokens sampled; while in lockstep it follows from computed
        self.lockstep = False  # is a member of its core's decode group
        self.base = 0
        self.finish_at = -1  # clock of the decode group at which the last token is sampled
        self.cached_tokens = 0
        self.preemptions = 0

        self.prefill_mark = 0  # the replica's prefill and decode time when it was admitted
        self.decode_mark = 0
        self.own_prefill_ps = 0
        self.preemption_ps = 0
        self.stall_ps = 0

    @property
    def known_tokens(self) -> int:
        """Prompt and sampled tokens: what a (re)computation has to go through."""
        return self.prompt_tokens + self.generated

    def __repr__(self) -> str:
        return f"Request({self.id}, prompt={self.prompt_tokens}, computed={self.computed}, generated={self.generated})"
