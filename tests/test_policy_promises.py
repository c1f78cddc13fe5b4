"""What the policies' parts promise each by itself, where a whole run would hide a broken promise."""

from hypothesis import given
from hypothesis import strategies as st

from policies.caches.content import UNBOUNDED, Contents
from sim.request import Request

SIZE = 4
PROMPTS = st.builds(
    lambda prefix, own: Request(0, 40, 1, prefix=tuple(prefix), own=own),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9)), max_size=3),
    st.sampled_from([None, None, "talk", "other"]),
)

# -- names of blocks


def shareable_tokens(request: Request) -> list[tuple[str, int]]:
    """Token by token, what other prompts may begin with too: the piece it is of and its place there."""
    pieces = [*request.prefix, *([(request.own, 40)] if request.own is not None else [])]
    return [(str(content), place) for content, tokens in pieces for place in range(tokens)]


@given(requests=st.lists(PROMPTS, min_size=2, max_size=4))
def test_two_blocks_have_one_name_exactly_if_all_tokens_up_to_their_ends_are_equal(requests: list[Request]) -> None:
    contents, named = Contents(SIZE), dict[int, list[tuple[str, int]]]()
    for request in requests:
        tokens = shareable_tokens(request)
        for number, name in enumerate(contents.keys(request, len(tokens) // SIZE)):
            beginning = tokens[: (number + 1) * SIZE]
            assert named.setdefault(name, beginning) == beginning
    assert len({tuple(beginning) for beginning in named.values()}) == len(named)


def test_what_is_unique_to_a_request_has_no_name_unless_a_later_prompt_will_repeat_it() -> None:
    contents, prefix = Contents(SIZE), (("a", 9),)
    assert contents.shareable_blocks(Request(0, 40, 1)) == 0
    assert contents.shareable_blocks(Request(0, 40, 1, prefix=prefix)) == 2
    assert contents.shareable_blocks(Request(0, 40, 1, prefix=prefix, own="talk")) == UNBOUNDED
    assert contents.keys(Request(0, 40, 1, prefix=prefix), 0) == []
