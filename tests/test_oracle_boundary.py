"""What the model will answer is not known in advance: only the kernel reads it, and whoever guesses at it says so."""

import ast
import sys
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.schedulers.orca import Orca
from policies.schedulers.sjf import Sjf
from sim.batch import Batch
from sim.core import Core
from sim.request import End, Request
from tests.driver import LONGEST, POLICIES

BLIND = [name for name in POLICIES if not POLICIES[name](LONGEST).scheduler.clairvoyant]
KERNEL = {"sim.core", "sim.decoding"}
TRUTHS = {"output_tokens", "stops_by_length", "finish_at"}  # of a request; the last two follow from the first
GUESS = "predicted_output"
POLICY_FILES = sorted(Path(str(files("policies"))).rglob("*.py"))


class Wish(NamedTuple):
    """A request that arrives before a step."""

    at_step: int
    prompt: int
    output: int
    limit: int
    priority: int
    shared: int

    def request(self, number: int, kind: type[Request] = Request) -> Request:
        shared = min(self.shared, self.prompt)
        prefix = (("shared", shared),) if shared else ()
        return kind(number, self.prompt, self.output, self.limit, self.at_step, -1, self.priority, prefix)


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    """Some are too long for the context; none answers more than its client's limit."""
    limit = draw(st.integers(1, 20))
    return Wish(
        draw(st.integers(0, 12)),
        draw(st.integers(1, LONGEST + 2)),
        draw(st.integers(1, limit)),
        limit,
        draw(st.integers(0, 2)),
        draw(st.sampled_from([0, 0, 8])),
    )


loads = st.lists(wishes(), min_size=1, max_size=10)
memories = st.integers(LONGEST, 3 * LONGEST)

Seen = tuple[Any, ...]


def seen(batch: Batch, members: Sequence[Request]) -> Seen:
    """All of a decision that a policy answers for."""
    prompts = {piece.request for piece in batch.pieces}
    return (
        [request.id for request in members if request.lockstep and request not in prompts],
        [(piece.request.id, piece.tokens, piece.context, piece.ends, piece.kind) for piece in batch.pieces],
        *([request.id for request in those] for those in (batch.preempted, batch.paused, batch.failed, batch.rejected)),
        batch.passes,
        batch.host_bytes,
    )


def decisions(core: Core, requests: Sequence[Request]) -> Iterator[Seen]:
    """Each decision before its results are known; a pipelined core decides once more before it learns them."""
    todo = sorted(requests, key=lambda request: (request.arrival_ps, request.id))
    running: Batch | None = None
    for step in range(5000):
        while todo and todo[0].arrival_ps <= step:
            core.submit(todo.pop(0))
        members = [request for request in requests if request.lockstep]
        batch = core.schedule()
        if batch is not None:
            yield seen(batch, members)
        elif running is None and not todo:
            return
        running = completed(core, running, batch)
    raise AssertionError("still running after 5000 steps")


def completed(core: Core, running: Batch | None, decided: Batch | None) -> Batch | None:
    """Results come in: of the step under way, or of the one just decided; what is then under way."""
    if not core.scheduler.pipelined:
        running, decided = decided, None
    following = decided if decided is not None and decided.passes else None
    if running is not None:
        core.complete(running, last=following is None)
    return following


def until_somebody_ends(core: Core, requests: Sequence[Request]) -> list[Seen]:
    """The decisions that were made before the first answer was known to be complete."""
    known: list[Seen] = []
    for decision in decisions(core, requests):
        if any(request.end in (End.FINISHED, End.LENGTH) for request in requests):
            break
        known.append(decision)
    return known


@pytest.mark.parametrize("policy", BLIND)
@given(load=loads, memory=memories, more=st.lists(st.integers(0, 12), min_size=10, max_size=10))
def test_longer_answers_change_no_decision_until_somebody_ends(
    policy: str, load: list[Wish], memory: int, more: list[int]
) -> None:
    longer = [
        wish._replace(output=min(wish.output + extra, wish.limit)) for wish, extra in zip(load, more, strict=False)
    ]
    short, long = ([wish.request(number) for number, wish in enumerate(those)] for those in (load, longer))
    known = until_somebody_ends(POLICIES[policy](memory), short)
    assert known == list(islice(decisions(POLICIES[policy](memory), long), len(known)))


def test_a_clairvoyant_policy_does_decide_by_the_length_of_the_answers() -> None:
    """The comparison above sees a difference where there is one."""
    load = [Wish(0, 4, output, 9, 0, 0) for output in (5, 4, 3, 2, 1)]
    longer = [wish._replace(output=9) for wish in load]
    short, long = ([wish.request(number) for number, wish in enumerate(those)] for those in (load, longer))
    first, other = (until_somebody_ends(POLICIES["sjf"](LONGEST), those)[0] for those in (short, long))
    assert first != other


# -- who reads it


class Guarded(Request):
    """Writes down the module of everybody who reads the true length."""

    __slots__ = ("_truth",)
    readers: set[str] = set()  # noqa: RUF012 (one notebook for all)

    @property
    def output_tokens(self) -> int:
        Guarded.readers.add(str(sys._getframe(1).f_globals["__name__"]))
        return int(self._truth)

    @output_tokens.setter
    def output_tokens(self, tokens: int) -> None:
        self._truth = tokens


@pytest.mark.parametrize("policy", POLICIES)
@given(load=loads, memory=memories)
def test_only_the_kernel_reads_the_true_length_unless_the_policy_says_so(
    policy: str, load: list[Wish], memory: int
) -> None:
    Guarded.readers.clear()
    core = POLICIES[policy](memory)
    for _ in decisions(core, [wish.request(number, Guarded) for number, wish in enumerate(load)]):
        pass
    allowed = KERNEL | ({"sim.prediction"} if core.scheduler.clairvoyant else set())
    assert Guarded.readers <= allowed


def names_in(path: Path) -> set[str]:
    """Every identifier, attribute, import and text constant of a file; comments and docstrings are prose."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body
        if isinstance(node.body[0], ast.Expr)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) | ast.arg(arg=name):
                found.add(name)
            case ast.keyword(arg=str(name)):
                found.add(name)
            case ast.Constant(value=str(text)) if id(node) not in prose:
                found.add(text)
    return found


@pytest.mark.parametrize("path", POLICY_FILES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_no_policy_mentions_the_truth_and_who_asks_for_a_guess_is_marked_clairvoyant(path: Path) -> None:
    names = names_in(path)
    assert not names & TRUTHS
    assert GUESS not in names or "clairvoyant" in names


def test_every_file_that_asks_for_a_guess_holds_a_policy_that_admits_it() -> None:
    asking = {path.stem for path in POLICY_FILES if GUESS in names_in(path)}
    assert asking == {"orca", "sjf"}
    assert Sjf().clairvoyant
    assert [Orca(reserve=kind).clairvoyant for kind in ("max", "limit", "pow2", "oracle")] == [False, False, True, True]
