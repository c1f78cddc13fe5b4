"""A step of slots that are visited in turn: what each one gets, and how that is cut into passes over the weights."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sim.batch import Pass
from sim.request import Request


class Share(NamedTuple):
    """What one slot gets of a step."""

    slot: int
    request: Request
    tokens: int

    @property
    def ends_prompt(self) -> bool:
        """Whether it is the rest of a prompt."""
        return self.request.computed + self.tokens == self.request.prompt_tokens


def _cut(shares: list[Share], rows: int) -> Iterator[list[tuple[Share, int, bool]]]:
    """Pieces of at most `rows` tokens in the order of the batch: (share, tokens of it, whether they are its last)."""
    if sum([share.tokens for share in shares]) <= rows:
        yield [(share, share.tokens, True) for share in shares]
        return
    one: list[tuple[Share, int, bool]] = []
    room = rows
    for share in shares:
        left = share.tokens
        while left:
            taken = min(left, room)
            left -= taken
            room -= taken
            one.append((share, taken, not left))
            if not room:
                yield one
                one, room = [], rows
    if one:
        yield one


def passes(
    shares: list[Share], rows: int, is_prompt: Callable[[Request], bool], span_after: Callable[[int], int]
) -> tuple[Pass, ...]:
    """The shares in passes of at most `rows`; each row reads all cells up to the highest one in use by then."""
    done = 0
    cut = []
    for one in _cut(shares, rows):
        decodes = prompt = ended = 0
        for share, tokens, reaches_end in one:
            if is_prompt(share.request):
                prompt += tokens
                ended += reaches_end and share.ends_prompt
            else:
                decodes += 1
        done += decodes + prompt
        span = span_after(done)
        cut.append(Pass(decodes, decodes * span, 0, prompt, prompt * span, decodes + ended, decodes + prompt))
    return tuple(cut)
